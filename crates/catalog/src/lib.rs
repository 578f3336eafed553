//! TiDB's schema objects and their history, the rows of its binlogs, and what a DDL did to the catalog. No I/O.

pub mod encode;
mod filter;
mod history;
mod interpret;
pub mod meta;
mod model;
mod value;

pub use filter::TableFilter;
pub use history::SchemaHistory;
pub use interpret::{Error, Interpreter, SkipReason, Start, Step};
pub use model::{
    ChangeKind, Column, ColumnType, Database, Ddl, Event, Index, IndexColumn, Row, RowChange, SchemaChange,
    Table, TableBuilder, TableKind, TableRef, Transaction, flag, tp,
};
pub use value::{JsonBinary, TimeKind, Value};
