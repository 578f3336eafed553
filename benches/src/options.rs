//! The command line.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use binlog_types::parse_retention;
use clap::Parser;

use crate::benchmarks::{BENCHMARKS, Benchmark};

/// Benchmarks of the storage engine and of pumps, in the manner of db_bench.
///
/// Each benchmark prints one line: time and bytes of payload an operation; where operations are timed one by one, their
/// percentiles; CPU seconds of all threads, user and system; bytes that the kernel counted as written for the process, per
/// byte of payload; and peak memory. Lines of baselines stand in the same run, so that ratios mean something on any machine.
#[derive(Clone, Debug, Parser)]
#[command(name = "binlog-bench", version, after_help = benchmarks_help())]
pub(crate) struct Options {
    /// Which benchmarks, in order, of those listed below. Readers read what an earlier writer left in --db.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "fillsync,rawappend,readseq,rawiterate,readrange,reopen"
    )]
    benchmarks: Vec<String>,
    /// How many transactions.
    #[arg(long, default_value_t = 200_000)]
    pub(crate) num: u64,
    /// How long instead of how many, for those that write: 30 (seconds), 5m.
    #[arg(long, value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// How long fillgc keeps records: 20 (seconds), 5m.
    #[arg(long, default_value = "20", value_parser = duration)]
    pub(crate) retention: Duration,
    /// Bytes of payload a transaction, half of them compressible.
    #[arg(long, default_value_t = 1024)]
    pub(crate) value_size: usize,
    /// Writers.
    #[arg(long, default_value_t = 64)]
    pub(crate) threads: usize,
    /// Connections that the grpc writers share evenly, as the sessions of a TiDB server share one; default: one a writer.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(crate) connections: usize,
    /// Seed of payloads and orders.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The store's directory, kept; default: a temporary one, removed at the end.
    #[arg(long)]
    pub(crate) db: Option<PathBuf>,
    /// host:port of a pump of any make, for the grpc benchmarks.
    #[arg(long, default_value = "127.0.0.1:8250")]
    pub(crate) addr: String,
    /// The cluster id of that pump.
    #[arg(long, default_value_t = 0)]
    pub(crate) cluster_id: u64,
    /// The pump's process id: its CPU seconds, written bytes and memory are reported instead of the client's.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Start this pump program for the grpc benchmarks, with a data directory in --db, instead of --addr and --pid.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) pump: Option<PathBuf>,
    /// One JSON object a line, with figures second by second.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write plots as SVG into this directory: percentiles of all benchmarks, and each one's rate and p99 over time.
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,
    /// A capture of a real TiDB, for the drain benchmarks to drain in place of made rows.
    #[arg(long, value_name = "DIR")]
    pub(crate) fixture: Option<PathBuf>,
    /// Rows a statement, of the drainer and of the raw loader.
    #[arg(long, default_value_t = 500)]
    pub(crate) batch: usize,
    /// Be the bare gRPC server that grpcbare measures.
    #[arg(long, hide = true)]
    pub(crate) serve_bare: bool,
}

/// Seconds, as db_bench takes them, or with a unit.
fn duration(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => parse_retention(text).map_err(|error| error.to_string()),
    }
}

fn benchmarks_help() -> String {
    let mut text = "Benchmarks:".to_owned();
    for Benchmark { name, about, .. } in BENCHMARKS {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {name:<18} {about}");
    }
    text
}

impl Options {
    /// The benchmarks that were asked for.
    pub(crate) fn selected(&self) -> anyhow::Result<Vec<&'static Benchmark>> {
        let find = |name: &String| {
            let found = BENCHMARKS.iter().find(|benchmark| benchmark.name == name);
            found.with_context(|| format!("there is no benchmark {name}; see binlog-bench --help"))
        };
        self.benchmarks.iter().map(find).collect()
    }

    /// What was asked for, for people.
    pub(crate) fn headline(&self) -> String {
        let length = match self.duration {
            Some(duration) => format!("{} s", duration.as_secs_f64()),
            None => format!("{} transactions", self.num),
        };
        format!("{length}, {} bytes each, {} writers, seed {}", self.value_size, self.writers(), self.seed)
    }

    /// How many connections the grpc writers share.
    pub(crate) fn connections(&self) -> usize {
        if self.connections == 0 { self.writers() } else { self.connections.min(self.writers()) }
    }

    /// How many write at once.
    pub(crate) fn writers(&self) -> usize {
        self.threads.max(1)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
        let options = Options::parse_from(["binlog-bench", "--benchmarks=gc,tail", "--duration=90s"]);
        assert_eq!(options.duration, Some(Duration::from_secs(90)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(options.selected().unwrap().len(), 2);
        let unknown = Options::parse_from(["binlog-bench", "--benchmarks=nonsense"]);
        assert!(unknown.selected().unwrap_err().to_string().contains("nonsense"));
    }
}
