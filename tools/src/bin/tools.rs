//! `tools`: look into pumps and their stores, and try everything out.

use std::io::Write as _;
use std::process::ExitCode;

use binlog_cli::{LogTo, init_logging};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let matches = binlog_tools::command().get_matches();
    let ended = init_logging("warn", "", LogTo::Stderr)
        .and_then(|()| Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?))
        .and_then(|runtime| runtime.block_on(binlog_tools::run(&matches)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tools failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
