//! Rows of a SQLite table on their way into the one that takes its place.

use binlog_catalog::{Column, Value};
use binlog_types::Zone;

/// A copy of all rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Copy {
    /// Quoted name of the table as it is.
    pub(crate) from: String,
    /// Quoted name of the table that takes its place.
    pub(crate) to: String,
    /// The new table's columns and where their values come from.
    pub(crate) columns: Vec<(Column, Source)>,
    /// A name of the row id that no column takes; `None`: there is none.
    pub(crate) row_id: Option<&'static str>,
    /// Of the session that changed types; `None`: UTC.
    pub(crate) zone: Option<Zone>,
}

/// Where the values of a column come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// The column of that quoted name, as it is; the value stands where it is NULL and must not be.
    Same(String, Option<Value>),
    /// The column of that quoted name, in another type.
    Cast(String, Box<Column>),
    /// One value for all rows.
    Value(Value),
}

impl Copy {
    /// Whether rows must be read to be written.
    pub(crate) fn casts(&self) -> bool {
        self.columns.iter().any(|(_, source)| matches!(source, Source::Cast(..)))
    }
}
