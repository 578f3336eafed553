//! One line a benchmark, as db_bench prints them, or one JSON object.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::process::Usage;

/// The outcome of a benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    name: &'static str,
    operations: u64,
    seconds: f64,
    payload_bytes: u64,
    micros_per_op: f64,
    ops_per_second: f64,
    mb_per_second: f64,
    /// p50, p95, p99, p99.9 of an operation, microseconds; absent where operations were not timed one by one.
    latency_micros: Option<[u64; 4]>,
    cpu_micros_per_op: f64,
    cpu_seconds: f64,
    written_per_payload_byte: f64,
    peak_memory_mb: f64,
    note: String,
}

impl Report {
    pub(crate) fn new(
        name: &'static str,
        operations: u64,
        payload: u64,
        elapsed: Duration,
        usage: Usage,
    ) -> Self {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let per_op = |x: f64| x / operations.max(1) as f64;
        Report {
            name,
            operations,
            seconds,
            payload_bytes: payload,
            micros_per_op: per_op(seconds * 1e6),
            ops_per_second: operations as f64 / seconds,
            mb_per_second: payload as f64 / seconds / 1e6,
            latency_micros: None,
            cpu_micros_per_op: per_op(usage.cpu * 1e6),
            cpu_seconds: usage.cpu,
            written_per_payload_byte: usage.written as f64 / payload.max(1) as f64,
            peak_memory_mb: usage.peak as f64 / 1e6,
            note: String::new(),
        }
    }

    pub(crate) fn with_latency(mut self, histogram: &Histogram<u64>) -> Self {
        self.latency_micros = Some([0.5, 0.95, 0.99, 0.999].map(|q| histogram.value_at_quantile(q)));
        self
    }

    pub(crate) fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|e| format!("{{\"error\":\"{e}\"}}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<17}: {:>9.2} micros/op {:>9.0} ops/s {:>8.1} MB/s",
            self.name, self.micros_per_op, self.ops_per_second, self.mb_per_second
        )?;
        if let Some([p50, p95, p99, p999]) = self.latency_micros {
            write!(f, "  p50/p95/p99/p99.9 {p50}/{p95}/{p99}/{p999} us")?;
        }
        write!(
            f,
            "  cpu {:.1} us/op ({:.2} s)  written/payload {:.2}  peak {:.0} MB",
            self.cpu_micros_per_op, self.cpu_seconds, self.written_per_payload_byte, self.peak_memory_mb
        )?;
        if !self.note.is_empty() {
            write!(f, "  {}", self.note)?;
        }
        Ok(())
    }
}

/// A histogram of microseconds up to a minute.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}
