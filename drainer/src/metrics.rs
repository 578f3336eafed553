//! The original's metric names, as far as they apply.

use binlog_catalog::{ChangeKind, Event};
use binlog_types::CommitTs;
use prometheus::{
    Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry,
    TextEncoder, exponential_buckets,
};

use crate::Error;

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) pump_position: GaugeVec,
    pub(crate) errors: IntCounterVec,
    pub(crate) skipped: IntCounter,
    ddl_jobs: IntCounter,
    events: IntCounterVec,
    checkpoint: Gauge,
    checkpoint_delay: Histogram,
    pub(crate) execute: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).namespace("binlog").subsystem("drainer");
        let delay =
            HistogramOpts::from(opts("checkpoint_delay_seconds", "now less the checkpoint, when it moves"))
                .buckets(exponential_buckets(0.001, 2.0, 22)?);
        let execute = HistogramOpts::from(opts(
            "execute_duration_time",
            "seconds that the downstream takes for a batch",
        ))
        .buckets(exponential_buckets(0.000_05, 2.0, 18)?);
        let metrics = Metrics {
            registry: Registry::new(),
            pump_position: GaugeVec::new(
                opts("pump_position", "milliseconds: physical time a pump was read through"),
                &["nodeID"],
            )?,
            errors: IntCounterVec::new(opts("error_count", "errors by type"), &["type"])?,
            skipped: IntCounter::with_opts(opts(
                "skipped_total",
                "transactions and DDLs that a filter or their kind left out",
            ))?,
            ddl_jobs: IntCounter::with_opts(opts("ddl_jobs_total", "DDLs applied"))?,
            events: IntCounterVec::new(
                opts("event", "row changes and DDLs applied, checkpoints saved, by type"),
                &["type"],
            )?,
            checkpoint: Gauge::with_opts(opts(
                "checkpoint_tso",
                "milliseconds: physical time of the checkpoint",
            ))?,
            checkpoint_delay: Histogram::with_opts(delay)?,
            execute: Histogram::with_opts(execute)?,
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), Error> {
        let all: [Box<dyn prometheus::core::Collector>; 8] = [
            Box::new(self.pump_position.clone()),
            Box::new(self.errors.clone()),
            Box::new(self.skipped.clone()),
            Box::new(self.ddl_jobs.clone()),
            Box::new(self.events.clone()),
            Box::new(self.checkpoint.clone()),
            Box::new(self.checkpoint_delay.clone()),
            Box::new(self.execute.clone()),
        ];
        for collector in all {
            self.registry.register(collector)?;
        }
        let process = prometheus::process_collector::ProcessCollector::for_self();
        self.registry.register(Box::new(process))?;
        Ok(())
    }

    /// Counts what was applied.
    pub(crate) fn count(&self, events: &[Event]) {
        let (mut inserts, mut updates, mut deletes) = (0, 0, 0);
        for event in events {
            match event {
                Event::Transaction(txn) => {
                    for change in &txn.changes {
                        match change.kind {
                            ChangeKind::Insert(_) => inserts += 1,
                            ChangeKind::Update { .. } => updates += 1,
                            ChangeKind::Delete(_) => deletes += 1,
                        }
                    }
                }
                Event::Ddl(_) => {
                    self.ddl_jobs.inc();
                    self.events.with_label_values(&["DDL"]).inc();
                }
            }
        }
        for (name, count) in [("Insert", inserts), ("Update", updates), ("Delete", deletes)] {
            self.events.with_label_values(&[name]).inc_by(count);
        }
    }

    pub(crate) fn checkpoint_moved(&self, ts: CommitTs, now_millis: u64) {
        let physical = ts.ts().physical();
        self.checkpoint.set(physical as f64);
        self.checkpoint_delay.observe(now_millis.saturating_sub(physical) as f64 / 1000.0);
        self.events.with_label_values(&["savepoint"]).inc();
    }

    /// The exposition text.
    pub(crate) fn text(&self) -> String {
        let mut out = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            Ok(()) => String::from_utf8_lossy(&out).into_owned(),
            Err(error) => format!("# {error}\n"),
        }
    }
}
