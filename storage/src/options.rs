//! Settings of a store.

use std::time::Duration;

use binlog_types::{ClockHandle, ClusterId, NodeId, Retention};

use crate::failpoint::FailPoints;
use crate::observer::BatchObserver;

/// Settings of a store. Start from [`Options::new`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster whose binlogs these are. Stamped into a new store; another cluster's store is refused.
    pub cluster_id: ClusterId,
    /// The pump that owns the store.
    pub node_id: NodeId,
    /// Where ages come from.
    pub clock: ClockHandle,
    /// How long records are kept, for [`Tuning::rewrite_after`]; [`Store::gc`](crate::Store::gc) says *what* may go. It should be
    /// called hourly or more often. Default: 7 days.
    pub retention: Retention,
    /// Whether a write is acknowledged only once it is on the disk. `false` is unsafe: a power failure loses
    /// acknowledged writes (a crash of the process alone does not). Default: `true`.
    pub sync: bool,
    /// Sizes that only benchmarks and tests change.
    pub tuning: Tuning,
}

impl Options {
    /// The usual settings.
    pub fn new(cluster_id: ClusterId, node_id: NodeId, clock: ClockHandle) -> Self {
        Options {
            cluster_id,
            node_id,
            clock,
            retention: Duration::from_secs(7 * 24 * 3600),
            sync: true,
            tuning: Tuning::default(),
        }
    }
}

/// Sizes inside the store, in bytes, and what else only benchmarks and tests change.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// How many bytes of records make one `log` file. Default: 64 MiB.
    pub log_file_bytes: usize,
    /// How many bytes of prewrites and commits may stand in memory before what is undecided is written out on its own,
    /// because the watermark is stuck. At half of it, files are made of them along with the next `log` file: a restart reads the write-ahead log
    /// of about so much again. Default: 160 MiB.
    pub spill_bytes: usize,
    /// How many bytes of prewrites are kept at hand beside RocksDB's own memory; what is more is read back when its
    /// outcome is known. Default: 32 MiB.
    pub held_bytes: usize,
    /// The largest piece of a transaction in one record, and how much of a large one is written before others have their turn.
    /// Default: 1 MiB.
    pub fragment_bytes: usize,
    /// The most that one synced batch takes. Prewrites above half of it are written piece by piece. Default: 8 MiB.
    pub batch_bytes: usize,
    /// How many transactions that are not below the watermark are kept in mind, at about 250 bytes each and their keys; when
    /// it is reached, prewrites are refused as [`Error::Stuck`](crate::Error::Stuck). Default: 8 million.
    pub open_transactions: usize,
    /// How old a `log` file becomes before it is rewritten, so that dropped records really go that share it with others, or that
    /// a drainer held back. Most files are dropped whole before that, if it leaves collections enough time: a file may go
    /// once its youngest record is older than the retention, and goes with the next collection. Default: the retention, and
    /// an eighth of it besides, at least three hours.
    pub rewrite_after: Option<Duration>,
    /// Cache of uncompressed blocks for readers. Default: 64 MiB.
    pub block_cache_bytes: usize,
    /// Who is told of every batch. Default: nobody.
    pub observer: BatchObserver,
    /// For tests: where to fail.
    #[doc(hidden)]
    pub failpoints: FailPoints,
}

impl Tuning {
    /// See [`Tuning::rewrite_after`].
    pub(crate) fn rewrite_after(&self, retention: Retention) -> Duration {
        self.rewrite_after
            .unwrap_or_else(|| retention.saturating_add((retention / 8).max(SLOWEST_COLLECTIONS)))
    }
}

/// Three collections, an hour apart: one may fail, and the last has time.
const SLOWEST_COLLECTIONS: Duration = Duration::from_secs(3 * 3600);

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            log_file_bytes: 64 << 20,
            spill_bytes: 160 << 20,
            held_bytes: 32 << 20,
            fragment_bytes: 1 << 20,
            batch_bytes: 8 << 20,
            open_transactions: 8_000_000,
            rewrite_after: None,
            block_cache_bytes: 64 << 20,
            observer: BatchObserver::default(),
            failpoints: FailPoints::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_dropped_whole_before_they_are_rewritten() {
        const HOUR: Duration = Duration::from_secs(3600);
        let tuning = Tuning::default();
        for (retention, after) in [(HOUR, 4 * HOUR), (24 * HOUR, 27 * HOUR), (168 * HOUR, 189 * HOUR)] {
            assert_eq!(tuning.rewrite_after(retention), after);
        }
        assert_eq!(tuning.rewrite_after(Duration::MAX), Duration::MAX);
        assert_eq!(Tuning { rewrite_after: Some(HOUR), ..tuning }.rewrite_after(24 * HOUR), HOUR);
    }
}
