//! The rows that a replica must hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use binlog_catalog::{Row, Table};
use binlog_types::Ts;

use crate::{RowHasher, TableDigest};

/// Count and digest of each table at one moment, by `database.table`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The moment: it holds every transaction with commit_ts <= `ts`, and no other.
    pub ts: Ts,
    /// The tables that exist then.
    pub tables: BTreeMap<String, TableDigest>,
}

impl Snapshot {
    /// Rows over all tables.
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|t| t.rows).sum()
    }
}

/// One row's change; the row is named by its handle.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Position of the table in the model.
    pub(crate) table: usize,
    /// The integer key, or the hidden row id of a table without one.
    pub(crate) handle: i64,
    /// What became of it.
    pub(crate) kind: ChangeKind,
}

/// Inserted, updated or deleted, with the full rows.
#[derive(Clone, Debug)]
pub(crate) enum ChangeKind {
    /// A new row.
    Insert(Row),
    /// Old and new row.
    Update { before: Row, after: Row },
    /// The row as it was.
    Delete(Row),
}

/// One table: its schema, rows by handle, and their digest, kept up to date.
#[derive(Debug)]
pub(crate) struct TableModel {
    /// As the catalog reads its TableInfo.
    pub(crate) table: Arc<Table>,
    /// By handle.
    pub(crate) rows: BTreeMap<i64, Row>,
    digest: TableDigest,
}

impl TableModel {
    /// An empty table.
    pub(crate) fn new(table: Arc<Table>) -> Self {
        TableModel { table, rows: BTreeMap::new(), digest: TableDigest::default() }
    }

    fn hash(&self, row: &Row) -> RowHasher {
        let mut hasher = RowHasher::new();
        for (column, value) in self.table.columns.iter().zip(row) {
            let text = value.as_ref().and_then(|v| v.to_text(column));
            hasher.column(text.as_deref());
        }
        hasher
    }

    fn put(&mut self, handle: i64, row: Row) {
        self.digest.add(self.hash(&row));
        if let Some(old) = self.rows.insert(handle, row) {
            self.digest.remove(self.hash(&old));
        }
    }

    fn take(&mut self, handle: i64) {
        if let Some(old) = self.rows.remove(&handle) {
            self.digest.remove(self.hash(&old));
        }
    }
}

/// All tables of the database, in the order of the schema.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Empty before `create_schema` and after `drop_database`.
    pub(crate) tables: Vec<TableModel>,
}

impl Model {
    /// Applies a committed transaction.
    pub(crate) fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            let Some(table) = self.tables.get_mut(change.table) else { continue };
            match change.kind {
                ChangeKind::Insert(row) | ChangeKind::Update { after: row, .. } => {
                    table.put(change.handle, row)
                }
                ChangeKind::Delete(_) => table.take(change.handle),
            }
        }
    }

    /// A row as it stands.
    pub(crate) fn row(&self, table: usize, handle: i64) -> Option<Row> {
        self.tables.get(table)?.rows.get(&handle).cloned()
    }

    /// Counts and digests, under the name of the database.
    pub(crate) fn snapshot(&self, ts: Ts, database: &str) -> Snapshot {
        let tables = self.tables.iter().map(|t| (format!("{database}.{}", t.table.name), t.digest)).collect();
        Snapshot { ts, tables }
    }
}
