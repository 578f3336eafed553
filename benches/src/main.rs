//! `binlog-bench`: see `binlog-bench --help`.

mod append;
mod fill;
mod grpc;
mod options;
mod payload;
mod process;
mod read;
mod report;
mod store;

use std::process::ExitCode;

use clap::Parser as _;

use options::{Benchmark, Options};
use report::Report;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "results go to stdout, errors to stderr")]
fn main() -> ExitCode {
    let options = Options::parse();
    if !options.json {
        println!("{}", options.headline());
    }
    for benchmark in &options.benchmarks {
        match run(*benchmark, &options) {
            Ok(report) if options.json => println!("{}", report.json()),
            Ok(report) => println!("{report}"),
            Err(error) => {
                eprintln!("{benchmark:?}: {error:#}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn run(benchmark: Benchmark, options: &Options) -> anyhow::Result<Report> {
    match benchmark {
        Benchmark::Rawappend => append::rawappend(options),
        Benchmark::Fillsync => fill::fillsync(options),
        Benchmark::Fillrandomcommit => fill::fillrandomcommit(options),
        Benchmark::Readseq => read::readseq(options),
        Benchmark::Rawiterate => read::rawiterate(options),
        Benchmark::Readrange => read::readrange(options),
        Benchmark::Reopen => read::reopen(options),
        Benchmark::Grpcwrite => grpc::write(options),
        Benchmark::Grpcpull => grpc::pull(options),
    }
}
