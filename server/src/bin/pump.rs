//! The `pump` program.

use std::process::ExitCode;

use binlog_cli::{Loaded, LogTo, Stop, catch_signals, init_logging, log_welcome};
use binlog_server::{Config, PROGRAM, run};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let check = |config: &Config| config.validate().map_err(|error| error.to_string());
    let Loaded { config, shown } =
        match PROGRAM.load_checked::<Config>(std::env::args_os().skip(1), environment, check) {
            Ok(loaded) => loaded,
            Err(stop) => return stop.exit(LogTo::Stdout),
        };
    if let Err(error) = init_logging(&config.log_level, &config.log_file, LogTo::Stdout) {
        let message = "Failed to initialize log".to_owned();
        return Stop::Fatal { message, error: format!("{error:#}") }.exit(LogTo::Stdout);
    }
    // Connections have threads of their own: this runtime is for the duties beside.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => return failed(&binlog_server::Error::System { action: "make a runtime", cause }),
    };
    // Before anything else: a signal that comes early is one to stop, too.
    let signals = {
        let _entered = runtime.enter();
        match catch_signals() {
            Ok(signals) => signals,
            Err(cause) => return failed(&binlog_server::Error::System { action: "catch signals", cause }),
        }
    };
    log_welcome("Pump");
    tracing::info!(config = shown, "start pump...");
    // A task of its own: a second signal ends the process wherever the first one found it.
    let signal = runtime.spawn(signals);
    let result = runtime.block_on(run(config, async {
        if let Ok(signal) = signal.await {
            tracing::info!(signal, "got signal to exit");
        }
    }));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// The original's words and exit codes for a pump that cannot be made, and for one that cannot start.
fn failed(error: &binlog_server::Error) -> ExitCode {
    let why = error.to_string();
    if error.is_start_failure() {
        tracing::error!(target: "fatal", error = why, "start pump server failed");
        ExitCode::from(2)
    } else {
        tracing::error!(target: "fatal", error = why, "creating pump server failed");
        ExitCode::from(1)
    }
}
