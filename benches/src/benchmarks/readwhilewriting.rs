//! A reader that begins again and again at the old end, while writers write at the new one.

use std::sync::atomic::{AtomicBool, Ordering};

use super::fillsync::{work, write_through};
use super::readseq::{everything, scan};
use crate::latency::Latencies;
use crate::load::Oracle;
use crate::process::Meter;
use crate::report::Report;
use crate::session::Session;
use crate::store;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let store = store::open(&session.store_dir()?)?;
    let oracle = Oracle::above(&store);
    let latencies = Latencies::new();
    let stop = AtomicBool::new(false);
    let meter = Meter::start(None)?;
    let (read, written) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| -> anyhow::Result<(u64, u64)> {
            let (mut records, mut bytes) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let (n, b) = scan(&store, everything(&store))?;
                records += n;
                bytes += b;
            }
            Ok((records, bytes))
        });
        let written = work(session, &store, &oracle, &latencies, write_through);
        stop.store(true, Ordering::Relaxed);
        (reader.join(), written)
    });
    let spent = meter.spent()?;
    let (records, bytes) = read.map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    let written = written?;
    store::settle(&store, oracle.last())?;
    store.close()?;
    let seconds = spent.elapsed.as_secs_f64();
    let mut spent = spent;
    // What was written is no amplification of what was read.
    spent.written = 0;
    let report = Report::new("readwhilewriting", records, bytes, &spent);
    Ok(report
        .with_latency(latencies.summary())
        .with("transactions written/s", written.transactions as f64 / seconds)
        .with_note("an op is a record read; latencies are of one write"))
}
