//! The `pump` program.

use std::process::ExitCode;

use binlog_cli::{Loaded, LogTo, Stop, init_logging, log_welcome, shutdown_signal};
use binlog_server::{Config, PROGRAM, run};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let check = |config: &Config| config.validate().map_err(|error| error.to_string());
    let Loaded { config, shown } =
        match PROGRAM.load_checked::<Config>(std::env::args_os().skip(1), environment, check) {
            Ok(loaded) => loaded,
            Err(stop) => return stop.exit(),
        };
    if let Err(error) = init_logging(&config.log_level, &config.log_file, LogTo::Stdout) {
        return Stop::Config(format!("Failed to initialize log: {error:#}")).exit();
    }
    // Connections have threads of their own: this runtime is for the duties beside.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Stop::Config(format!("cannot make a runtime: {error}")).exit(),
    };
    log_welcome("Pump");
    tracing::info!(config = shown, "start pump...");
    // A task of its own: a second signal ends the process wherever the first one found it.
    let signal = runtime.spawn(shutdown_signal());
    let result = runtime.block_on(run(config, async {
        match signal.await {
            Ok(Ok(signal)) => tracing::info!(signal, "got signal to exit"),
            Ok(Err(error)) => {
                tracing::error!(%error, "signals cannot be caught");
                std::future::pending::<()>().await;
            }
            Err(_) => {}
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
