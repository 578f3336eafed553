//! Garbage collection of the older half, while writers write.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use binlog_storage::Store;
use binlog_types::CommitTs;

use super::fillsync::{work, write_through};
use crate::latency::Latencies;
use crate::load::Oracle;
use crate::process::Meter;
use crate::report::Report;
use crate::session::Session;
use crate::store;

/// How long the space may take to come back.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two steps of the safe point.
const PAUSE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(100);
/// What may be left of the dropped half when it counts as gone: of the file that lies across the safe point, which only
/// grows less when it is compacted.
const RESIDUE: u64 = 80 << 20;

/// Fills with half of the work, collects what was there before, and goes on with the other half meanwhile.
pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let dir = session.store_dir()?;
    let store = store::open(&dir)?;
    let oracle = Oracle::above(&store);
    let latencies = Latencies::new();
    let quiet = Instant::now();
    let first = work(session, &store, &oracle, &latencies, write_through)?;
    store::settle(&store, oracle.last())?;
    store.flush()?;
    let before = occupied(&dir)?;
    let collected = store.file_bytes(oracle.last())?;
    let point = oracle.last();
    let meter = Meter::start(None)?;
    let begun = Instant::now();
    let (freed, second) = std::thread::scope(|scope| {
        let collector = scope.spawn(|| collect(&store, &dir, point));
        let second = work(session, &store, &oracle, &latencies, write_through);
        (collector.join(), second)
    });
    let (calls, freed) = freed.map_err(|_| anyhow::anyhow!("the collector panicked"))??;
    let second = second?;
    store::settle(&store, oracle.last())?;
    store.flush()?;
    let (after, left) = (occupied(&dir)?, store.file_bytes(point)?);
    store.close()?;
    ensure!(before > 0, "nothing was written");
    let (usual, during) = (latencies.between(quiet, begun), latencies.between(begun, begun + freed));
    let report = Report::new("gc", second.transactions, second.bytes, &meter.spent()?);
    Ok(report
        .with_latency(latencies.summary())
        .with("payload collected MB", first.bytes as f64 / 1e6)
        .with("files collected MB", collected as f64 / 1e6)
        .with("files left of it MB", left as f64 / 1e6)
        .with("disk before MB", before as f64 / 1e6)
        .with("disk after MB", after as f64 / 1e6)
        .with("gc call s", calls.as_secs_f64())
        .with("space back after s", freed.as_secs_f64())
        .with("p99 us before", usual.p99 as f64)
        .with("p99 us during", during.p99 as f64)
        .with("max us before", usual.max as f64)
        .with("max us during", during.max as f64)
        .with_note("an op is a transaction written during the collection; latencies are of one write; during: from the first call until the space is back"))
}

/// Moves the safe point in steps, as hours pass; gives how long the calls took, and when the space was back.
fn collect(store: &Store, dir: &Path, point: CommitTs) -> anyhow::Result<(Duration, Duration)> {
    const STEPS: u64 = 10;
    let begun = Instant::now();
    let low = store.safe_point().raw().max(store::FIRST_TS);
    let mut calls = Duration::ZERO;
    for step in 1..=STEPS {
        let call = Instant::now();
        store.gc(CommitTs::new(low + (point.raw() - low) * step / STEPS))?;
        calls += call.elapsed();
        std::thread::sleep(PAUSE);
    }
    loop {
        // What the writers added meanwhile is not what was there before.
        let left = store.file_bytes(point)?;
        if left <= RESIDUE {
            return Ok((calls, begun.elapsed()));
        }
        ensure!(begun.elapsed() < PATIENCE, "{left} bytes are still there in {}", dir.display());
        std::thread::sleep(POLL);
    }
}

/// Bytes of all files in a directory.
fn occupied(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        // A file may go between its listing and the look at it.
        bytes += entry?.metadata().map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}
