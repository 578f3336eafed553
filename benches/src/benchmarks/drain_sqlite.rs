//! The drainer's whole way into a SQLite file.

use crate::drain;
use crate::report::Report;
use crate::session::Session;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let options = &session.options;
    let work = drain::Work::of(options)?;
    Ok(drain::sqlite(work, options.batch)?.report("drain-sqlite"))
}
