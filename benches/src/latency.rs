//! How long operations took: overall, and second by second.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;

/// Percentiles, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: u64,
    pub(crate) p95: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

/// One second of a benchmark.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Second {
    pub(crate) operations: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

struct Totals {
    all: Histogram<u64>,
    seconds: Vec<Histogram<u64>>,
}

/// The latencies of one benchmark. Each thread has its own [`Recorder`].
pub(crate) struct Latencies {
    begun: Instant,
    totals: Mutex<Totals>,
}

impl Latencies {
    /// Time begins now.
    pub(crate) fn new() -> Self {
        let totals = Totals { all: histogram(3), seconds: Vec::new() };
        Latencies { begun: Instant::now(), totals: Mutex::new(totals) }
    }

    /// The recorder of one thread.
    pub(crate) fn recorder(&self) -> Recorder<'_> {
        Recorder { of: self, second: 0, current: histogram(3) }
    }

    /// Percentiles of all, and of each second.
    pub(crate) fn summary(&self) -> (Percentiles, Vec<Second>) {
        let totals = self.totals.lock();
        let second = |h: &Histogram<u64>| Second {
            operations: h.len(),
            p50: h.value_at_quantile(0.5),
            p99: h.value_at_quantile(0.99),
            max: h.max(),
        };
        (percentiles(&totals.all), totals.seconds.iter().map(second).collect())
    }

    /// Percentiles of the time from `from` to `to`, to the second.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> Percentiles {
        let second = |at: Instant| at.saturating_duration_since(self.begun).as_secs() as usize;
        let mut all = histogram(3);
        let totals = self.totals.lock();
        for one in totals.seconds.iter().take(second(to) + 1).skip(second(from)) {
            // Both have the same bounds.
            let _ = all.add(one);
        }
        percentiles(&all)
    }
}

/// Records the operations of one thread.
pub(crate) struct Recorder<'a> {
    of: &'a Latencies,
    second: usize,
    current: Histogram<u64>,
}

impl Recorder<'_> {
    /// An operation that began then ends now.
    pub(crate) fn ended(&mut self, begun: Instant) {
        let now = Instant::now();
        self.record(now, now.duration_since(begun));
    }

    fn record(&mut self, now: Instant, took: Duration) {
        let second = now.saturating_duration_since(self.of.begun).as_secs() as usize;
        if second != self.second {
            self.pass_on();
            self.second = second;
        }
        self.current.saturating_record(took.as_micros() as u64);
    }

    fn pass_on(&mut self) {
        if self.current.is_empty() {
            return;
        }
        let mut totals = self.of.totals.lock();
        while totals.seconds.len() <= self.second {
            totals.seconds.push(histogram(2));
        }
        // All have the same upper bound, so that nothing can be out of range.
        let _ = totals.all.add(&self.current);
        let _ = totals.seconds[self.second].add(&self.current);
        self.current.reset();
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        self.pass_on();
    }
}

/// A histogram of microseconds up to a minute.
fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, digits).expect("the bounds are sound")
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    let at = |quantile| histogram.value_at_quantile(quantile);
    Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: histogram.max() }
}
