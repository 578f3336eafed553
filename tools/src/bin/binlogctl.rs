//! `binlogctl`: see `binlogctl -help`.

use std::process::ExitCode;

use binlog_cli::{LogTo, init_logging};
use binlog_tools::ctl;
use binlog_types::SystemClock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config: ctl::Config = match ctl::PROGRAM.load(std::env::args_os().skip(1), |_| None) {
        Ok(config) => config,
        Err(stop) => return stop.exit(),
    };
    if let Err(error) = init_logging("info", "", LogTo::Stdout) {
        tracing::error!(target: "fatal", error = format!("{error:#}"), "Failed to initialize log");
        return ExitCode::FAILURE;
    }
    if let Err(error) = config.validate() {
        tracing::error!(error, "parse cmd flags");
        return ExitCode::from(2);
    }
    match ctl::run(&config, &SystemClock::handle()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(target: "fatal", command = config.command(), error = format!("{error:#}"), "fail to execute command");
            ExitCode::FAILURE
        }
    }
}
