//! The drainer's whole way, from a pump's store through merge, decode, fold and statements into a database, beside a raw loader
//! that sends ready-made multi-row INSERTs of the same rows to the same database.
//!
//! The work is that of a sysbench run: small transactions that insert, update and delete in four tables, then large ones that only
//! insert into a fifth. `--fixture` takes a capture of a real TiDB in its place.

mod binlogs;
mod raw;
mod site;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use binlog_testkit::Mariadb;
use binlog_types::CommitTs;

use crate::process::Spent;
use crate::report::Report;

pub(crate) use binlogs::Work;

use site::{Phase, Site};

/// Connections of the drainer and of the raw loader.
const CONNECTIONS: usize = 16;

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Rows of the insert phase, and how long they took.
    pub(crate) rows: u64,
    pub(crate) elapsed: Duration,
    /// Bytes of payload of that phase.
    pub(crate) bytes: u64,
    /// Rows a second of the raw loader.
    pub(crate) raw: f64,
    /// Transactions and rows a second of the small transactions.
    pub(crate) small_transactions: f64,
    pub(crate) small_rows: f64,
    /// CPU seconds of this process (pump and drainer), and of the server, in the insert phase.
    pub(crate) cpu: f64,
    pub(crate) server_cpu: f64,
}

impl Outcome {
    /// Rows a second.
    pub(crate) fn speed(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// What is said of it; an operation is a row of the insert phase.
    pub(crate) fn report(&self, name: &'static str) -> Report {
        let spent = Spent { elapsed: self.elapsed, cpu: self.cpu, written: 0, peak: 0 };
        Report::new(name, self.rows, self.bytes, &spent)
            .with("raw loader rows/s", self.raw)
            .with("speed/raw loader", self.speed() / self.raw.max(1e-9))
            .with("small transactions/s", self.small_transactions)
            .with("small rows/s", self.small_rows)
            .with("server cpu s", self.server_cpu)
            .with_note("cpu of the pump and of the drainer or reparo, in the insert phase")
    }
}

/// Where the binlogs go.
#[derive(Debug)]
enum Database {
    Server(Box<Mariadb>),
    File(PathBuf),
}

/// Into a private MariaDB.
pub(crate) fn mysql(work: Work, batch: usize) -> anyhow::Result<Outcome> {
    run(work, batch, &Database::Server(Box::new(server()?)), false)
}

/// The same by reparo.
pub(crate) fn restore(work: Work, batch: usize) -> anyhow::Result<Outcome> {
    run(work, batch, &Database::Server(Box::new(server()?)), true)
}

fn server() -> anyhow::Result<Mariadb> {
    Mariadb::start_with(&[
        "--innodb-buffer-pool-size=1G",
        "--innodb-log-file-size=1G",
        // As a production server: every COMMIT is synced.
        "--innodb-flush-log-at-trx-commit=1",
        "--max-connections=200",
    ])
}

/// Into a SQLite file.
pub(crate) fn sqlite(work: Work, batch: usize) -> anyhow::Result<Outcome> {
    let folder = tempfile::tempdir()?;
    run(work, batch, &Database::File(folder.path().join("down.db")), false)
}

fn run(work: Work, batch: usize, database: &Database, restore: bool) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let site = Site::start().await?;
        let counted = work.counted();
        let (marks, phases) = site.feed(work).await.context("tell the pump of the schema")?;
        let mut outcome = match database {
            Database::Server(server) if restore => {
                for phase in phases {
                    site.begin(phase).await?;
                }
                restored(&site, server, batch, marks).await?
            }
            _ => drain(&site, database, batch, marks, phases).await?,
        };
        outcome.rows = counted.bulk_rows;
        outcome.bytes = counted.bulk_bytes;
        let seconds = outcome.small_transactions.max(1e-9);
        outcome.small_transactions = counted.small_transactions as f64 / seconds;
        outcome.small_rows = counted.small_rows as f64 / seconds;
        outcome.raw = match database {
            Database::Server(server) => raw::mysql(server, batch, CONNECTIONS).await?,
            Database::File(path) => raw::sqlite(path, batch).await?,
        };
        Ok(outcome)
    })
}

/// The ends of the phases.
#[derive(Clone, Copy, Debug)]
struct Marks {
    created: CommitTs,
    small: CommitTs,
    end: CommitTs,
}

/// Lets a drainer apply it all; `small_transactions` holds the seconds of the first phase for now.
async fn drain(
    site: &Site,
    database: &Database,
    batch: usize,
    marks: Marks,
    phases: [Phase; 3],
) -> anyhow::Result<Outcome> {
    let drainer = binlog_drainer::Drainer::start(site.drainer(database, batch)).await?;
    let server = match database {
        Database::Server(server) => Some(server_pid(server.folder())?),
        Database::File(_) => None,
    };
    let mut outcome = Outcome::default();
    let mut spent = Vec::new();
    for (mark, phase) in [marks.created, marks.small, marks.end].into_iter().zip(phases) {
        site.begin(phase).await?;
        let cpu = || -> anyhow::Result<(f64, f64)> {
            let server = server.map_or(Ok(0.0), |pid| crate::process::cpu_seconds(Some(pid)))?;
            Ok((crate::process::cpu_seconds(None)?, server))
        };
        let (begun, before) = (Instant::now(), cpu()?);
        while drainer.applied() < mark {
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(900), "stuck: {}", drainer.waits_for());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let after = cpu()?;
        spent.push((begun.elapsed(), after.0 - before.0, after.1 - before.1));
    }
    if let [_, small, bulk] = spent.as_slice() {
        outcome.small_transactions = small.0.as_secs_f64();
        (outcome.elapsed, outcome.cpu, outcome.server_cpu) = *bulk;
    }
    drainer.until(std::future::ready(())).await?;
    Ok(outcome)
}

/// Restores the phases one after the other; what is measured is each one's whole run, from opening the source on.
async fn restored(site: &Site, server: &Mariadb, batch: usize, marks: Marks) -> anyhow::Result<Outcome> {
    let pid = server_pid(server.folder())?;
    let cpu = crate::process::cpu_seconds;
    let phases = [(CommitTs::ZERO, marks.created), (marks.created, marks.small), (marks.small, marks.end)];
    let mut outcome = Outcome::default();
    for (phase, range) in phases.into_iter().enumerate() {
        let (begun, own, theirs) = (Instant::now(), cpu(None)?, cpu(Some(pid))?);
        let config = site.reparo(server, batch, range);
        binlog_reparo::run(&config, std::future::pending()).await?;
        match phase {
            1 => outcome.small_transactions = begun.elapsed().as_secs_f64(),
            _ => outcome.elapsed = begun.elapsed(),
        }
        (outcome.cpu, outcome.server_cpu) = (cpu(None)? - own, cpu(Some(pid))? - theirs);
    }
    Ok(outcome)
}

fn server_pid(folder: &Path) -> anyhow::Result<u32> {
    Ok(std::fs::read_to_string(folder.join("pid"))?.trim().parse()?)
}
