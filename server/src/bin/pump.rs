//! The `pump` program.

use std::process::ExitCode;

use binlog_cli::{LogTo, init_logging, shutdown_signal};
use binlog_server::{Config, PROGRAM, run};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let config: Config = match PROGRAM.load(std::env::args_os().skip(1), |name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(stop) => return stop.exit(),
    };
    if let Err(error) = init_logging(&config.log_level, &config.log_file, LogTo::Stdout) {
        return binlog_cli::Stop::Config(format!("Failed to initialize log: {error:#}")).exit();
    }
    // Connections have threads of their own: this runtime is for the duties beside.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return binlog_cli::Stop::Config(format!("cannot make a runtime: {error}")).exit(),
    };
    tracing::info!(version = binlog_cli::version_block().trim_end(), "Welcome to Pump");
    let result = runtime.block_on(run(config, async {
        if let Err(error) = shutdown_signal().await {
            tracing::error!(%error, "signals cannot be caught");
            std::future::pending::<()>().await;
        }
    }));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "pump ends");
            ExitCode::from(if error.is_start_failure() { 2 } else { 1 })
        }
    }
}
