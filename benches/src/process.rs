//! What the kernel counted for a process.

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
}

impl Meter {
    /// Watches this process, or `pid`.
    pub(crate) fn start(pid: Option<u32>) -> anyhow::Result<Self> {
        // "5" resets the peak to what is resident now (Linux). Where it may not, the peak is that of the process's life.
        let _ = fs::write(format!("{}/clear_refs", dir(pid)), "5");
        Ok(Meter { pid, before: counters(pid)?, begun: Instant::now() })
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
    let stat = read("stat")?;
    // Fields after the command's closing parenthesis: utime and stime are the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    let labelled = |text: &str, label: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(label).map(str::to_owned));
        line.and_then(|l| l.split_whitespace().next().and_then(|n| n.parse::<u64>().ok())).unwrap_or(0)
    };
    Ok(Counters {
        cpu: (ticks(11) + ticks(12)) as f64 / rustix::param::clock_ticks_per_second() as f64,
        written: labelled(&read("io")?, "write_bytes:"),
        peak: labelled(&read("status")?, "VmHWM:") << 10,
    })
}

/// Seconds of CPU of this process, or of `pid`, since it began.
pub(crate) fn cpu_seconds(pid: Option<u32>) -> anyhow::Result<f64> {
    Ok(counters(pid)?.cpu)
}
