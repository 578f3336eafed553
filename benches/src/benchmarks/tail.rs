//! How soon a reader that follows the watermark sees a commit.

use std::collections::HashMap;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use binlog_storage::{Store, Write};
use binlog_types::{CommitTs, Range};
use parking_lot::Mutex;

use super::fillsync::work;
use crate::latency::{Latencies, Recorder};
use crate::load::Oracle;
use crate::process::Meter;
use crate::report::Report;
use crate::session::Session;
use crate::store;

/// When each commit was submitted.
type Sent = Mutex<HashMap<u64, Instant>>;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let store = store::open(&session.store_dir()?)?;
    let oracle = Oracle::above(&store);
    store::settle(&store, oracle.last())?;
    let (writes, lags) = (Latencies::new(), Latencies::new());
    let sent = Sent::default();
    let meter = Meter::start(None)?;
    let (read, written) = std::thread::scope(|scope| {
        let (wake, woken) = channel();
        let wake = Mutex::new(wake);
        let guard = store.on_watermark(Box::new(move |_| {
            // The reader may have failed.
            let _ = wake.lock().send(());
        }));
        let reader = scope.spawn(|| {
            let woken = woken;
            let mut follower =
                Follower { store: &store, at: store.watermark(), sent: &sent, lags: lags.recorder() };
            loop {
                let ended = woken.recv_timeout(Duration::from_secs(60));
                while woken.try_recv().is_ok() {}
                follower.read()?;
                match ended {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(follower.at),
                    Err(RecvTimeoutError::Timeout) => anyhow::bail!("the watermark stands still"),
                }
            }
        });
        let written = work(session, &store, &oracle, &writes, |writer| {
            while writer.quota.next() {
                let (start, prewrite) = writer.begin();
                writer.write(vec![prewrite])?;
                let commit = writer.end(start);
                if let Write::Commit(commit) = &commit {
                    sent.lock().insert(commit.commit_ts.raw(), Instant::now());
                }
                writer.write(vec![commit])?;
            }
            Ok(())
        });
        let settled = store::settle(&store, oracle.last());
        drop(guard);
        (reader.join(), settled.and(written))
    });
    let spent = meter.spent()?;
    let at: CommitTs = read.map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    let written = written?;
    store.close()?;
    let unseen = sent.lock().len();
    anyhow::ensure!(unseen == 0, "{unseen} commits were not seen up to {at}");
    let p99 = writes.summary().0.p99;
    let report = Report::new("tail", written.transactions, written.bytes, &spent);
    Ok(report
        .with_latency(lags.summary())
        .with("write p99 us", p99 as f64)
        .with_note("latencies are from a commit's submission to its being read"))
}

struct Follower<'a> {
    store: &'a Store,
    at: CommitTs,
    sent: &'a Sent,
    lags: Recorder<'a>,
}

impl Follower<'_> {
    fn read(&mut self) -> anyhow::Result<()> {
        let mut scan = self.store.scan(Range { after: self.at, through: self.store.watermark() })?;
        loop {
            let batch = scan.next_batch(1 << 20)?;
            if batch.is_empty() {
                break;
            }
            let mut sent = self.sent.lock();
            for fragment in batch {
                if let Some(begun) = sent.remove(&fragment.commit_ts.raw()) {
                    self.lags.ended(begun);
                }
            }
        }
        self.at = scan.complete_through();
        Ok(())
    }
}
