//! Timestamps: PD's, another pump's, or this pump's own where it is the embedded cluster's oracle.
//!
//! The embedded oracle hands out `max(clock, last + 1)` and never goes above a ceiling that is durable in the cluster's directory;
//! the next one, after a restart or in another pump, starts above the ceiling. So no timestamp is given twice, whatever the clock does.

use std::sync::Arc;
use std::time::Duration;

use binlog_cluster::{EmbeddedCluster, OracleSeat};
use binlog_storage::Store;
use binlog_types::{ClockHandle, Ts};
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::context::Shared;

/// How far the ceiling is raised at once.
const STEP_MS: u64 = 3_000;
/// How often a pump looks whether the oracle's host is gone.
const SEAT_INTERVAL: Duration = Duration::from_secs(1);
/// How long a pump that stops waits for a timestamp, which it can do without.
const LAST_LIMIT: Duration = Duration::from_secs(1);

/// Where this process takes timestamps from.
#[derive(Debug)]
pub(crate) struct TimeSource {
    /// PD or another pump.
    remote: binlog_cluster::Oracle,
    /// Set while this pump is the oracle.
    own: RwLock<Option<Arc<EmbeddedOracle>>>,
    /// From then on nobody else is waited for: it may be that he has stopped, too.
    stop: CancellationToken,
}

/// Why there is no timestamp.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OracleError {
    /// The ceiling could not be made durable.
    #[error("cannot persist the oracle's ceiling: {0}")]
    Ceiling(binlog_cluster::Error),
    /// More timestamps at once than a millisecond has.
    #[error("{0} timestamps at once are too many; at most {max} can be had", max = MAX_COUNT)]
    TooMany(u32),
    /// PD or the other pump.
    #[error(transparent)]
    Remote(#[from] binlog_cluster::Error),
    /// The runtime shuts down.
    #[error("the pump is shutting down")]
    Stopped,
}

/// As many as fit in the logical part of one millisecond.
const MAX_COUNT: u32 = 1 << 17;

impl TimeSource {
    /// Somebody else's timestamps.
    pub(crate) fn remote(remote: binlog_cluster::Oracle, stop: CancellationToken) -> Self {
        TimeSource { remote, own: RwLock::new(None), stop }
    }

    /// A fresh timestamp.
    ///
    /// # Errors
    /// When there is none, and at once where somebody else's would be waited for and the pump stops.
    pub(crate) async fn now(&self) -> Result<Ts, OracleError> {
        match self.own() {
            Some(oracle) => oracle.take(1).await,
            None => match self.stop.run_until_cancelled(self.remote.now()).await {
                Some(now) => Ok(now?),
                None => Err(OracleError::Stopped),
            },
        }
    }

    /// The last timestamp of a pump that stops, if it is to be had in a moment.
    pub(crate) async fn last(&self) -> Option<Ts> {
        match self.own() {
            Some(oracle) => oracle.take(1).await.ok(),
            None => timeout(LAST_LIMIT, self.remote.now()).await.ok()?.ok(),
        }
    }

    /// The oracle, while this pump is it.
    pub(crate) fn own(&self) -> Option<Arc<EmbeddedOracle>> {
        self.own.read().clone()
    }

    /// Makes this pump the oracle.
    pub(crate) fn take_seat(&self, seat: OracleSeat, store: &Store, clock: &ClockHandle) {
        *self.own.write() = Some(Arc::new(EmbeddedOracle::new(seat, store, clock.clone())));
    }

    /// Lets another pump become the oracle.
    pub(crate) fn leave_seat(&self) {
        *self.own.write() = None;
    }
}

/// Takes the oracle's seat when its host is gone, until the pump stops.
pub(crate) async fn watch_seat(context: Shared, cluster: EmbeddedCluster) {
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(SEAT_INTERVAL) => {}
        }
        if context.time.own().is_some() {
            continue;
        }
        let (id, host, cluster) =
            (context.node.id().clone(), context.node.host().to_owned(), cluster.clone());
        match tokio::task::spawn_blocking(move || cluster.claim_oracle(&id, &host)).await {
            Ok(Ok(Some(seat))) => {
                tracing::info!(above = %seat.ceiling(), "this pump hands out the timestamps from now on");
                context.time.take_seat(seat, &context.store, &context.clock);
            }
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(%error, "it is not known who hands out timestamps"),
        }
    }
}

/// The oracle of an embedded cluster.
#[derive(Debug)]
pub(crate) struct EmbeddedOracle {
    clock: ClockHandle,
    allocator: Mutex<Allocator>,
    /// Locked across a write, but only by whoever has the allocator.
    seat: Arc<parking_lot::Mutex<OracleSeat>>,
}

/// What was handed out, without I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Allocator {
    last: Ts,
}

impl Allocator {
    /// The last of `count` consecutive timestamps at `now_ms`.
    fn next(&self, now_ms: u64, count: u32) -> Ts {
        let floor = Ts::compose(now_ms, 0);
        let first = self.last.next().max(floor);
        let last = Ts::new(first.raw() + u64::from(count) - 1);
        // A run that would spill into the next millisecond starts there instead, so that the logical parts count up.
        if last.physical() == first.physical() {
            last
        } else {
            Ts::new(Ts::compose(first.physical() + 1, 0).raw() + u64::from(count) - 1)
        }
    }
}

impl EmbeddedOracle {
    /// An oracle above everything that an earlier one handed out.
    fn new(seat: OracleSeat, store: &Store, clock: ClockHandle) -> Self {
        // A store that came from elsewhere may be ahead of this machine's clock, and of the directory's ceiling.
        let last = seat.ceiling().max(store.max_commit_ts().ts()).max(store.watermark().ts());
        let seat = Arc::new(parking_lot::Mutex::new(seat));
        EmbeddedOracle { clock, allocator: Mutex::new(Allocator { last }), seat }
    }

    /// The highest of `count` fresh, consecutive timestamps.
    ///
    /// # Errors
    /// When the ceiling cannot be made durable.
    pub(crate) async fn take(&self, count: u32) -> Result<Ts, OracleError> {
        let count = count.max(1);
        if count > MAX_COUNT {
            return Err(OracleError::TooMany(count));
        }
        let mut allocator = self.allocator.lock().await;
        let last = allocator.next(self.clock.unix_millis(), count);
        if last > self.seat.lock().ceiling() {
            let seat = Arc::clone(&self.seat);
            let ceiling = Ts::compose(last.physical() + STEP_MS, 0);
            tokio::task::spawn_blocking(move || seat.lock().raise(ceiling))
                .await
                .map_err(|_| OracleError::Stopped)?
                .map_err(OracleError::Ceiling)?;
        }
        allocator.last = last;
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_rise_even_when_the_clock_does_not() {
        let mut state = Allocator { last: Ts::ZERO };
        let mut previous = Ts::ZERO;
        for now in [1_000, 1_000, 900, 1_001] {
            let ts = state.next(now, 1);
            assert!(ts > previous, "at {now}");
            (previous, state.last) = (ts, ts);
        }
        assert_eq!(previous.physical(), 1_001);
    }

    #[test]
    fn a_run_stays_inside_one_millisecond() {
        let state = Allocator { last: Ts::compose(1_000, (1 << 18) - 10) };
        let last = state.next(1_000, 100);
        assert_eq!((last.physical(), last.logical()), (1_001, 99));
    }
}
