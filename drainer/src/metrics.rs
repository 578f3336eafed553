//! The original's metric names, as far as they apply.

use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::{ChangeKind, Event};
use binlog_cli::RuntimeMetrics;
use binlog_pull::Arrivals;
use binlog_sink::{LeftOut, Query, Watch};
use binlog_types::{ClockHandle, CommitTs, NodeId};
use prometheus::{
    Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts,
    Registry, TextEncoder, exponential_buckets,
};

use crate::Error;

/// As the original names the queues of its workers.
const WORKERS: [&str; 10] = [
    "worker_0", "worker_1", "worker_2", "worker_3", "worker_4", "worker_5", "worker_6", "worker_7",
    "worker_8", "worker_9",
];

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
    queue: GaugeVec,
    /// Of the original's relay logs, which there are none of here: dashboards ask for it.
    corruption: IntCounter,
    pumps: Arc<PumpMetrics>,
    queries: Arc<QueryMetrics>,
    /// Its threads and its memory.
    pub(crate) runtime: RuntimeMetrics,
}

/// What comes from pumps.
#[derive(Debug)]
struct PumpMetrics {
    size: HistogramVec,
    reach: HistogramVec,
    clock: ClockHandle,
}

impl Arrivals for PumpMetrics {
    fn arrived(&self, pump: &NodeId, commit_ts: CommitTs, bytes: usize) {
        self.size.with_label_values(&[pump.as_str()]).observe(bytes as f64);
        let late = self.clock.unix_millis().saturating_sub(commit_ts.ts().physical());
        self.reach.with_label_values(&[pump.as_str()]).observe(late as f64 / 1000.0);
    }
}

/// What the downstream takes its time for.
#[derive(Debug)]
struct QueryMetrics {
    took: HistogramVec,
    left_out: IntCounterVec,
}

impl Watch for QueryMetrics {
    fn took(&self, query: Query, time: Duration) {
        let kind = match query {
            Query::Exec => "exec",
            Query::Commit => "commit",
            Query::UpdateMarkTable => "update_mark_table",
        };
        self.took.with_label_values(&[kind]).observe(time.as_secs_f64());
    }

    fn left_out(&self, what: LeftOut) {
        let kind = match what {
            LeftOut::Ddl => "ddl",
            LeftOut::Row => "row",
        };
        self.left_out.with_label_values(&[kind]).inc();
    }
}

impl Metrics {
    pub(crate) fn new(clock: ClockHandle) -> Result<Self, Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).namespace("binlog").subsystem("drainer");
        let delay =
            HistogramOpts::from(opts("checkpoint_delay_seconds", "now less the checkpoint, when it moves"))
                .buckets(exponential_buckets(0.001, 2.0, 22)?);
        let execute = HistogramOpts::from(opts(
            "execute_duration_time",
            "seconds that the downstream takes for a batch",
        ))
        .buckets(exponential_buckets(0.000_05, 2.0, 18)?);
        let vector = |name: &str, help: &str, label: &str, buckets: Vec<f64>| {
            HistogramVec::new(HistogramOpts::from(opts(name, help)).buckets(buckets), &[label])
        };
        let times = exponential_buckets(0.000_05, 2.0, 18)?;
        let pumps = PumpMetrics {
            size: vector(
                "read_binlog_size",
                "bytes of the binlogs received",
                "nodeID",
                exponential_buckets(16.0, 2.0, 25)?,
            )?,
            reach: vector(
                "binlog_reach_duration_time",
                "seconds from commit_ts until the binlog is received",
                "nodeID",
                times.clone(),
            )?,
            clock,
        };
        let queries =
            vector("query_duration_time", "seconds of a statement of rows downstream", "type", times)?;
        for kind in ["exec", "commit"] {
            // There from the start, also where there is nothing to measure.
            queries.with_label_values(&[kind]);
        }
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
            queue: GaugeVec::new(
                opts("queue_size", "batches before the sink (syncer_input), jobs inside (workers)"),
                &["name"],
            )?,
            corruption: IntCounter::with_opts(
                Opts::new("corruption_binlog_count", "damaged binlog files")
                    .namespace("binlog")
                    .subsystem("binlogfile"),
            )?,
            pumps: Arc::new(pumps),
            queries: Arc::new(QueryMetrics {
                took: queries,
                left_out: IntCounterVec::new(
                    opts(
                        "left_out_total",
                        "what was left out because the downstream does not have what it changes",
                    ),
                    &["type"],
                )?,
            }),
            runtime: RuntimeMetrics::new()?,
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), Error> {
        let all: [Box<dyn prometheus::core::Collector>; 15] = [
            Box::new(self.runtime.clone()),
            Box::new(self.pump_position.clone()),
            Box::new(self.errors.clone()),
            Box::new(self.skipped.clone()),
            Box::new(self.ddl_jobs.clone()),
            Box::new(self.events.clone()),
            Box::new(self.checkpoint.clone()),
            Box::new(self.checkpoint_delay.clone()),
            Box::new(self.execute.clone()),
            Box::new(self.queue.clone()),
            Box::new(self.corruption.clone()),
            Box::new(self.pumps.size.clone()),
            Box::new(self.pumps.reach.clone()),
            Box::new(self.queries.took.clone()),
            Box::new(self.queries.left_out.clone()),
        ];
        for collector in all {
            self.registry.register(collector)?;
        }
        let process = prometheus::process_collector::ProcessCollector::for_self();
        self.registry.register(Box::new(process))?;
        Ok(())
    }

    /// To be told of what pumps send.
    pub(crate) fn arrivals(&self) -> Arc<dyn Arrivals> {
        Arc::<PumpMetrics>::clone(&self.pumps)
    }

    /// To be told of statements.
    pub(crate) fn watch(&self) -> Arc<dyn Watch> {
        Arc::<QueryMetrics>::clone(&self.queries)
    }

    /// What waits before and in the sink. The original has a queue for each of its workers, and shows ten of them; here all take from
    /// one, so that an equal share is what waits for each.
    pub(crate) fn queued(&self, batches: usize, jobs: usize, workers: usize) {
        self.queue.with_label_values(&["syncer_input"]).set(batches as f64);
        self.queue.with_label_values(&["workers"]).set(jobs as f64);
        for (worker, name) in WORKERS.iter().enumerate().take(workers) {
            let share = jobs / workers + usize::from(worker < jobs % workers);
            self.queue.with_label_values(&[name]).set(share as f64);
        }
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
                // No DDL of the stream.
                Event::Ddl(ddl) if ddl.ahead => {}
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
            Ok(()) => binlog_cli::with_go_bounds(&String::from_utf8_lossy(&out)),
            Err(error) => format!("# {error}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use binlog_types::SystemClock;

    use super::*;

    #[test]
    fn queues_are_shown_as_dashboards_ask_for_them() {
        let metrics = Metrics::new(SystemClock::handle()).unwrap();
        metrics.queued(3, 35, 16);
        let text = metrics.text();
        for (name, value) in [
            ("syncer_input", 3),
            ("workers", 35),
            ("worker_0", 3),
            ("worker_2", 3),
            ("worker_3", 2),
            ("worker_9", 2),
        ] {
            let line = format!("binlog_drainer_queue_size{{name=\"{name}\"}} {value}\n");
            assert!(text.contains(&line), "{line}: {text}");
        }
        assert!(
            !text.contains("worker_10") && text.contains("binlog_binlogfile_corruption_binlog_count 0\n"),
            "{text}"
        );
        metrics.queued(0, 1, 1);
        assert!(metrics.text().contains("name=\"worker_0\"} 1\n"));
    }
}
