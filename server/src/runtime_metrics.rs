//! The process under the names that dashboards made for Go programs look for: `go_*`, and what the process collector leaves out.

use std::fs;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, Opts};
use tikv_jemalloc_ctl::{epoch, stats};
use tokio::runtime::Handle;

/// The runtimes whose tasks are counted; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeMetrics {
    runtimes: Arc<Mutex<Vec<Handle>>>,
    tasks: Gauge,
}

impl RuntimeMetrics {
    /// Without a runtime.
    ///
    /// # Errors
    /// When a metric's name is malformed.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let tasks = Opts::new("go_goroutines", "Number of tasks that currently exist.");
        Ok(RuntimeMetrics { runtimes: Arc::default(), tasks: Gauge::with_opts(tasks)? })
    }

    /// Counts the tasks of one more runtime.
    pub(crate) fn watch(&self, runtime: Handle) {
        self.runtimes.lock().push(runtime);
    }

    fn alive_tasks(&self) -> usize {
        self.runtimes.lock().iter().map(|runtime| runtime.metrics().num_alive_tasks()).sum()
    }
}

impl Collector for RuntimeMetrics {
    fn desc(&self) -> Vec<&Desc> {
        // One name stands for all: a registry tells collectors apart by it.
        self.tasks.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.tasks.set(self.alive_tasks() as f64);
        let mut families = self.tasks.collect();
        let mut gauge = |name: &str, help: &str, value: f64| {
            if let Ok(gauge) = Gauge::with_opts(Opts::new(name, help)) {
                gauge.set(value);
                families.extend(gauge.collect());
            }
        };
        gauge("go_threads", "Number of OS threads.", threads() as f64);
        // The figures stand still until they are asked to move on.
        let _ = epoch::advance();
        let stat = |read: Result<usize, tikv_jemalloc_ctl::Error>| read.unwrap_or(0) as f64;
        let (allocated, active) = (stat(stats::allocated::read()), stat(stats::active::read()));
        let (resident, mapped) = (stat(stats::resident::read()), stat(stats::mapped::read()));
        let retained = stat(stats::retained::read());
        gauge("go_memstats_alloc_bytes", "Number of bytes allocated and still in use.", allocated);
        gauge("go_memstats_heap_alloc_bytes", "Number of heap bytes allocated and still in use.", allocated);
        gauge("go_memstats_heap_inuse_bytes", "Number of heap bytes that are in use.", active);
        let idle = (mapped - active).max(0.0);
        gauge("go_memstats_heap_idle_bytes", "Number of heap bytes waiting to be used.", idle);
        gauge("go_memstats_heap_released_bytes", "Number of heap bytes released to OS.", retained);
        gauge("go_memstats_heap_sys_bytes", "Number of heap bytes obtained from system.", mapped);
        gauge("go_memstats_sys_bytes", "Number of bytes obtained from system.", resident);
        gauge(
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            virtual_memory_limit(),
        );
        let info = Opts::new("go_info", "Information about the environment; this program is not in Go.");
        if let Ok(info) = GaugeVec::new(info, &["version"]) {
            info.with_label_values(&[concat!("rust", env!("CARGO_PKG_RUST_VERSION"))]).set(1.0);
            families.extend(info.collect());
        }
        families
    }
}

fn threads() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// As Go's collector shows it: without a limit the largest number there is.
fn virtual_memory_limit() -> f64 {
    rustix::process::getrlimit(rustix::process::Resource::As).current.unwrap_or(u64::MAX) as f64
}
