//! Writers at once, for a number of transactions or a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use binlog_storage::{Commit, Prewrite, Store, Write};
use binlog_types::{CommitTs, SchemaVersion, StartTs};
use bytes::Bytes;

use crate::options::Options;
use crate::payload::{Payloads, key};
use crate::store::FIRST_TS;

/// Gives out timestamps, as a cluster's oracle does.
#[derive(Debug)]
pub(crate) struct Oracle(AtomicU64);

impl Oracle {
    /// One that goes on above everything in `store`.
    pub(crate) fn above(store: &Store) -> Self {
        Oracle(AtomicU64::new(store.max_commit_ts().raw().max(store.watermark().raw()).max(FIRST_TS)))
    }

    /// The next timestamp.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The last one given out.
    pub(crate) fn last(&self) -> CommitTs {
        CommitTs::new(self.0.load(Ordering::SeqCst))
    }
}

/// How much one writer still has to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    left: u64,
    until: Option<Instant>,
}

impl Quota {
    /// Whether to go on, with one transaction more.
    pub(crate) fn next(&mut self) -> bool {
        match self.until {
            Some(until) => Instant::now() < until,
            None => {
                let goes_on = self.left > 0;
                self.left = self.left.saturating_sub(1);
                goes_on
            }
        }
    }
}

/// The quota of each writer.
pub(crate) fn quota(options: &Options) -> Quota {
    Quota {
        left: options.num.div_ceil(options.writers() as u64),
        until: options.duration.map(|duration| Instant::now() + duration),
    }
}

/// Runs `writer` in `--threads` threads at once; gives what they returned.
pub(crate) fn writers<T: Send>(
    options: &Options,
    writer: impl Fn(usize, Quota) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let quota = quota(options);
    std::thread::scope(|scope| {
        let writer = &writer;
        let threads: Vec<_> = (0..options.writers()).map(|n| scope.spawn(move || writer(n, quota))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| anyhow::bail!("a writer panicked"))
        };
        threads.into_iter().map(join).collect()
    })
}

/// The payloads of one writer.
pub(crate) fn payloads(options: &Options, writer: usize) -> Payloads {
    Payloads::new(options.seed ^ (writer as u64) << 32, options.value_size)
}

/// The prewrite of a transaction with that body.
pub(crate) fn prewrite(start: u64, payload: Bytes) -> Write {
    Write::Prewrite(Prewrite {
        start_ts: StartTs::new(start),
        schema_version: SchemaVersion(1),
        ddl: false,
        key: key(start),
        payload,
    })
}

/// Its commit.
pub(crate) fn commit(start: u64, at: u64) -> Write {
    Write::Commit(Commit { start_ts: StartTs::new(start), commit_ts: CommitTs::new(at), extra: Bytes::new() })
}
