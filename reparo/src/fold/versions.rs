//! Table versions by number, with what identifies their rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use binlog_catalog::{Row, Table, TableRef};
use binlog_sink::key_columns;
use binlog_types::TableId;

use super::codec::put_value;
use super::net::VersionId;

/// One version of a table.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) table: TableRef,
    /// Places of the key's columns; `None`: the table has no key.
    pub(crate) key: Option<Vec<usize>>,
    /// Places of the columns that rows are told apart by: the key's, or all that are written.
    identity: Vec<usize>,
}

impl Version {
    pub(crate) fn new(table: &TableRef) -> Self {
        let key = key_columns(&table.table);
        let writable = || {
            let columns = table.table.columns.iter().enumerate();
            columns.filter(|(_, c)| c.is_writable()).map(|(at, _)| at).collect()
        };
        let identity = key.clone().unwrap_or_else(writable);
        Version { table: table.clone(), key, identity }
    }

    /// The bytes that tell a row apart from all others of all tables.
    pub(crate) fn key_of(&self, row: &Row) -> Vec<u8> {
        let mut out = self.table.table.id.0.to_be_bytes().to_vec();
        for at in &self.identity {
            match row.get(*at) {
                Some(Some(value)) => put_value(&mut out, value),
                _ => out.push(0),
            }
        }
        out
    }

    /// Whether rows of both versions are told apart by the same columns: only then a row can be followed from one to the other.
    pub(crate) fn same_identity(&self, other: &Version) -> bool {
        let columns = |version: &Version| -> Option<Vec<(i64, u8)>> {
            let column = |at: &usize| version.table.table.columns.get(*at).map(|c| (c.id, c.ty.tp));
            version.identity.iter().map(column).collect()
        };
        self.key.is_some() == other.key.is_some() && columns(self) == columns(other)
    }

    /// Names of the columns that tell rows apart, for people.
    pub(crate) fn identity_names(&self) -> String {
        let name = |at: &usize| self.table.table.columns.get(*at).map(|c| c.name.as_str());
        let names: Vec<&str> = self.identity.iter().filter_map(name).collect();
        if self.key.is_some() { format!("({})", names.join(", ")) } else { "no key".to_owned() }
    }
}

/// All versions that were met.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    list: Vec<Version>,
    last: usize,
}

impl Versions {
    /// The number of a version.
    pub(crate) fn number(&mut self, table: &TableRef) -> VersionId {
        let same = |version: &Version| {
            Arc::ptr_eq(&version.table.table, &table.table) && *version.table.schema == *table.schema
        };
        if !self.list.get(self.last).is_some_and(same) {
            self.last = match self.list.iter().rposition(same) {
                Some(at) => at,
                None => {
                    self.list.push(Version::new(table));
                    self.list.len() - 1
                }
            };
        }
        self.last as VersionId
    }

    /// Tables without a key whose rows were told apart by other columns at another time.
    pub(crate) fn reshaped(&self) -> HashSet<TableId> {
        let mut first: HashMap<TableId, &Version> = HashMap::new();
        let keyless = self.list.iter().filter(|version| version.key.is_none());
        let id = |version: &Version| version.table.table.id;
        let other =
            keyless.filter(|version| !first.entry(id(version)).or_insert(version).same_identity(version));
        other.map(id).collect()
    }

    pub(crate) fn get(&self, id: VersionId) -> Option<&Version> {
        self.list.get(id as usize)
    }

    pub(crate) fn table(&self, id: VersionId) -> Option<&Arc<Table>> {
        self.get(id).map(|v| &v.table.table)
    }
}
