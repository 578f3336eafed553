//! What the tasks of a drainer share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use binlog_pull::{Member, Progress, Skips};
use binlog_types::{ClockHandle, CommitTs, Ts};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::ledger::FileLedger;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::settings::Settings;

/// Where a task waits for the answer of another; the text is for the one who asked.
pub(crate) type Asked = oneshot::Sender<Result<(), String>>;

/// Who is to be pulled from now, and who wants to know when that is so.
#[derive(Debug)]
pub(crate) struct NewMembers {
    pub(crate) members: Vec<Member>,
    pub(crate) done: oneshot::Sender<()>,
}

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) cluster: Cluster,
    pub(crate) node: Node,
    pub(crate) metrics: Metrics,
    pub(crate) ledger: Arc<FileLedger>,
    pub(crate) clock: ClockHandle,
    /// Cancelled: stop fetching; what was fetched is applied.
    pub(crate) stop: CancellationToken,
    /// Asks for a look at the registry at once.
    pub(crate) detect: mpsc::Sender<Asked>,
    /// What is passed over, by its commit_ts: as ignore-txn-commit-ts says, and as operators have asked since.
    pub(crate) skips: Skips,
    /// The checkpoint as it was saved last; 0: none yet.
    saved: AtomicU64,
    /// Where replication began in this run, until a checkpoint is saved; 0: not yet.
    begun: AtomicU64,
    /// Everything at or below it is durable downstream.
    applied: AtomicU64,
    /// Of the stream, once there is one.
    progress: Mutex<Option<Progress>>,
    /// Why there is no stream yet.
    waiting: Mutex<String>,
    /// When the last real transaction was applied, by the monotonic clock.
    last_event: Mutex<Duration>,
}

impl Context {
    pub(crate) fn new(
        settings: Settings,
        cluster: Cluster,
        node: Node,
        metrics: Metrics,
        ledger: Arc<FileLedger>,
        clock: ClockHandle,
        detect: mpsc::Sender<Asked>,
    ) -> Self {
        let now = clock.monotonic();
        let asked = ledger.skips().into_iter().map(|skip| skip.commit_ts());
        let skips = Skips::new(settings.selection.ignored.iter().copied().chain(asked));
        Context {
            settings,
            cluster,
            node,
            metrics,
            ledger,
            clock,
            stop: CancellationToken::new(),
            detect,
            skips,
            saved: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            progress: Mutex::new(None),
            waiting: Mutex::new("starting".to_owned()),
            last_event: Mutex::new(now),
        }
    }

    pub(crate) fn saved(&self) -> CommitTs {
        CommitTs::new(self.saved.load(Ordering::SeqCst))
    }

    /// Replication begins behind `ts`.
    pub(crate) fn set_begun(&self, ts: CommitTs) {
        self.begun.store(ts.raw(), Ordering::SeqCst);
    }

    /// What this drainer needs no more: the checkpoint, and before there is one, where it began.
    pub(crate) fn position(&self) -> CommitTs {
        self.saved().max(CommitTs::new(self.begun.load(Ordering::SeqCst)))
    }

    /// Publishes a checkpoint that is durable.
    pub(crate) fn set_saved(&self, ts: CommitTs) {
        self.saved.store(ts.raw(), Ordering::SeqCst);
        self.metrics.checkpoint_moved(ts, self.clock.unix_millis());
    }

    pub(crate) fn applied(&self) -> CommitTs {
        CommitTs::new(self.applied.load(Ordering::SeqCst))
    }

    pub(crate) fn set_applied(&self, ts: CommitTs) {
        self.applied.store(ts.raw(), Ordering::SeqCst);
    }

    pub(crate) fn set_progress(&self, progress: Progress) {
        *self.progress.lock() = Some(progress);
    }

    pub(crate) fn progress(&self) -> Option<Progress> {
        self.progress.lock().clone()
    }

    pub(crate) fn set_waiting(&self, what: impl Into<String>) {
        *self.waiting.lock() = what.into();
    }

    /// What holds the stream back, for people.
    pub(crate) fn waits_for(&self) -> String {
        match self.progress() {
            Some(progress) => progress.waits_for(),
            None => self.waiting.lock().clone(),
        }
    }

    /// Leaves out what was committed at `commit_ts`, from now on and after restarts.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn skip(&self, commit_ts: CommitTs) -> Result<(), String> {
        let saved = self.saved();
        if commit_ts <= saved {
            return Err(format!("commit_ts {commit_ts} is not behind the checkpoint {saved}: it is applied"));
        }
        self.ledger.skip(commit_ts, self.clock.unix_millis())?;
        self.skips.add(commit_ts);
        Ok(())
    }

    pub(crate) fn event_applied(&self) {
        *self.last_event.lock() = self.clock.monotonic();
    }

    /// Whether nothing but fillers came for a while.
    pub(crate) fn is_synced(&self) -> bool {
        self.clock.monotonic().saturating_sub(*self.last_event.lock()) > self.settings.synced_after
    }

    /// About what the oracle would say: for texts and the registry only.
    pub(crate) fn about_now(&self) -> Ts {
        Ts::compose(self.clock.unix_millis(), 0)
    }
}
