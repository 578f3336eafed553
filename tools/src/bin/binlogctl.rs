//! `binlogctl`: see `binlogctl -help`.

use std::process::ExitCode;

use binlog_cli::{LogTo, Stop, init_logging};
use binlog_tools::ctl;
use binlog_types::SystemClock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if let Err(error) = init_logging("info", "", LogTo::Stdout) {
        let message = "Failed to initialize log".to_owned();
        return Stop::Fatal { message, error: format!("{error:#}") }.exit(LogTo::Stdout);
    }
    let config: ctl::Config = match ctl::PROGRAM.load(std::env::args_os().skip(1), |_| None) {
        Ok(config) => config,
        Err(Stop::Fatal { error, .. }) => {
            tracing::error!(error, "parse cmd flags");
            return ExitCode::from(2);
        }
        Err(stop) => return stop.exit(LogTo::Stdout),
    };
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
