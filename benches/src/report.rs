//! One line a benchmark, as db_bench prints them, or one JSON object.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;

use serde::Serialize;

use crate::latency::{Percentiles, Second};
use crate::process::Spent;

/// The outcome of a benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
    pub(crate) payload_bytes: u64,
    micros_per_op: f64,
    ops_per_second: f64,
    mb_per_second: f64,
    /// Of one operation, microseconds; absent where operations were not timed one by one.
    pub(crate) latency_micros: Option<Percentiles>,
    pub(crate) cpu_micros_per_op: f64,
    cpu_seconds: f64,
    /// Bytes that the kernel counted as written, per byte of payload; absent where nothing is written.
    pub(crate) written_per_payload_byte: Option<f64>,
    peak_memory_mb: f64,
    /// Whatever else this benchmark found out, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) figures: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) timeline: Vec<Second>,
}

impl Report {
    /// A report of so many operations, which moved so many bytes of payload.
    pub(crate) fn new(name: &'static str, operations: u64, payload: u64, spent: &Spent) -> Self {
        let seconds = spent.elapsed.as_secs_f64().max(1e-9);
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
            cpu_micros_per_op: per_op(spent.cpu * 1e6),
            cpu_seconds: spent.cpu,
            written_per_payload_byte: (spent.written > 0)
                .then(|| spent.written as f64 / payload.max(1) as f64),
            peak_memory_mb: spent.peak as f64 / 1e6,
            figures: BTreeMap::new(),
            note: String::new(),
            timeline: Vec::new(),
        }
    }

    pub(crate) fn with_latency(mut self, (percentiles, timeline): (Percentiles, Vec<Second>)) -> Self {
        self.latency_micros = Some(percentiles);
        self.timeline = timeline;
        self
    }

    pub(crate) fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Adds a figure of this benchmark's own.
    pub(crate) fn with(mut self, name: impl Into<String>, value: f64) -> Self {
        self.figures.insert(name.into(), value);
        self
    }

    /// What is compared with a baseline: payload bytes a second where there are any, else operations.
    pub(crate) fn speed(&self) -> f64 {
        if self.payload_bytes > 0 { self.mb_per_second } else { self.ops_per_second }
    }

    /// Notes how fast it was beside its baseline.
    pub(crate) fn compare(&mut self, baseline: &str, ratio: f64) {
        self.figures.insert(format!("speed/{baseline}"), ratio);
    }

    /// Notes, on a baseline, how fast that was of which it is the baseline.
    pub(crate) fn compare_other(&mut self, name: &str, ratio: f64) {
        self.figures.insert(format!("speed of {name}/this"), ratio);
    }

    pub(crate) fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<17}: {:>9.2} micros/op {:>9.0} ops/s {:>8.1} MB/s",
            self.name, self.micros_per_op, self.ops_per_second, self.mb_per_second
        )?;
        if let Some(p) = self.latency_micros {
            write!(f, "; p50/p95/p99/p99.9 {}/{}/{}/{} us", p.p50, p.p95, p.p99, p.p999)?;
        }
        write!(f, "; cpu {:.1} us/op ({:.2} s)", self.cpu_micros_per_op, self.cpu_seconds)?;
        if let Some(written) = self.written_per_payload_byte {
            write!(f, "; written/payload {written:.3}")?;
        }
        write!(f, "; peak {:.0} MB", self.peak_memory_mb)?;
        for (name, value) in &self.figures {
            if value.fract() == 0.0 && value.abs() >= 10.0 {
                write!(f, "; {name} {value:.0}")?;
            } else {
                write!(f, "; {name} {value:.3}")?;
            }
        }
        if !self.note.is_empty() {
            write!(f, "; {}", self.note)?;
        }
        Ok(())
    }
}

/// A line on standard output. A reader that went away is no failure.
pub(crate) fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line on standard error.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
