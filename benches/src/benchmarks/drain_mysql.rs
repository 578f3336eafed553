//! The drainer's whole way into a MariaDB.

use crate::drain;
use crate::report::Report;
use crate::session::Session;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let options = &session.options;
    let work = drain::Work::of(options)?;
    Ok(drain::mysql(work, options.batch)?.report("drain-mysql"))
}
