//! Waiting between attempts, up to a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Doubles its pause with every failure and gives up at its deadline.
#[derive(Debug)]
pub(crate) struct Backoff {
    started: Instant,
    limit: Duration,
    pause: Duration,
    longest: Duration,
}

impl Backoff {
    /// Starts with a pause of `first`; the last attempt begins before `limit` is over.
    pub(crate) fn new(first: Duration, longest: Duration, limit: Duration) -> Self {
        Backoff { started: Instant::now(), limit, pause: first, longest }
    }

    /// Waits before the next attempt, at least `at_least`; false, at once, where no time is left.
    pub(crate) async fn wait(&mut self, at_least: Duration) -> bool {
        let pause = self.pause.max(at_least);
        if self.started.elapsed() + pause >= self.limit {
            return false;
        }
        sleep(pause).await;
        self.pause = (self.pause * 2).min(self.longest);
        true
    }

    /// How long this goes on.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pauses_grow_and_end() {
        let limit = Duration::from_millis(200);
        let mut backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(20), limit);
        let mut attempts = 0;
        while backoff.wait(Duration::ZERO).await {
            attempts += 1;
        }
        // 2 + 4 + 8 + 16 + n * 20 < 200
        assert!((1..=12).contains(&attempts), "{attempts}");
        assert!(!backoff.wait(limit).await);
    }
}
