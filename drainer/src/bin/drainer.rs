//! The `drainer` program.

use std::process::ExitCode;

use binlog_cli::{Loaded, LogTo, Stop, init_logging, log_welcome, shutdown_signal};
use binlog_drainer::{Config, PROGRAM, run};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let check = |config: &Config| config.validate().map_err(|error| error.to_string());
    let Loaded { config, shown } =
        match PROGRAM.load_checked::<Config>(std::env::args_os().skip(1), environment, check) {
            Ok(loaded) => loaded,
            Err(stop) => return stop.exit(LogTo::Stderr),
        };
    if let Err(error) = init_logging(&config.log_level, &config.log_file, LogTo::Stderr) {
        let message = "Failed to initialize log".to_owned();
        return Stop::Fatal { message, error: format!("{error:#}") }.exit(LogTo::Stderr);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let message = "cannot make a runtime".to_owned();
            return Stop::Fatal { message, error: error.to_string() }.exit(LogTo::Stderr);
        }
    };
    log_welcome("Drainer");
    tracing::info!(config = shown, "start drainer...");
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
