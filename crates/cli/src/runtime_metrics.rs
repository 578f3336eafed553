//! The process under the names that dashboards made for Go programs look for: `go_*`, and what the process collector leaves out.
//!
//! What Go's runtime has and this one does not (a garbage collector, its spans and caches) is there too, and is 0.

use std::fs;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Metric, MetricFamily, MetricType, Quantile, Summary};
use prometheus::{Counter, Gauge, GaugeVec, Opts};
use tikv_jemalloc_ctl::{Access, AsName as _, Mib, epoch, stats};
use tokio::runtime::Handle;

/// jemalloc's name for all arenas together.
const ALL_ARENAS: usize = 4096;

/// Of Go's allocator and collector; there is nothing like it here.
const ABSENT: [(&str, &str); 10] = [
    ("go_memstats_buck_hash_sys_bytes", "Number of bytes used by the profiling bucket hash table."),
    ("go_memstats_gc_sys_bytes", "Number of bytes used for garbage collection system metadata."),
    ("go_memstats_last_gc_time_seconds", "Number of seconds since 1970 of last garbage collection."),
    ("go_memstats_mcache_inuse_bytes", "Number of bytes in use by mcache structures."),
    ("go_memstats_mcache_sys_bytes", "Number of bytes used for mcache structures obtained from system."),
    ("go_memstats_mspan_inuse_bytes", "Number of bytes in use by mspan structures."),
    ("go_memstats_mspan_sys_bytes", "Number of bytes used for mspan structures obtained from system."),
    ("go_memstats_next_gc_bytes", "Number of heap bytes when next garbage collection will take place."),
    ("go_memstats_stack_inuse_bytes", "Number of bytes of the heap in use by stacks."),
    ("go_memstats_stack_sys_bytes", "Number of bytes of the heap obtained from system for stacks."),
];

/// The runtimes whose tasks are counted, and the allocator; cheap to clone.
#[derive(Clone, Debug)]
pub struct RuntimeMetrics {
    runtimes: Arc<Mutex<Vec<Handle>>>,
    tasks: Gauge,
}

impl RuntimeMetrics {
    /// Without a runtime.
    ///
    /// # Errors
    /// When a metric's name is malformed.
    pub fn new() -> Result<Self, prometheus::Error> {
        let tasks = Opts::new("go_goroutines", "Number of tasks that currently exist.");
        Ok(RuntimeMetrics { runtimes: Arc::default(), tasks: Gauge::with_opts(tasks)? })
    }

    /// Counts the tasks of one more runtime.
    pub fn watch(&self, runtime: Handle) {
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
        let turnover = Turnover::read().unwrap_or_default();
        gauge("go_memstats_alloc_bytes", "Number of bytes allocated and still in use.", allocated);
        gauge("go_memstats_heap_alloc_bytes", "Number of heap bytes allocated and still in use.", allocated);
        gauge("go_memstats_heap_inuse_bytes", "Number of heap bytes that are in use.", active);
        let idle = (mapped - active).max(0.0);
        gauge("go_memstats_heap_idle_bytes", "Number of heap bytes waiting to be used.", idle);
        gauge("go_memstats_heap_released_bytes", "Number of heap bytes released to OS.", retained);
        gauge("go_memstats_heap_sys_bytes", "Number of heap bytes obtained from system.", mapped);
        gauge("go_memstats_sys_bytes", "Number of bytes obtained from system.", resident);
        let live = turnover.allocations.saturating_sub(turnover.frees);
        gauge("go_memstats_heap_objects", "Number of allocated objects.", live as f64);
        gauge(
            "go_memstats_other_sys_bytes",
            "Number of bytes used for other system allocations.",
            stat(stats::metadata::read()),
        );
        gauge(
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            virtual_memory_limit(),
        );
        for (name, help) in ABSENT {
            gauge(name, help, 0.0);
        }
        let mut counter = |name: &str, help: &str, value: u64| {
            if let Ok(counter) = Counter::with_opts(Opts::new(name, help)) {
                counter.inc_by(value as f64);
                families.extend(counter.collect());
            }
        };
        counter("go_memstats_lookups_total", "Total number of pointer lookups.", 0);
        counter("go_memstats_mallocs_total", "Total number of mallocs.", turnover.allocations);
        counter("go_memstats_frees_total", "Total number of frees.", turnover.frees);
        let bytes = turnover.bytes;
        counter("go_memstats_alloc_bytes_total", "Total number of bytes allocated, even if freed.", bytes);
        families.push(collections());
        let info = Opts::new("go_info", "Information about the environment; this program is not in Go.");
        if let Ok(info) = GaugeVec::new(info, &["version"]) {
            info.with_label_values(&[concat!("rust", env!("CARGO_PKG_RUST_VERSION"))]).set(1.0);
            families.extend(info.collect());
        }
        families
    }
}

/// What the allocator has done since the process began.
#[derive(Debug, Default)]
struct Turnover {
    allocations: u64,
    frees: u64,
    bytes: u64,
}

impl Turnover {
    fn read() -> Result<Self, tikv_jemalloc_ctl::Error> {
        let mut turnover = Turnover::default();
        let bins: u32 = "arenas.nbins\0".name().read()?;
        let sizes = "arenas.bin.0.size\0".name().mib()?;
        let counts = ["stats.arenas.0.bins.0.nmalloc\0", "stats.arenas.0.bins.0.ndalloc\0"];
        turnover.add(bins, sizes, counts)?;
        let larger: u32 = "arenas.nlextents\0".name().read()?;
        let sizes = "arenas.lextent.0.size\0".name().mib()?;
        let counts = ["stats.arenas.0.lextents.0.nmalloc\0", "stats.arenas.0.lextents.0.ndalloc\0"];
        turnover.add(larger, sizes, counts)?;
        Ok(turnover)
    }

    /// Adds `classes` of sizes, whose numbers stand at the third place of `sizes` and at the fifth of `counts`.
    fn add(
        &mut self,
        classes: u32,
        mut sizes: Mib<[usize; 4]>,
        counts: [&str; 2],
    ) -> Result<(), tikv_jemalloc_ctl::Error> {
        let mut allocations: Mib<[usize; 6]> = counts[0].name().mib()?;
        let mut frees: Mib<[usize; 6]> = counts[1].name().mib()?;
        (allocations[2], frees[2]) = (ALL_ARENAS, ALL_ARENAS);
        for class in 0..classes as usize {
            (sizes[2], allocations[4], frees[4]) = (class, class, class);
            let size: usize = sizes.read()?;
            let (allocated, freed): (u64, u64) = (allocations.read()?, frees.read()?);
            self.allocations += allocated;
            self.frees += freed;
            self.bytes = self.bytes.saturating_add(allocated.saturating_mul(size as u64));
        }
        Ok(())
    }
}

/// As Go shows its garbage collector before its first run.
fn collections() -> MetricFamily {
    let quantile = |at| {
        let mut quantile = Quantile::default();
        quantile.set_quantile(at);
        quantile
    };
    let mut summary = Summary::default();
    summary.set_quantile([0.0, 0.25, 0.5, 0.75, 1.0].map(quantile).to_vec());
    let mut metric = Metric::default();
    metric.set_summary(summary);
    let mut family = MetricFamily::default();
    family.set_name("go_gc_duration_seconds".to_owned());
    family.set_help("A summary of the pause duration of garbage collection cycles.".to_owned());
    family.set_field_type(MetricType::SUMMARY);
    family.set_metric(vec![metric]);
    family
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
