//! The model: schema objects as a sink sees them, and what a record of the stream does to them.

mod build;
mod column;
mod event;
mod table;

pub use build::TableBuilder;
pub use column::{Column, ColumnType, Moment, flag, tp};
pub use event::{ChangeKind, Ddl, Event, Part, Row, RowChange, SchemaChange, TableRef, Transaction};
pub use table::{Database, Index, IndexColumn, Table, TableKind};
