//! `reparo`: point-in-time restore from pumps. Data goes to stdout, everything said about it to stderr; exit code 0 only when all of the range
//! has arrived.

use std::io::Write as _;
use std::process::ExitCode;

use binlog_cli::{LogTo, init_logging, shutdown_signal, version_block};
use binlog_reparo::{Command, Config, prepare_args};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let (command, args) = Command::split(std::env::args_os().skip(1));
    let environment = |name: &str| std::env::var(name).ok();
    let check = |config: &Config| config.check(command).map_err(|error| error.to_string());
    let mut config: Config = match command.program().load_checked(prepare_args(args), environment, check) {
        Ok(loaded) => loaded.config,
        Err(stop) => return stop.exit(LogTo::Stderr),
    };
    let run = config.find_password(environment).map_err(Into::into).and_then(|()| run(command, &config));
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "reparo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, config: &Config) -> anyhow::Result<()> {
    init_logging(&config.log_level, &config.log_file, LogTo::Stderr)?;
    tracing::info!(version = version_block().lines().next().unwrap_or_default(), "Welcome to Reparo");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Restore if !config.dry_run => {
                let summary = binlog_reparo::run(config, shutdown()).await?;
                // It is about the data, which may be on stdout.
                writeln!(std::io::stderr(), "{summary}")?;
            }
            Command::Undo => {
                let report = binlog_reparo::undo(config, shutdown()).await?;
                writeln!(std::io::stderr(), "{report}")?;
                anyhow::ensure!(
                    config.dry_run || report.complete(),
                    "not all of it goes back, see the report"
                );
            }
            Command::Look => {
                let found = binlog_reparo::look(config, shutdown()).await?;
                let more = if found.cut { "; there may be more (-limit)" } else { "" };
                writeln!(std::io::stderr(), "{} of {} changes shown{more}", found.shown, found.read)?;
            }
            Command::Activity => {
                let activity = binlog_reparo::activity(config, shutdown()).await?;
                writeln!(std::io::stdout(), "{activity}")?;
            }
            Command::Prove => {
                let proofs = Box::pin(binlog_reparo::prove(config, shutdown())).await?;
                writeln!(std::io::stdout(), "{proofs}")?;
                anyhow::ensure!(proofs.holds(), proofs.verdict());
            }
            Command::Restore | Command::Plan => {
                let plan = binlog_reparo::plan(config, shutdown()).await?;
                writeln!(std::io::stdout(), "{plan}")?;
                anyhow::ensure!(
                    plan.refusals.is_empty(),
                    "a restore with these settings would be refused, see the plan"
                );
            }
        }
        Ok(())
    })
}

async fn shutdown() {
    match shutdown_signal().await {
        Ok(name) => tracing::info!(signal = name, "got signal to exit."),
        Err(error) => {
            tracing::warn!(%error, "signals cannot be heard");
            std::future::pending::<()>().await;
        }
    }
}
