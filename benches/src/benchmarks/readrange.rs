//! Short ranges at random places.

use std::time::Instant;

use anyhow::Context as _;
use binlog_types::{CommitTs, Range};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::readseq::{everything, scan};
use crate::latency::Latencies;
use crate::process::Meter;
use crate::report::Report;
use crate::session::Session;
use crate::store;

const RANGES: u64 = 1000;
/// Timestamps in a range: each transaction took two.
const SHORT: u64 = 400;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let store = store::open(&session.store_dir()?)?;
    let batch = store.scan(everything(&store))?.next_batch(1)?;
    let low = batch.first().context("the store is empty: put a fill benchmark first")?.commit_ts.raw();
    let high = store.watermark().raw();
    let mut random = SmallRng::seed_from_u64(session.options.seed);
    let (mut records, mut bytes) = (0, 0);
    let meter = Meter::start(None)?;
    let latencies = Latencies::new();
    let mut recorder = latencies.recorder();
    for _ in 0..RANGES {
        let after = random.random_range(low..=high);
        let begun = Instant::now();
        let range = Range { after: CommitTs::new(after), through: CommitTs::new(after + SHORT) };
        let (n, b) = scan(&store, range)?;
        recorder.ended(begun);
        records += n;
        bytes += b;
    }
    drop(recorder);
    let report = Report::new("readrange", RANGES, bytes, &meter.spent()?);
    store.close()?;
    Ok(report.with_latency(latencies.summary()).with("records", records as f64))
}
