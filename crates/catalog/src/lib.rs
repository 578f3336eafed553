//! TiDB's schema objects and their history, the rows of its binlogs, and what a DDL did to the catalog. No I/O.
//!
//! - [`Interpreter`]: records of the stream in, [`Event`]s out; what drainer, reparo and tools read;
//! - [`SchemaHistory`] and [`meta`]: schema objects by version, and how they lie in TiDB's key-value store;
//! - [`codec`]: single values; [`encode`]: rows as TiDB writes them;
//! - [`TableFilter`]: which tables take part.

pub mod codec;
pub mod encode;
mod error;
mod filter;
mod history;
mod interpret;
pub mod meta;
mod model;
mod row;
pub mod sql;
mod value;

pub use codec::{JsonBinary, TimeKind};
pub use error::Error;
pub use filter::{SYSTEM_SCHEMAS, TableFilter};
pub use history::{SchemaHistory, made_by, object_key, same_object};
pub use interpret::{Blob, Interpreter, Large, LargeStep, SkipReason, Start, Step, UnknownDdl};
pub use model::{
    ChangeKind, Column, ColumnType, Database, Ddl, Event, Index, IndexColumn, Moment, Part, Row, RowChange,
    SchemaChange, Table, TableBuilder, TableKind, TableRef, Transaction, flag, tp,
};
pub use row::Projection;
pub use value::Value;
