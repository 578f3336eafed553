//! The numbers of a pump, under the original's names; what the store counts comes beside them as `binlog_pump_storage_*`.

use binlog_cli::{RuntimeMetrics, with_go_bounds};
use binlog_storage::{BatchObserver, BatchReport, Store};
use binlog_types::CommitTs;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, exponential_buckets,
};

use crate::budget::Budget;

/// All metrics; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) write_succeeded: Histogram,
    pub(crate) write_failed: Histogram,
    pub(crate) rpc: HistogramVec,
    pub(crate) lost: IntCounter,
    pub(crate) purged_for_drainer: IntCounterVec,
    pub(crate) write_size: Histogram,
    pub(crate) gc_ts: IntGauge,
    pub(crate) done_gc_ts: IntGauge,
    pub(crate) deleted: IntCounter,
    pub(crate) max_commit_ts: IntGauge,
    pub(crate) storage_size: IntGaugeVec,
    pub(crate) tikv_queries: IntCounter,
    pub(crate) errors: IntCounterVec,
    pub(crate) write_duration: Histogram,
    batch: BatchHistograms,
    pub(crate) runtime: RuntimeMetrics,
}

/// Of the store's batches. Writing and syncing are one step here, so the original's three durations are one.
#[derive(Clone, Debug)]
struct BatchHistograms {
    size: Histogram,
    durations: [Histogram; 3],
}

impl Metrics {
    /// A registry with all of them.
    ///
    /// # Errors
    /// Only if two metrics had one name.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| IntCounter::with_opts(Opts::new(name, help));
        let gauge = |name: &str, help: &str| IntGauge::with_opts(Opts::new(name, help));
        let histograms = |name: &str, help: &str, start: f64, count: usize, labels: &[&str]| {
            HistogramVec::new(
                HistogramOpts::new(name, help).buckets(exponential_buckets(start, 2.0, count)?),
                labels,
            )
        };
        let rpc = histograms(
            "binlog_pump_rpc_duration_seconds",
            "Bucketed histogram of processing time (s) of rpc queries.",
            0.000_05,
            18,
            &["method", "label"],
        )?;
        let sizes =
            histograms("binlog_pump_storage_write_binlog_size", "write binlog size", 16.0, 25, &["type"])?;
        let durations = histograms(
            "binlog_pump_storage_write_binlog_duration_time",
            "Bucketed histogram of write time (s) of  binlog.",
            0.000_05,
            20,
            &["type"],
        )?;
        let metrics = Metrics {
            write_succeeded: rpc.with_label_values(&["WriteBinlog", "succ"]),
            write_failed: rpc.with_label_values(&["WriteBinlog", "fail"]),
            lost: counter("binlog_pump_loss_binlog_count", "Total loss binlog count")?,
            purged_for_drainer: IntCounterVec::new(
                Opts::new("binlog_pump_detected_drainer_binlog_purge_count", "binlog purge count of drainer"),
                &["id"],
            )?,
            write_size: sizes.with_label_values(&["single"]),
            gc_ts: gauge("binlog_pump_storage_gc_ts", "gc ts of storage")?,
            done_gc_ts: gauge(
                "binlog_pump_storage_done_gc_ts",
                "the metadata and vlog after this gc ts has been collected",
            )?,
            deleted: counter("binlog_pump_storage_deleted_kv_total", "deleted kv number")?,
            max_commit_ts: gauge("binlog_pump_storage_max_commit_ts", "max commit ts of storage")?,
            storage_size: IntGaugeVec::new(
                Opts::new("binlog_pump_storage_storage_size_bytes", "storage size info"),
                &["type"],
            )?,
            tikv_queries: counter("binlog_pump_storage_query_tikv_count", "Total count that queried tikv.")?,
            errors: IntCounterVec::new(
                Opts::new("binlog_pump_storage_error_count", "Total count of error in storage"),
                &["type"],
            )?,
            write_duration: durations.with_label_values(&["single"]),
            batch: BatchHistograms {
                size: sizes.with_label_values(&["batch"]),
                durations: ["batch", "to_disk", "fsync"].map(|kind| durations.with_label_values(&[kind])),
            },
            runtime: RuntimeMetrics::new()?,
            rpc,
            registry,
        };
        // There is no slow chaser here; dashboards look for it all the same, under the wrong name that it has.
        let chaser_turns = IntCounterVec::new(
            Opts::new(
                "binlog_pump_storage_slow_chaser_count",
                "How many times the slow chaser took each step.",
            ),
            &["type"],
        )?;
        let chaser_time = Histogram::with_opts(
            HistogramOpts::new(
                "binlog_drainer_slow_chaser_catchup_time_seconds",
                "How long the catch up step takes to run.",
            )
            .buckets(exponential_buckets(0.001, 2.0, 22)?),
        )?;
        let all: [Box<dyn Collector>; 15] = [
            Box::new(metrics.deleted.clone()),
            Box::new(chaser_turns),
            Box::new(chaser_time),
            Box::new(metrics.runtime.clone()),
            Box::new(metrics.rpc.clone()),
            Box::new(metrics.lost.clone()),
            Box::new(metrics.purged_for_drainer.clone()),
            Box::new(sizes),
            Box::new(durations),
            Box::new(metrics.gc_ts.clone()),
            Box::new(metrics.done_gc_ts.clone()),
            Box::new(metrics.max_commit_ts.clone()),
            Box::new(metrics.storage_size.clone()),
            Box::new(metrics.tikv_queries.clone()),
            Box::new(metrics.errors.clone()),
        ];
        for collector in all {
            metrics.registry.register(collector)?;
        }
        metrics.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// Whom the store tells of its batches.
    pub(crate) fn batch_observer(&self) -> BatchObserver {
        let batch = self.batch.clone();
        BatchObserver::new(move |BatchReport { bytes, took }| {
            batch.size.observe(bytes as f64);
            for histogram in &batch.durations {
                histogram.observe(took.as_secs_f64());
            }
        })
    }

