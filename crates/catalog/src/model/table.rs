//! Tables, indexes and databases.

use binlog_types::{SchemaVersion, TableId};

use super::Column;

/// One column of an index.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexColumn {
    /// The column's name.
    pub name: String,
    /// Position in [`Table::columns`].
    pub offset: usize,
    /// Prefix length in characters (bytes for binary columns); None: the whole column.
    pub prefix: Option<u32>,
}

/// An index.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// Unique inside its table.
    pub id: i64,
    /// As it was written.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<IndexColumn>,
    /// No two rows are equal in it, but for NULLs.
    pub unique: bool,
    /// The primary key.
    pub primary: bool,
    /// State is public.
    pub public: bool,
    /// INVISIBLE: the optimizer does not use it; uniqueness holds all the same.
    pub invisible: bool,
    /// COMMENT.
    pub comment: String,
}

/// What lives under a table id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableKind {
    /// A table with rows.
    #[default]
    Table,
    /// A view.
    View,
    /// A sequence.
    Sequence,
}

/// One version of a table, view or sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Unique in the cluster; TRUNCATE gives a new one.
    pub id: TableId,
    /// As it was written.
    pub name: String,
    /// The schema version from which it holds.
    pub version: SchemaVersion,
    /// Table, view or sequence.
    pub kind: TableKind,
    /// All columns in TiDB's order, also not yet public and hidden ones.
    pub columns: Vec<Column>,
    /// All indexes, also not yet public ones. An integer primary key that is the row's handle is here too (`PRIMARY`), though TiDB's JSON has no index for it.
    pub indexes: Vec<Index>,
    /// The integer primary key is the row's handle.
    pub pk_is_handle: bool,
    /// The row's handle is made of the primary key's columns.
    pub is_common_handle: bool,
    /// Default character set.
    pub charset: String,
    /// Default collation.
    pub collate: String,
    /// COMMENT.
    pub comment: String,
    /// Some column is AUTO_INCREMENT.
    pub auto_increment: bool,
    /// It has partitions; what they are is in `json`. Rows always carry the table's own id.
    pub partitioned: bool,
    /// Names of its foreign keys.
    pub foreign_keys: Vec<String>,
    /// Names of its CHECK constraints.
    pub checks: Vec<String>,
    /// GLOBAL TEMPORARY: its rows are in no binlog.
    pub temporary: bool,
    /// TiDB's own JSON.
    pub json: bytes::Bytes,
}

impl Table {
    /// The primary key, or else the first public unique index over whole NOT NULL columns: what identifies a row. None: keyless.
    pub fn row_key(&self) -> Option<&Index> {
        let usable = |index: &&Index| {
            index.public
                && index.unique
                && index.columns.iter().all(|c| {
                    c.prefix.is_none()
                        && self
                            .columns
                            .get(c.offset)
                            .is_some_and(|col| col.is_visible() && col.ty.is_not_null())
                })
        };
        let primary = self.indexes.iter().find(|i| i.primary && i.public);
        primary.or_else(|| self.indexes.iter().find(usable))
    }

    /// The primary key's index.
    pub fn primary_key(&self) -> Option<&Index> {
        self.indexes.iter().find(|i| i.primary)
    }

    /// The table without these of its indexes, from `version` on.
    pub(crate) fn without_indexes(&self, ids: &[i64], version: SchemaVersion) -> Table {
        let mut table =
            Table { version, json: crate::meta::without_indexes(&self.json, ids), ..self.clone() };
        table.indexes.retain(|index| !ids.contains(&index.id));
        table
    }

    /// The column of that name, whatever the case.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name.eq_ignore_ascii_case(name))
    }
}

/// One version of a database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Database {
    /// Unique in the cluster.
    pub id: i64,
    /// As it was written.
    pub name: String,
    /// Default character set.
    pub charset: String,
    /// Default collation.
    pub collate: String,
    /// The schema version from which it holds.
    pub version: SchemaVersion,
}
