//! What the kernel counted for a process.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// What a process used between two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// Wall time.
    pub(crate) elapsed: Duration,
    /// Seconds of CPU, all threads, user and system.
    pub(crate) cpu: f64,
    /// Bytes that went towards the block layer.
    pub(crate) written: u64,
    /// Peak resident set, bytes.
    pub(crate) peak: u64,
}

#[derive(Clone, Copy, Debug)]
struct Counters {
    cpu: f64,
    written: u64,
    peak: u64,
}

/// Watches a process from one moment on.
#[derive(Debug)]
pub(crate) struct Meter {
    pid: Option<u32>,
    begun: Instant,
    before: Counters,
    threads_before: BTreeMap<String, f64>,
}

impl Meter {
    /// Watches this process, or `pid`.
    pub(crate) fn start(pid: Option<u32>) -> anyhow::Result<Self> {
        // "5" resets the peak to what is resident now (Linux). Where it may not, the peak is that of the process's life.
        let _ = fs::write(format!("{}/clear_refs", dir(pid)), "5");
        let threads_before = cpu_by_thread(pid)?;
        Ok(Meter { pid, before: counters(pid)?, threads_before, begun: Instant::now() })
    }

    /// Seconds of CPU so far by the names of threads, without their numbers. What threads used that have ended is missing.
    pub(crate) fn spent_by_thread(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        let mut spent = cpu_by_thread(self.pid)?;
        for (name, cpu) in &mut spent {
            *cpu = (*cpu - self.threads_before.get(name).copied().unwrap_or(0.0)).max(0.0);
        }
        Ok(spent)
    }

    /// What was used so far.
    pub(crate) fn spent(&self) -> anyhow::Result<Spent> {
        let elapsed = self.begun.elapsed();
        let now = counters(self.pid)?;
        Ok(Spent {
            elapsed,
            cpu: now.cpu - self.before.cpu,
            written: now.written - self.before.written,
            peak: now.peak,
        })
    }
}

fn dir(pid: Option<u32>) -> String {
    pid.map_or_else(|| "/proc/self".to_owned(), |pid| format!("/proc/{pid}"))
}

fn counters(pid: Option<u32>) -> anyhow::Result<Counters> {
    let dir = dir(pid);
    let read = |name: &str| {
        fs::read_to_string(format!("{dir}/{name}")).with_context(|| format!("read {dir}/{name}"))
    };
    let labelled = |text: &str, label: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(label).map(str::to_owned));
        line.and_then(|l| l.split_whitespace().next().and_then(|n| n.parse::<u64>().ok())).unwrap_or(0)
    };
    Ok(Counters {
        cpu: cpu_of(&read("stat")?),
        written: labelled(&read("io")?, "write_bytes:"),
        peak: labelled(&read("status")?, "VmHWM:") << 10,
    })
}

/// Fields of `stat` after the command's closing parenthesis: the state is the first, utime and stime the 12th and 13th.
fn fields(stat: &str) -> Vec<&str> {
    stat.rsplit(')').next().unwrap_or("").split_whitespace().collect()
}

fn cpu_of(stat: &str) -> f64 {
    let fields = fields(stat);
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) as f64 / rustix::param::clock_ticks_per_second() as f64
}

fn cpu_by_thread(pid: Option<u32>) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut spent = BTreeMap::new();
    let tasks = format!("{}/task", dir(pid));
    for task in fs::read_dir(&tasks).with_context(|| format!("read {tasks}"))? {
        // A thread may end between its listing and the look at it.
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
        let name =
            stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(name, _)| name);
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        *spent.entry(name.to_owned()).or_insert(0.0) += cpu_of(&stat);
    }
    Ok(spent)
}

/// Whether a child has ended but was not waited for: what it used can still be read.
pub(crate) fn has_ended(pid: u32) -> anyhow::Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("look at a child")?;
    Ok(fields(&stat).first() == Some(&"Z"))
}

/// Seconds of CPU of this process, or of `pid`, since it began.
pub(crate) fn cpu_seconds(pid: Option<u32>) -> anyhow::Result<f64> {
    Ok(counters(pid)?.cpu)
}
