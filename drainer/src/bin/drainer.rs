//! The `drainer` program.

use std::process::ExitCode;

use binlog_cli::{LogTo, Stop, init_logging, shutdown_signal};
use binlog_drainer::{Config, PROGRAM, run};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let config: Config = match PROGRAM.load(std::env::args_os().skip(1), |name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(stop) => return stop.exit(),
    };
    if let Err(error) = init_logging(&config.log_level, &config.log_file, LogTo::Stderr) {
        return Stop::Config(format!("Failed to initialize log: {error:#}")).exit();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Stop::Config(format!("cannot make a runtime: {error}")).exit(),
    };
    tracing::info!(version = binlog_cli::version_block().trim_end(), "Welcome to Drainer");
    let result = runtime.block_on(run(config, async {
        match shutdown_signal().await {
            Ok(signal) => tracing::info!(signal, "got a signal to exit"),
            Err(error) => {
                tracing::error!(%error, "signals cannot be caught");
                std::future::pending::<()>().await;
            }
        }
    }));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "drainer ends");
            ExitCode::from(error.exit_code())
        }
    }
}
