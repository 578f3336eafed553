//! TiDB's schema objects and their history, the rows of its binlogs, and what a DDL did to the catalog. No I/O.

mod table;
mod value;
mod event;
mod history;
mod filter;
mod interpret;
pub mod meta;

pub use event::{ChangeKind, Ddl, Event, Row, RowChange, SchemaChange, TableRef, Transaction};
pub use filter::TableFilter;
pub use history::SchemaHistory;
pub use interpret::{Error, Interpreter, SkipReason, Start, Step};
pub use table::{Column, ColumnType, Database, Index, IndexColumn, Table, TableKind};
pub use value::{JsonBinary, TimeKind, Value};
