//! One run of the program: what its benchmarks share.

use std::path::PathBuf;

use crate::benchmarks::Benchmark;
use crate::child::Pump;
use crate::options::Options;
use crate::process::{Meter, Spent};
use crate::report::{self, Report};
use crate::{plot, rpc};

/// What grpcwrite left for the grpc readers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// The timestamp before its first.
    pub(crate) after: u64,
    pub(crate) transactions: u64,
}

/// The run.
pub(crate) struct Session {
    pub(crate) options: Options,
    /// Of the benchmarks so far, in order.
    pub(crate) reports: Vec<Report>,
    pub(crate) written: Option<Written>,
    pump: Option<Pump>,
    /// Where stores lie.
    dir: PathBuf,
}

impl Session {
    pub(crate) fn new(options: Options) -> Self {
        let temporary = || std::env::temp_dir().join(format!("binlog-bench-{}", std::process::id()));
        let dir = options.db.clone().unwrap_or_else(temporary);
        Session { options, reports: Vec::new(), written: None, pump: None, dir }
    }

    /// A directory of that name, made if there is none.
    pub(crate) fn dir(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Where the store under test lies.
    pub(crate) fn store_dir(&self) -> anyhow::Result<PathBuf> {
        self.dir("store")
    }

    /// The last report of the benchmark of that name.
    pub(crate) fn report(&self, name: &str) -> Option<&Report> {
        self.reports.iter().rev().find(|report| report.name == name)
    }

    /// The pump that the grpc benchmarks measure; started if the options say so.
    pub(crate) fn target(&mut self) -> anyhow::Result<rpc::Target> {
        let Some(program) = self.options.pump.clone() else {
            let Options { addr, cluster_id, pid, .. } = &self.options;
            return Ok(rpc::Target { addr: addr.clone(), cluster_id: *cluster_id, pid: *pid });
        };
        if self.pump.is_none() {
            let dir = self.dir("pump")?;
            self.pump = Some(Pump::start(&program, &dir)?);
        }
        match &self.pump {
            Some(pump) => Ok(pump.target()),
            None => anyhow::bail!("the pump did not start"),
        }
    }

    /// What the grpc readers read: the position after which it begins, and how many transactions.
    pub(crate) fn to_read(&self) -> (u64, u64) {
        self.written.map_or((0, self.options.num), |written| (written.after, written.transactions))
    }

    /// Ends the pump that was started, if one was, and says what it used until all it took was in files. The next benchmark
    /// that needs it starts it again.
    pub(crate) fn settle_pump(&mut self, meter: &Meter) -> anyhow::Result<Option<Spent>> {
        self.pump.take().map(|pump| pump.stop_metered(meter)).transpose()
    }

    /// Ends the pump that was started, so that all it has is in files.
    pub(crate) fn stop_pump(&mut self) -> anyhow::Result<()> {
        match self.pump.take() {
            Some(pump) => pump.stop(),
            None => Ok(()),
        }
    }

    /// A line for people.
    pub(crate) fn say(&self, line: &str) {
        if !self.options.json {
            report::print(line);
        }
    }

    /// Takes a report and prints it.
    pub(crate) fn finish(&mut self, benchmark: &Benchmark, mut report: Report) -> anyhow::Result<()> {
        if let Some(baseline) = benchmark.baseline
            && let Some(ratio) = self.report(baseline).map(|other| report.speed() / other.speed())
        {
            report.compare(baseline, ratio);
        }
        // The baseline may come after what it is the baseline of.
        for earlier in &self.reports {
            if benchmark_of(earlier).is_some_and(|other| other.baseline == Some(benchmark.name)) {
                report.compare_other(earlier.name, earlier.speed() / report.speed());
            }
        }
        report::print(&if self.options.json { report.json()? } else { report.to_string() });
        self.reports.push(report);
        Ok(())
    }

    /// Draws the plots and tidies up.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        self.stop_pump()?;
        if let Some(dir) = &self.options.plot {
            plot::draw(dir, &self.reports)?;
        }
        Ok(())
    }
}

fn benchmark_of(report: &Report) -> Option<&'static Benchmark> {
    crate::benchmarks::BENCHMARKS.iter().find(|benchmark| benchmark.name == report.name)
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.pump.take());
        if self.options.db.is_none() {
            // Best effort: it is a temporary directory.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
