//! Schema objects, made from TiDB's JSON.

use binlog_types::{SchemaVersion, TableId};

/// MySQL type byte, flags and attributes of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnType {
    /// MySQL's type byte (1 tinyint … 0xff geometry).
    pub tp: u8,
    pub flag: u64,
    pub flen: i64,
    pub decimal: i64,
    pub charset: String,
    pub collate: String,
    pub elems: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub id: i64,
    pub name: String,
    pub offset: usize,
    pub ty: ColumnType,
    /// State is public: readers see it.
    pub public: bool,
    pub hidden: bool,
    /// Text of the expression; empty: not generated.
    pub generated_expr: String,
    pub generated_stored: bool,
    /// DEFAULT as text, decoded; None: no default.
    pub default: Option<Vec<u8>>,
    pub default_is_expr: bool,
    /// What rows written before the column existed hold.
    pub origin_default: Option<Vec<u8>>,
    pub comment: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct IndexColumn { pub name: String, /** position in `Table::columns` */ pub offset: usize, /** prefix length in characters; None: whole */ pub prefix: Option<u32> }

#[derive(Clone, Debug, PartialEq)]
pub struct Index { pub id: i64, pub name: String, pub columns: Vec<IndexColumn>, pub unique: bool, pub primary: bool, pub public: bool, pub invisible: bool, pub comment: String }

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind { Table, View, Sequence }

/// One version of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub id: TableId,
    pub name: String,
    /// The schema version from which it holds.
    pub version: SchemaVersion,
    pub kind: TableKind,
    /// All columns in TiDB's order, also not yet public and hidden ones.
    pub columns: Vec<Column>,
    pub indexes: Vec<Index>,
    pub pk_is_handle: bool,
    pub is_common_handle: bool,
    pub charset: String,
    pub collate: String,
    pub comment: String,
    pub auto_increment: bool,
    /// Partition clause text as far as known, for a dialect that keeps it; empty: not partitioned.
    pub partitioned: bool,
    /// TiDB's own JSON.
    pub json: bytes::Bytes,
}

impl Table {
    /// The primary key, or else the first unique index over NOT NULL columns: what identifies a row. None: keyless.
    pub fn row_key(&self) -> Option<&Index> { todo!() }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Database { pub id: i64, pub name: String, pub charset: String, pub collate: String, pub version: SchemaVersion }
