//! What a sink makes of DDL jobs, as functions of any bytes: none may panic or hang.

use binlog_catalog::Event;
use binlog_sink::{SqlDialect, render_ddl_sql};

use super::targets::event_of_job;

/// A function of any bytes.
pub type Target = fn(&[u8]);

/// Name and function of each target.
pub const TARGETS: [(&str, Target); 1] = [("sink_ddl", ddl)];

/// A DDL job as statements of every dialect: its tables, their partitions, and the words of its text.
pub fn ddl(data: &[u8]) {
    let Some(Event::Ddl(ddl)) = event_of_job(data) else { return };
    for dialect in [SqlDialect::MariaDb, SqlDialect::MySql, SqlDialect::TiDb] {
        let _ = render_ddl_sql(&ddl, dialect);
    }
}
