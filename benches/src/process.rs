//! What the kernel counted for a process.

use std::fs;

use anyhow::Context as _;

/// Counters of a process since its start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Seconds of CPU, all threads, user and system.
    pub(crate) cpu: f64,
    /// Bytes that went to the block layer.
    pub(crate) written: u64,
    /// Peak resident set, bytes.
    pub(crate) peak: u64,
}

impl Usage {
    /// Of this process, or of `pid`.
    pub(crate) fn of(pid: Option<u32>) -> anyhow::Result<Self> {
        let dir = pid.map_or_else(|| "/proc/self".to_owned(), |pid| format!("/proc/{pid}"));
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
        Ok(Usage {
            cpu: (ticks(11) + ticks(12)) as f64 / rustix::param::clock_ticks_per_second() as f64,
            written: labelled(&read("io")?, "write_bytes:"),
            peak: labelled(&read("status")?, "VmHWM:") << 10,
        })
    }

    /// What came since `before`; the peak stays absolute.
    pub(crate) fn since(self, before: Usage) -> Usage {
        Usage { cpu: self.cpu - before.cpu, written: self.written - before.written, peak: self.peak }
    }
}
