//! Readers against the engine.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use binlog_storage::Store;
use binlog_types::{CommitTs, Range};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::options::Options;
use crate::process::Usage;
use crate::report::{Report, histogram};
use crate::store::open;

const BATCH_BYTES: usize = 1 << 20;
/// Transactions' worth of timestamps in a short range.
const SHORT: u64 = 200;

fn scan(store: &Store, range: Range) -> anyhow::Result<(u64, u64)> {
    let mut scan = store.scan(range)?;
    let (mut records, mut bytes) = (0, 0);
    loop {
        let batch = scan.next_batch(BATCH_BYTES)?;
        if batch.is_empty() {
            return Ok((records, bytes));
        }
        records += batch.iter().filter(|f| f.last).count() as u64;
        bytes += batch.iter().map(|f| f.payload.len() as u64).sum::<u64>();
    }
}

/// Everything, in order.
pub(crate) fn readseq(options: &Options) -> anyhow::Result<Report> {
    let store = open(options)?;
    let before = Usage::of(None)?;
    let begun = Instant::now();
    let (records, bytes) = scan(&store, Range { after: CommitTs::ZERO, through: store.watermark() })?;
    let elapsed = begun.elapsed();
    ensure!(records > 0, "the store is empty: put a fill benchmark first");
    let report = Report::new("readseq", records, bytes, elapsed, Usage::of(None)?.since(before));
    store.close()?;
    Ok(report)
}

/// The same data through a bare RocksDB iterator.
pub(crate) fn rawiterate(options: &Options) -> anyhow::Result<Report> {
    let dir = options.store_dir()?;
    let settings = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&settings, &dir)?;
    let db = rocksdb::DB::open_cf_for_read_only(&settings, &dir, &families, false)?;
    let log = db.cf_handle("log").context("the store has no log family")?;
    let before = Usage::of(None)?;
    let begun = Instant::now();
    let mut reading = rocksdb::ReadOptions::default();
    reading.set_readahead_size(4 << 20);
    let mut iterator = db.raw_iterator_cf_opt(log, reading);
    let (mut records, mut bytes) = (0u64, 0u64);
    iterator.seek_to_first();
    while let Some((_, value)) = iterator.item() {
        records += 1;
        bytes += value.len() as u64;
        iterator.next();
    }
    iterator.status()?;
    let report = Report::new("rawiterate", records, bytes, begun.elapsed(), Usage::of(None)?.since(before));
    Ok(report.with_note("baseline: RocksDB iterator over the log family"))
}

/// Short ranges at random places.
pub(crate) fn readrange(options: &Options) -> anyhow::Result<Report> {
    let store = open(options)?;
    let mut first = store.scan(Range { after: CommitTs::ZERO, through: store.watermark() })?;
    let batch = first.next_batch(1)?;
    let low = batch.first().context("the store is empty: put a fill benchmark first")?.commit_ts.raw();
    let high = store.watermark().raw();
    let mut rng = SmallRng::seed_from_u64(options.seed);
    let mut latencies = histogram()?;
    let (mut records, mut bytes) = (0, 0);
    let before = Usage::of(None)?;
    let begun = Instant::now();
    for _ in 0..1000 {
        let after = rng.random_range(low..=high);
        let one = Instant::now();
        let range = Range { after: CommitTs::new(after), through: CommitTs::new(after + 2 * SHORT) };
        let (n, b) = scan(&store, range)?;
        latencies.saturating_record(one.elapsed().as_micros() as u64);
        records += n;
        bytes += b;
    }
    let report =
        Report::new("readrange", latencies.len(), bytes, begun.elapsed(), Usage::of(None)?.since(before));
    store.close()?;
    Ok(report.with_latency(&latencies).with_note(format!("{records} records in all")))
}

/// Opens what the writers left.
pub(crate) fn reopen(options: &Options) -> anyhow::Result<Report> {
    let before = Usage::of(None)?;
    let begun = Instant::now();
    let store = open(options)?;
    let elapsed = begun.elapsed();
    let watermark = store.watermark();
    store.close()?;
    let report = Report::new("reopen", 1, 0, elapsed, Usage::of(None)?.since(before));
    Ok(report.with_note(format!("watermark {watermark}")))
}
