//! Transactions as TiDB writes them: P, its acknowledgement, a commit_ts from the oracle, C. Several writers at once, so
//! commits arrive out of order. Also what the other fills share.

use std::sync::Arc;
use std::time::Instant;

use binlog_storage::{Store, Write};

use crate::latency::{Latencies, Recorder};
use crate::load::{self, Oracle, Quota, commit, prewrite};
use crate::payload::Payloads;
use crate::process::Meter;
use crate::report::Report;
use crate::session::Session;
use crate::store::{self, Waiter};

/// One writer at work.
pub(super) struct Writer<'a> {
    pub(super) store: &'a Store,
    pub(super) oracle: &'a Oracle,
    pub(super) payloads: Payloads,
    /// From 0.
    pub(super) number: usize,
    pub(super) quota: Quota,
    waiter: Arc<Waiter>,
    recorder: Recorder<'a>,
    pub(super) transactions: u64,
    pub(super) bytes: u64,
}

impl Writer<'_> {
    /// Writes, waits for the acknowledgement, and times it.
    pub(super) fn write(&mut self, writes: Vec<Write>) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.waiter.write(self.store, writes)?;
        self.recorder.ended(begun);
        Ok(())
    }

    /// The prewrite of a new transaction, and its start_ts.
    pub(super) fn begin(&mut self) -> (u64, Write) {
        let start = self.oracle.next();
        let payload = self.payloads.body(start);
        self.transactions += 1;
        self.bytes += payload.len() as u64;
        (start, prewrite(start, payload))
    }

    /// The commit of a transaction whose prewrite was acknowledged.
    pub(super) fn end(&self, start: u64) -> Write {
        commit(start, self.oracle.next())
    }
}

/// P, C, P, C, … as long as the quota says.
pub(super) fn write_through(writer: &mut Writer<'_>) -> anyhow::Result<()> {
    while writer.quota.next() {
        let (start, prewrite) = writer.begin();
        writer.write(vec![prewrite])?;
        let commit = writer.end(start);
        writer.write(vec![commit])?;
    }
    Ok(())
}

/// What writers did.
pub(super) struct Written {
    pub(super) transactions: u64,
    pub(super) bytes: u64,
}

/// Lets `--threads` writers work on `store`.
pub(super) fn work(
    session: &Session,
    store: &Store,
    oracle: &Oracle,
    latencies: &Latencies,
    body: impl Fn(&mut Writer<'_>) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Written> {
    let options = &session.options;
    let done = load::writers(options, |number, quota| {
        let mut writer = Writer {
            store,
            oracle,
            payloads: load::payloads(options, number),
            number,
            quota,
            waiter: Arc::default(),
            recorder: latencies.recorder(),
            transactions: 0,
            bytes: 0,
        };
        body(&mut writer)?;
        Ok((writer.transactions, writer.bytes))
    })?;
    let sum = |(a, b), (c, d)| (a + c, b + d);
    let (transactions, bytes) = done.into_iter().fold((0, 0), sum);
    Ok(Written { transactions, bytes })
}

/// A whole fill: until all is settled, and the store closed with everything in files.
pub(super) fn fill(
    name: &'static str,
    session: &Session,
    body: impl Fn(&mut Writer<'_>) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Report> {
    let store = store::open(&session.store_dir()?)?;
    let oracle = Oracle::above(&store);
    let meter = Meter::start(None)?;
    let latencies = Latencies::new();
    let written = work(session, &store, &oracle, &latencies, body)?;
    store::settle(&store, oracle.last())?;
    let batches = store::figure(&store, "batches").max(1) as f64;
    let writes = store::figure(&store, "writes") as f64;
    store.flush()?;
    let share = |figure| store::figure(&store, figure) as f64 / written.bytes.max(1) as f64;
    let parts = [
        ("in the write-ahead log", share("rocksdb_wal_bytes")),
        ("in new files", share("rocksdb_flush_write_bytes")),
        ("in rewritten files", share("rocksdb_compact_write_bytes")),
    ];
    store.close()?;
    let report = Report::new(name, written.transactions, written.bytes, &meter.spent()?);
    let report = report.with_latency(latencies.summary()).with("writes/batch", writes / batches);
    let report = parts.into_iter().fold(report, |report, (name, share)| report.with(name, share));
    Ok(report.with_note(
        "an op is a P and a C, latencies are of one acknowledged wait; until all is settled in files",
    ))
}

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    fill("fillsync", session, write_through)
}
