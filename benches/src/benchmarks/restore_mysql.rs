//! Reparo's whole way from a pump into a MariaDB.

use crate::drain;
use crate::report::Report;
use crate::session::Session;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let options = &session.options;
    let work = drain::Work::of(options)?;
    Ok(drain::restore(work, options.batch)?.report("restore-mysql"))
}
