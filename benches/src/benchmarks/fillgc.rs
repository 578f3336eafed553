//! Writers, with the safe point following behind: what a store writes whose records come and go, over several periods.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use binlog_storage::Store;
use binlog_types::CommitTs;

use super::fillsync::{work, write_through};
use crate::latency::Latencies;
use crate::load::Oracle;
use crate::process::Meter;
use crate::report::Report;
use crate::session::Session;
use crate::store;

/// How often a period the safe point moves.
const TICKS: u32 = 20;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let retention = session.options.retention;
    let store = store::open_with(&session.store_dir()?, |settings| {
        settings.retention = retention;
        // As pump's settings: some rounds of collecting later than records may go.
        settings.tuning.rewrite_after = Some(retention + (3 * retention / TICKS).max(retention / 8));
    })?;
    let oracle = Oracle::above(&store);
    let latencies = Latencies::new();
    let meter = Meter::start(None)?;
    let begun = Instant::now();
    let stop = AtomicBool::new(false);
    let (collected, written) = std::thread::scope(|scope| {
        let collector = scope.spawn(|| collect(&store, &oracle, retention, &stop));
        let written = work(session, &store, &oracle, &latencies, write_through);
        stop.store(true, Ordering::Relaxed);
        (collector.join(), written)
    });
    let periods = begun.elapsed().as_secs_f64() / retention.as_secs_f64();
    collected.map_err(|_| anyhow::anyhow!("the collector panicked"))??;
    let written = written?;
    store::settle(&store, oracle.last())?;
    let rewritten = store::figure(&store, "rocksdb_compact_write_bytes");
    let left = store.file_bytes(oracle.last())?;
    store.close()?;
    let report = Report::new("fillgc", written.transactions, written.bytes, &meter.spent()?);
    Ok(report
        .with_latency(latencies.summary())
        .with("periods", periods)
        .with("written by compaction/payload", rewritten as f64 / written.bytes.max(1) as f64)
        .with("files left MB", left as f64 / 1e6)
        .with_note(
            "an op is a P and a C; latencies are of one acknowledged wait; until all is settled in files",
        ))
}

/// Keeps the safe point `retention` behind the oracle.
fn collect(store: &Store, oracle: &Oracle, retention: Duration, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut marks: VecDeque<(Instant, CommitTs)> = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        marks.push_back((Instant::now(), oracle.last()));
        let mut point = None;
        while marks.front().is_some_and(|(at, _)| at.elapsed() >= retention) {
            point = marks.pop_front();
        }
        if let Some((_, point)) = point {
            store.gc(point)?;
        }
        std::thread::sleep(retention / TICKS);
    }
    Ok(())
}
