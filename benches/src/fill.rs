//! Writers against the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use binlog_storage::{Commit, Prewrite, Store, Write};
use binlog_types::{CommitTs, SchemaVersion, StartTs, Ts};
use bytes::Bytes;
use hdrhistogram::Histogram;

use crate::options::Options;
use crate::payload::{Payloads, key};
use crate::process::Usage;
use crate::report::{Report, histogram};
use crate::store::{FIRST_TS, Waiter, open, write};

/// Commits in order of start: a commit_ts right after the start_ts.
pub(crate) fn fillsync(options: &Options) -> anyhow::Result<Report> {
    fill("fillsync", options, false)
}

/// Every writer takes its commit_ts when its prewrite is acknowledged, as TiDB does: commits arrive out of order.
pub(crate) fn fillrandomcommit(options: &Options) -> anyhow::Result<Report> {
    fill("fillrandomcommit", options, true)
}

fn fill(name: &'static str, options: &Options, late_commit: bool) -> anyhow::Result<Report> {
    let store = open(options)?;
    let oracle = Arc::new(AtomicU64::new(store.max_commit_ts().raw().max(FIRST_TS)));
    let before = Usage::of(None)?;
    let begun = Instant::now();
    let each = options.num / options.threads.max(1) as u64;
    let outcomes: Vec<anyhow::Result<(Histogram<u64>, u64)>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..options.threads.max(1) as u64)
            .map(|i| {
                let (store, oracle) = (store.clone(), Arc::clone(&oracle));
                scope.spawn(move || one_writer(&store, &oracle, options, i, each, late_commit))
            })
            .collect();
        let join = |w: std::thread::ScopedJoinHandle<'_, _>| {
            w.join().unwrap_or_else(|_| anyhow::bail!("a writer panicked"))
        };
        writers.into_iter().map(join).collect()
    });
    let last = CommitTs::from(Ts::new(oracle.load(Ordering::SeqCst)));
    wait_settled(&store, last)?;
    store.close()?;
    let elapsed = begun.elapsed();
    let usage = Usage::of(None)?.since(before);
    let mut all = histogram()?;
    let mut payload = 0;
    for outcome in outcomes {
        let (one, bytes) = outcome?;
        all.add(one)?;
        payload += bytes;
    }
    let report = Report::new(name, all.len() / 2, payload, elapsed, usage);
    Ok(report
        .with_latency(&all)
        .with_note("an op is a P and a C; latencies are of one write; until settled and flushed"))
}

fn one_writer(
    store: &Store,
    oracle: &AtomicU64,
    options: &Options,
    writer: u64,
    count: u64,
    late_commit: bool,
) -> anyhow::Result<(Histogram<u64>, u64)> {
    let mut payloads = Payloads::new(options.seed ^ writer << 32, options.value_size);
    let waiter = Arc::new(Waiter::default());
    let mut histogram = histogram()?;
    let mut bytes = 0;
    let mut timed = |w: Write| -> anyhow::Result<()> {
        let begun = Instant::now();
        write(store, &waiter, w)?;
        histogram.saturating_record(begun.elapsed().as_micros() as u64);
        Ok(())
    };
    for _ in 0..count {
        let start = oracle.fetch_add(2, Ordering::SeqCst);
        let payload = payloads.body(start);
        bytes += payload.len() as u64;
        let start_ts = StartTs::new(start);
        timed(Write::Prewrite(Prewrite {
            start_ts,
            schema_version: SchemaVersion(1),
            ddl: false,
            key: key(start),
            payload,
        }))?;
        let commit = if late_commit { oracle.fetch_add(2, Ordering::SeqCst) } else { start + 1 };
        timed(Write::Commit(Commit { start_ts, commit_ts: CommitTs::new(commit), extra: Bytes::new() }))?;
    }
    Ok((histogram, bytes))
}

fn wait_settled(store: &Store, last: CommitTs) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    store.offer_idle_ts(last);
    while store.watermark() < last {
        anyhow::ensure!(
            Instant::now() < deadline,
            "the watermark stopped at {} before {last}",
            store.watermark()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
