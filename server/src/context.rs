//! What every part of a running pump shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use binlog_cluster::{JobRequests, Registry, TikvClient};
use binlog_storage::Store;
use binlog_types::{ClockHandle, ClusterId, JobId, SchemaVersion, Ts};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::config::Settings;
use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::oracle::TimeSource;
use crate::watermark::WatermarkHub;

/// One per process, behind an `Arc`.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) cluster: ClusterId,
    /// True without PD.
    pub(crate) embedded: bool,
    pub(crate) clock: ClockHandle,
    pub(crate) node: Node,
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) time: TimeSource,
    /// None without PD.
    pub(crate) tikv: Option<TikvClient>,
    pub(crate) watermark: WatermarkHub,
    pub(crate) schema: SchemaHub,
    pub(crate) metrics: Metrics,
    pub(crate) disk: DiskSpace,
    pub(crate) gc: GcTrigger,
    pub(crate) drain: Drain,
    pub(crate) counts: Counts,
    /// What requests may take at once.
    pub(crate) budget: Budget,
    /// One turn: whose drainer may have a transaction put together that is larger than all others.
    pub(crate) oversize: Arc<Semaphore>,
    /// When this pump registered; 0 before.
    pub(crate) registration_ts: AtomicU64,
    /// Ends the streams and background duties.
    pub(crate) stop: CancellationToken,
}

impl Context {
    /// Time since some fixed moment.
    pub(crate) fn elapsed_since(&self, start: Duration) -> Duration {
        self.clock.monotonic().saturating_sub(start)
    }

    /// When this pump registered.
    pub(crate) fn registration_ts(&self) -> Ts {
        Ts::new(self.registration_ts.load(Ordering::Relaxed))
    }
}

/// A shared [`Context`].
pub(crate) type Shared = Arc<Context>;

/// The version up to which the schema history is complete, and who wants more of it.
#[derive(Debug)]
pub(crate) struct SchemaHub {
    complete: watch::Sender<SchemaVersion>,
    /// Rung when a DDL was committed or a reader waits.
    wanted: Notify,
    jobs: Arc<JobRequests>,
}

impl SchemaHub {
    /// Starts at what the store has.
    pub(crate) fn new(store: &Store, clock: ClockHandle) -> Self {
        let complete = watch::Sender::new(store.schema_version());
        SchemaHub { complete, wanted: Notify::new(), jobs: Arc::new(JobRequests::new(clock)) }
    }

    /// Tells readers that the store's history has grown.
    pub(crate) fn grown(&self, store: &Store) {
        self.complete.send_replace(store.schema_version());
    }

    /// Wakes with every growth.
    pub(crate) fn subscribe(&self) -> watch::Receiver<SchemaVersion> {
        self.complete.subscribe()
    }

    /// Asks the follower to look now.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Asks the follower to look for this job now. Where nobody follows a cluster, it stays a wish.
    pub(crate) fn want_job(&self, job: JobId) {
        self.jobs.want(job);
        self.want();
    }

    /// The jobs that are asked for.
    pub(crate) fn jobs(&self) -> Arc<JobRequests> {
        Arc::clone(&self.jobs)
    }

    /// Returns when somebody asked.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

/// Free space of the data directory's disk; `u64::MAX` until first looked at.
#[derive(Debug)]
pub(crate) struct DiskSpace {
    available: AtomicU64,
    stop_write_at: u64,
}

impl DiskSpace {
    /// With prewrites refused at or below `stop_write_at` bytes.
    pub(crate) fn new(stop_write_at: u64) -> Self {
        DiskSpace { available: AtomicU64::new(u64::MAX), stop_write_at }
    }

    /// Takes a new measurement.
    pub(crate) fn set(&self, available: u64) {
        self.available.store(available, Ordering::Relaxed);
    }

    /// The free bytes and the limit, where the limit is reached.
    pub(crate) fn exhausted(&self) -> Option<(u64, u64)> {
        let available = self.available.load(Ordering::Relaxed);
        (available <= self.stop_write_at && self.stop_write_at > 0).then_some((available, self.stop_write_at))
    }
}

/// What the regular line in the log tells.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Calls of `WriteBinlog`, whatever became of them.
    pub(crate) writes: AtomicU64,
    /// Streams of `PullBinlogs` that are open.
    pub(crate) pullers: AtomicU64,
}

/// Runs garbage collection on request.
#[derive(Debug, Default)]
pub(crate) struct GcTrigger {
    asked: Notify,
    working: std::sync::atomic::AtomicBool,
}

impl GcTrigger {
    /// Asks for a collection; false while one runs.
    pub(crate) fn ask(&self) -> bool {
        if self.working.load(Ordering::Acquire) {
            return false;
        }
        self.asked.notify_one();
        true
    }

    /// Returns when somebody asked.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Marks a collection as running or done.
    pub(crate) fn set_working(&self, working: bool) {
        self.working.store(working, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_of_the_disk_lets_go_by_itself() {
        let disk = DiskSpace::new(100);
        assert_eq!(disk.exhausted(), None, "before it was looked at");
        for (available, exhausted) in [(101, None), (100, Some((100, 100))), (7, Some((7, 100))), (101, None)]
        {
            disk.set(available);
            assert_eq!(disk.exhausted(), exhausted);
        }
        let off = DiskSpace::new(0);
        off.set(0);
        assert_eq!(off.exhausted(), None);
    }
}
