//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// One benchmark. They run in the order given; readers read what an earlier writer left in `--db`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum Benchmark {
    /// Baseline of the writers: append the same payloads to a file in batches of all waiting threads, fdatasync each batch.
    Rawappend,
    /// Prewrite and commit from --threads writers, each acknowledged after sync; commits in order of start.
    Fillsync,
    /// The same with commits out of order, as real transactions finish.
    Fillrandomcommit,
    /// Scan everything in order through the store.
    Readseq,
    /// Baseline of the readers: a RocksDB iterator over the same data.
    Rawiterate,
    /// Scan many short ranges at random places.
    Readrange,
    /// Close and open the store.
    Reopen,
    /// Prewrite and commit over gRPC to the pump at --addr, of any make.
    Grpcwrite,
    /// PullBinlogs from the pump at --addr until --num transactions came.
    Grpcpull,
}

/// Benchmarks of the storage engine and of pumps, in the manner of db_bench.
#[derive(Clone, Debug, Parser)]
#[command(name = "binlog-bench", version)]
pub(crate) struct Options {
    /// Which benchmarks, in order.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "rawappend,fillsync,readseq,rawiterate,readrange,reopen"
    )]
    pub(crate) benchmarks: Vec<Benchmark>,
    /// How many transactions.
    #[arg(long, default_value_t = 200_000)]
    pub(crate) num: u64,
    /// Bytes of payload a transaction, half of them compressible.
    #[arg(long, default_value_t = 1024)]
    pub(crate) value_size: usize,
    /// Writers.
    #[arg(long, default_value_t = 64)]
    pub(crate) threads: usize,
    /// Seed of payloads and orders.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The store's directory; default: a temporary one that is removed at the end.
    #[arg(long)]
    pub(crate) db: Option<PathBuf>,
    /// host:port of a pump, for the grpc benchmarks.
    #[arg(long, default_value = "127.0.0.1:8250")]
    pub(crate) addr: String,
    /// The cluster id of that pump.
    #[arg(long, default_value_t = 0)]
    pub(crate) cluster_id: u64,
    /// The pump's process id: its CPU seconds and written bytes are reported too.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// One JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// What was asked for, for people.
    pub(crate) fn headline(&self) -> String {
        format!(
            "{} transactions of {} bytes, {} writers, seed {}",
            self.num, self.value_size, self.threads, self.seed
        )
    }

    /// Where the store lives: `--db`, or one directory a process.
    pub(crate) fn store_dir(&self) -> anyhow::Result<PathBuf> {
        match &self.db {
            Some(dir) => Ok(dir.clone()),
            None => Ok(std::env::temp_dir().join(format!("binlog-bench-{}", std::process::id()))),
        }
    }
}
