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
    /// How long records are kept: files older than this are rewritten once so that dropped records really go.
    /// [`Store::gc`](crate::Store::gc) says *what* may go. Default: 7 days.
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

/// Sizes inside the store, in bytes.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// How many bytes of records make one `log` file. Also bounds what a restart has to read again. Default: 64 MiB.
    pub log_file_bytes: usize,
    /// How many bytes may stand in the memory of `pending` before undecided prewrites are written out on their own,
    /// because the watermark is stuck. Default: 160 MiB.
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
    /// Cache of uncompressed blocks for readers. Default: 64 MiB.
    pub block_cache_bytes: usize,
    /// Who is told of every batch. Default: nobody.
    pub observer: BatchObserver,
    /// For tests: where to fail.
    #[doc(hidden)]
    pub failpoints: FailPoints,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            log_file_bytes: 64 << 20,
            spill_bytes: 160 << 20,
            held_bytes: 32 << 20,
            fragment_bytes: 1 << 20,
            batch_bytes: 8 << 20,
            open_transactions: 8_000_000,
            block_cache_bytes: 64 << 20,
            observer: BatchObserver::default(),
            failpoints: FailPoints::default(),
        }
    }
}
