//! Timestamps: PD's, another pump's, or this pump's own where it is the embedded cluster's oracle.
//!
//! The embedded oracle hands out `max(clock, last + 1)` and never goes above a ceiling that is durable in the store; after
//! a restart it starts above the ceiling. So no timestamp is given twice, whatever the clock does.

use std::sync::Arc;

use binlog_storage::Store;
use binlog_types::{ClockHandle, Ts};
use tokio::sync::Mutex;

const CEILING: &str = "oracle-ceiling";
/// How far the ceiling is raised at once.
const STEP_MS: u64 = 3_000;

/// Where this process takes timestamps from; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum TimeSource {
    /// This pump is the oracle.
    Own(Arc<EmbeddedOracle>),
    /// PD or another pump.
    Remote(binlog_cluster::Oracle),
}

/// Why there is no timestamp.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OracleError {
    /// The ceiling could not be made durable.
    #[error("cannot persist the oracle's ceiling: {0}")]
    Store(#[from] binlog_storage::Error),
    /// The stored ceiling is no number.
    #[error("the oracle's ceiling in the store has {0} bytes, not 8")]
    Corrupt(usize),
    /// More timestamps at once than a millisecond has.
    #[error("{0} timestamps at once are too many; at most {max} can be had", max = MAX_COUNT)]
    TooMany(u32),
    /// PD or the other pump.
    #[error("{0}")]
    Remote(#[from] binlog_cluster::Error),
    /// The runtime shuts down.
    #[error("the pump is shutting down")]
    Stopped,
}

/// As many as fit in the logical part of one millisecond.
const MAX_COUNT: u32 = 1 << 17;

impl TimeSource {
    /// A fresh timestamp.
    pub(crate) async fn now(&self) -> Result<Ts, OracleError> {
        match self {
            TimeSource::Own(oracle) => oracle.take(1).await,
            TimeSource::Remote(oracle) => Ok(oracle.now().await?),
        }
    }

    /// The oracle, where this pump is it.
    pub(crate) fn own(&self) -> Option<&Arc<EmbeddedOracle>> {
        match self {
            TimeSource::Own(oracle) => Some(oracle),
            TimeSource::Remote(_) => None,
        }
    }
}

/// The oracle of an embedded cluster.
#[derive(Debug)]
pub(crate) struct EmbeddedOracle {
    store: Store,
    clock: ClockHandle,
    state: Mutex<Allocator>,
}

/// What was handed out, without I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Allocator {
    last: Ts,
    ceiling: Ts,
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
    /// The oracle of a store, above everything that an earlier one handed out.
    ///
    /// # Errors
    /// When the ceiling cannot be read.
    pub(crate) fn open(store: Store, clock: ClockHandle) -> Result<Self, OracleError> {
        let ceiling = match store.get_meta(CEILING)? {
            None => Ts::ZERO,
            Some(bytes) => Ts::new(u64::from_be_bytes(
                bytes.as_ref().try_into().map_err(|_| OracleError::Corrupt(bytes.len()))?,
            )),
        };
        // A store that came from elsewhere may be ahead of this machine's clock.
        let last = ceiling.max(store.max_commit_ts().ts());
        Ok(EmbeddedOracle { store, clock, state: Mutex::new(Allocator { last, ceiling }) })
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
        let mut state = self.state.lock().await;
        let last = state.next(self.clock.unix_millis(), count);
        if last > state.ceiling {
            let ceiling = Ts::compose(last.physical() + STEP_MS, 0);
            let store = self.store.clone();
            tokio::task::spawn_blocking(move || store.put_meta(CEILING, &ceiling.raw().to_be_bytes()))
                .await
                .map_err(|_| OracleError::Stopped)??;
            state.ceiling = ceiling;
        }
        state.last = last;
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_rise_even_when_the_clock_does_not() {
        let mut state = Allocator { last: Ts::ZERO, ceiling: Ts::MAX };
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
        let state = Allocator { last: Ts::compose(1_000, (1 << 18) - 10), ceiling: Ts::MAX };
        let last = state.next(1_000, 100);
        assert_eq!((last.physical(), last.logical()), (1_001, 99));
    }
}
