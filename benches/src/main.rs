//! `binlog-bench`: see `binlog-bench --help`. A benchmark is a file in `benchmarks/` and a line in its table.

mod bare;
mod benchmarks;
mod child;
mod drain;
mod latency;
mod load;
mod options;
mod payload;
mod plot;
mod process;
mod report;
mod rpc;
mod session;
mod store;

use std::process::ExitCode;

use clap::Parser as _;

use options::Options;
use session::Session;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    let ended = if options.serve_bare { bare::serve() } else { run(options) };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&format!("binlog-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> anyhow::Result<()> {
    let benchmarks = options.selected()?;
    let mut session = Session::new(options);
    session.say(&session.options.headline());
    for benchmark in benchmarks {
        let report = (benchmark.run)(&mut session)
            .map_err(|error| error.context(format!("benchmark {}", benchmark.name)))?;
        session.finish(benchmark, report)?;
    }
    session.end()
}
