//! Rows of binlogs: columns of datums, read by a plan made once per pair of table versions.
//!
//! TiDB writes rows in its old format, `(column id, value)` pairs of datums. An insert begins with the row's handle; an update is the old
//! row and then the new one; a delete is the old row. Inserts and deletes in row format 2 (first byte 0x80) are read too.

mod cast;
mod convert;
mod decode;
mod format2;
mod plan;
mod project;
mod text;

pub(crate) use convert::{datum_of, value_of};
pub(crate) use plan::Plan;
pub use project::Projection;

/// Id under which TiDB's hidden row id stands in a row.
pub(crate) const ROW_ID: i64 = -1;
/// A row without columns is this one byte.
pub(crate) const NO_COLUMNS: u8 = 0;

#[cfg(test)]
mod tests;