    /// Adds what the store counts and what requests take, asked for at each scrape.
    ///
    /// # Errors
    /// When it was added before.
    pub(crate) fn watch(&self, store: Store, budget: Budget) -> Result<(), prometheus::Error> {
        let max_commit_ts = self.max_commit_ts.clone();
        self.registry.register(Box::new(StoreNumbers { store, budget, max_commit_ts }))
    }

    /// The text exposition.
    ///
    /// # Errors
    /// When a metric cannot be written.
    pub(crate) fn expose(&self) -> Result<String, prometheus::Error> {
        Ok(with_go_bounds(&TextEncoder::new().encode_to_string(&self.registry.gather())?))
    }
}

/// A timestamp as the original's gauges show it: physical milliseconds.
pub(crate) fn gauge_of(ts: CommitTs) -> i64 {
    i64::try_from(ts.ts().physical()).unwrap_or(i64::MAX)
}

/// The figures of the engine, which has its own names for them, and of what waits for it.
#[derive(Debug)]
struct StoreNumbers {
    store: Store,
    budget: Budget,
    max_commit_ts: IntGauge,
}

impl Collector for StoreNumbers {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.max_commit_ts.set(gauge_of(self.store.watermark()));
        let counts = self.store.counts();
        let mut numbers = self.store.numbers();
        numbers.retain(|(name, _)| !counts.iter().any(|(count, _)| count == name));
        numbers.push(("queued_bytes".to_owned(), self.budget.taken()));
        let mut families = Vec::new();
        for (name, value) in counts {
            if let Ok(counter) = IntCounter::with_opts(figure(&name)) {
                counter.inc_by(value);
                families.extend(counter.collect());
            }
        }
        for (name, value) in numbers {
            if let Ok(gauge) = IntGauge::with_opts(figure(&name)) {
                gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
                families.extend(gauge.collect());
            }
        }
        families
    }
}

fn figure(name: &str) -> Opts {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    Opts::new(format!("binlog_pump_storage_{name}"), "a figure of the storage engine")
}
