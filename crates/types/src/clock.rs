//! Wall-clock time through a handle, so that tests and simulations set it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A source of time. Library code never reads the wall clock by itself.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since 1970 UTC.
    fn unix_millis(&self) -> u64;
    /// Time since some fixed moment; never runs backwards.
    fn monotonic(&self) -> Duration;
}

/// A shared [`Clock`].
pub type ClockHandle = Arc<dyn Clock>;

/// The clock of the machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A handle to the machine's clock.
    pub fn handle() -> ClockHandle {
        Arc::new(SystemClock { start: Instant::now() })
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn unix_millis(&self) -> u64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    base_ms: u64,
    elapsed_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that starts at `unix_millis`.
    pub fn new(unix_millis: u64) -> Arc<Self> {
        Arc::new(ManualClock { base_ms: unix_millis, elapsed_ms: AtomicU64::new(0) })
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.elapsed_ms.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_millis(&self) -> u64 {
        self.base_ms + self.elapsed_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms.load(Ordering::SeqCst))
    }
}
