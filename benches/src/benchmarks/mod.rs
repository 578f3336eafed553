//! The benchmarks: one file each, one line each in the table.

mod decode;
mod drain_mysql;
mod drain_sqlite;
mod fillbatch;
mod fillgc;
mod filllarge;
mod fillrandomcommit;
mod fillsync;
mod gc;
mod grpcbare;
mod grpcpull;
mod grpcscan;
mod grpcwrite;
mod rawappend;
mod rawiterate;
mod readrange;
mod readseq;
mod readwhilewriting;
mod reopen;
mod restore_mysql;
mod tail;

use crate::report::Report;
use crate::session::Session;

/// A benchmark, as the command line knows it.
#[derive(Debug)]
pub(crate) struct Benchmark {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Runs it, and says what came out.
    pub(crate) run: fn(&mut Session) -> anyhow::Result<Report>,
    /// What its speed is compared with when that runs too.
    pub(crate) baseline: Option<&'static str>,
}

/// All of them.
#[rustfmt::skip]
pub(crate) const BENCHMARKS: &[Benchmark] = &[
    Benchmark { name: "fillsync", run: fillsync::run, baseline: Some("rawappend"),
        about: "P and C of each transaction from --threads writers, each acknowledged after its sync" },
    Benchmark { name: "fillbatch", run: fillbatch::run, baseline: None,
        about: "the same, each writer handing over 100 transactions at once" },
    Benchmark { name: "fillrandomcommit", run: fillrandomcommit::run, baseline: None,
        about: "the same, each writer with 8 transactions open that commit in any order" },
    Benchmark { name: "filllarge", run: filllarge::run, baseline: None,
        about: "the same, twice, the second time with transactions of 100 MB in between; latency before and during, and memory" },
    Benchmark { name: "fillgc", run: fillgc::run, baseline: None,
        about: "the same, with everything older than --retention collected on the way; what compaction writes besides" },
    Benchmark { name: "rawappend", run: rawappend::run, baseline: None,
        about: "baseline: compress, append and fdatasync what the last fill wrote, in batches as it had" },
    Benchmark { name: "readseq", run: readseq::run, baseline: Some("rawiterate"),
        about: "scan everything in order" },
    Benchmark { name: "rawiterate", run: rawiterate::run, baseline: None,
        about: "baseline: a RocksDB iterator over the same data" },
    Benchmark { name: "readrange", run: readrange::run, baseline: None,
        about: "scan 1000 short ranges at random places" },
    Benchmark { name: "readwhilewriting", run: readwhilewriting::run, baseline: None,
        about: "scan everything again and again while --threads writers write" },
    Benchmark { name: "tail", run: tail::run, baseline: None,
        about: "follow the watermark while --threads writers write; latency is from a commit's submission to its being read" },
    Benchmark { name: "gc", run: gc::run, baseline: None,
        about: "fill, then collect the older half while --threads writers write; space, and latency before and during" },
    Benchmark { name: "reopen", run: reopen::run, baseline: None,
        about: "open what a crash of the store left" },
    Benchmark { name: "grpcwrite", run: grpcwrite::run, baseline: None,
        about: "P and C calls of the original's protocol from --threads writers to a pump of any make" },
    Benchmark { name: "grpcbare", run: grpcbare::run, baseline: None,
        about: "baseline: the same calls to a server that answers at once and keeps nothing" },
    Benchmark { name: "grpcpull", run: grpcpull::run, baseline: None,
        about: "PullBinlogs of what grpcwrite wrote, or of --num transactions from the beginning" },
    Benchmark { name: "grpcscan", run: grpcscan::run, baseline: None,
        about: "the same by Store.Scan, our own protocol" },
    Benchmark { name: "decode", run: decode::run, baseline: None,
        about: "rows from the bytes of --num transactions of 30 rows, by the schema, on one thread, in memory" },
    Benchmark { name: "drain-mysql", run: drain_mysql::run, baseline: None,
        about: "a drainer from a pump into a private MariaDB, beside a raw loader: --num rows, or --fixture" },
    Benchmark { name: "drain-sqlite", run: drain_sqlite::run, baseline: None,
        about: "the same into a SQLite file" },
    Benchmark { name: "restore-mysql", run: restore_mysql::run, baseline: None,
        about: "the same range restored by reparo into a private MariaDB, beside the raw loader" },
];
