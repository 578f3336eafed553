//! `reparo`: point-in-time restore from pumps. Data goes to stdout, everything said about it to stderr; exit code 0 only when all of the range
//! has arrived.

use std::io::Write as _;
use std::process::ExitCode;

use binlog_cli::{LogTo, init_logging, shutdown_signal, version_block};
use binlog_reparo::{Config, PROGRAM, Summary, prepare_args};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = prepare_args(std::env::args_os().skip(1));
    let config: Config = match PROGRAM.load(args, |name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(stop) => return stop.exit(),
    };
    match restore(&config) {
        Ok(summary) => {
            let _ = writeln!(std::io::stderr(), "{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "reparo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn restore(config: &Config) -> anyhow::Result<Summary> {
    init_logging(&config.log_level, &config.log_file, LogTo::Stderr)?;
    tracing::info!(version = version_block().lines().next().unwrap_or_default(), "Welcome to Reparo");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let summary = runtime.block_on(async {
        let shutdown = async {
            match shutdown_signal().await {
                Ok(name) => tracing::info!(signal = name, "got signal to exit."),
                Err(error) => {
                    tracing::warn!(%error, "signals cannot be heard");
                    std::future::pending::<()>().await;
                }
            }
        };
        binlog_reparo::run(config, shutdown).await
    })?;
    Ok(summary)
}
