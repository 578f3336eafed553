//! What the writer, the flusher and the readers of one store share.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use binlog_types::{ClockHandle, CommitTs, Range, SchemaVersion};
use parking_lot::{Mutex, RwLock};

use crate::bundles::Bundles;
use crate::counters::Counters;
use crate::failpoint::FailPoints;
use crate::health::Health;
use crate::identity::Identity;
use crate::overlay::Overlay;
use crate::pairing::Pairing;
use crate::queue::Queue;
use crate::rocks::Db;
use crate::watch::Watchers;
use crate::{Error, Tuning};

/// How often it is said that commits come too late.
const LATE_EVERY: Duration = Duration::from_secs(1);

/// The heart of a store.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) tuning: Tuning,
    pub(crate) sync: bool,
    pub(crate) clock: ClockHandle,
    pub(crate) queue: Queue,
    /// Locked for computing only, never across I/O.
    pub(crate) pairing: Mutex<Pairing>,
    /// Likewise; taken after `pairing`, if both are.
    pub(crate) bundles: Mutex<Bundles>,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) health: Health,
    pub(crate) counters: Counters,
    /// Serialises those who check and then write.
    pub(crate) schema_lock: Mutex<()>,
    pub(crate) gc_lock: Mutex<()>,
    /// Set in a store that is open for reading only.
    pub(crate) overlay: Option<Overlay>,
    pub(crate) schema_version: AtomicI64,
    /// What collections dropped before everybody had read it, ascending.
    pub(crate) unread: Mutex<Vec<Range>>,
    /// When it was last said that a commit came too late.
    said_late: Mutex<Option<Duration>>,
    watermark: AtomicU64,
    max_commit: AtomicU64,
    safe_point: Arc<AtomicU64>,
    /// `None` once closed.
    db: RwLock<Option<Arc<Db>>>,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "the one place that puts the parts together")]
    pub(crate) fn new(
        db: Arc<Db>,
        identity: Identity,
        tuning: Tuning,
        sync: bool,
        clock: ClockHandle,
        pairing: Pairing,
        bundles: Bundles,
        safe_point: Arc<AtomicU64>,
        schema_version: SchemaVersion,
        unread: Vec<Range>,
        overlay: Option<Overlay>,
    ) -> Self {
        Shared {
            identity,
            tuning,
            sync,
            clock,
            queue: Queue::default(),
            watermark: AtomicU64::new(pairing.watermark().raw()),
            max_commit: AtomicU64::new(pairing.max_commit().raw()),
            pairing: Mutex::new(pairing),
            bundles: Mutex::new(bundles),
            watchers: Arc::default(),
            health: Health::default(),
            counters: Counters::default(),
            schema_lock: Mutex::default(),
            gc_lock: Mutex::default(),
            unread: Mutex::new(unread),
            said_late: Mutex::default(),
            overlay,
            schema_version: AtomicI64::new(schema_version.0),
            safe_point,
            db: RwLock::new(Some(db)),
        }
    }

    /// The database, while the store is open.
    pub(crate) fn db(&self) -> Result<Arc<Db>, Error> {
        self.db.read().as_ref().map(Arc::clone).ok_or(Error::Closed)
    }

    /// The database, if writes are still taken.
    pub(crate) fn writable_db(&self) -> Result<Arc<Db>, Error> {
        if self.overlay.is_some() {
            return Err(Error::ReadOnly);
        }
        self.health.check()?;
        self.db()
    }

    /// Lets the database go.
    pub(crate) fn forget_db(&self) {
        drop(self.db.write().take());
    }

    pub(crate) fn failpoints(&self) -> &FailPoints {
        &self.tuning.failpoints
    }

    pub(crate) fn watermark(&self) -> CommitTs {
        CommitTs::new(self.watermark.load(Ordering::Acquire))
    }

    /// Shows readers what is in `log` up to here.
    pub(crate) fn publish_watermark(&self, watermark: CommitTs) {
        let before = self.watermark.swap(watermark.raw(), Ordering::AcqRel);
        debug_assert!(before <= watermark.raw(), "the watermark fell from {before} to {watermark}");
        self.max_commit.fetch_max(watermark.raw(), Ordering::AcqRel);
        if before < watermark.raw() {
            self.watchers.wake(watermark);
        }
    }

    /// Counts a commit that came too late, and says so: not each time, since where timestamps went back each one does.
    pub(crate) fn late_commit(&self, error: &Error) {
        self.counters.late_commits.add(1);
        let now = self.clock.monotonic();
        let mut said = self.said_late.lock();
        if said.is_none_or(|said| now.saturating_sub(said) >= LATE_EVERY) {
            *said = Some(now);
            tracing::error!(%error, so_far = self.counters.late_commits.get(), "a commit came too late");
        }
    }

    pub(crate) fn max_commit(&self) -> CommitTs {
        CommitTs::new(self.max_commit.load(Ordering::Acquire))
    }

    pub(crate) fn publish_max_commit(&self, max_commit: CommitTs) {
        self.max_commit.fetch_max(max_commit.raw(), Ordering::AcqRel);
    }

    pub(crate) fn safe_point(&self) -> CommitTs {
        CommitTs::new(self.safe_point.load(Ordering::Acquire))
    }

    pub(crate) fn set_safe_point(&self, safe_point: CommitTs) {
        self.safe_point.fetch_max(safe_point.raw(), Ordering::AcqRel);
    }
}
