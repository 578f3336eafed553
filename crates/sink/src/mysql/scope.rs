//! What a DDL touches: it waits for that, later rows of that wait for it, and after a crash earlier rows of that are known to be
//! applied.

use std::collections::HashMap;
use std::sync::Arc;

use binlog_catalog::{Ddl, SchemaChange, TableKind, TableRef};
use serde::{Deserialize, Serialize};

use crate::ddl::dialect::Kind;
use crate::position::Position;
use crate::schedule::Claim;

/// Databases and tables; kept in the intent row as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scope {
    /// All there is: a statement's text may name anything.
    #[serde(default)]
    everything: bool,
    #[serde(default)]
    schemas: Vec<String>,
    #[serde(default)]
    tables: Vec<(String, String)>,
}

impl Scope {
    pub(super) fn of(ddl: &Ddl, target: Kind) -> Self {
        let mut scope = Scope::default();
        for change in &ddl.changes {
            scope.add(change, target);
        }
        scope
    }

    fn add(&mut self, change: &SchemaChange, target: Kind) {
        match change {
            SchemaChange::CreateDatabase(database) => self.schemas.push(database.name.clone()),
            SchemaChange::AlterDatabase { after, .. } => self.schemas.push(after.name.clone()),
            SchemaChange::DropDatabase { database, tables } => {
                self.schemas.push(database.name.clone());
                tables.iter().for_each(|table| self.add_table(table));
            }
            // The text of a view, and TiDB's of a table (LIKE …), names others.
            SchemaChange::CreateTable(table) => {
                self.everything |= table.table.kind == TableKind::View || target == Kind::TiDb;
                self.add_table(table);
            }
            SchemaChange::AlterTable { before, after } => {
                self.everything |= after.table.kind == TableKind::View;
                self.add_table(before);
                self.add_table(after);
            }
            SchemaChange::RenameTable { before, after }
            | SchemaChange::TruncateTable { before, after }
            | SchemaChange::DropPartitions { before, after } => {
                self.add_table(before);
                self.add_table(after);
            }
            SchemaChange::DropTable(table) => self.add_table(table),
            SchemaChange::RecoverTable(_) => self.everything = true,
            SchemaChange::ExchangePartition { partitioned, plain } => {
                self.add_table(partitioned);
                self.add_table(plain);
            }
        }
    }

    fn add_table(&mut self, table: &TableRef) {
        self.table(&table.schema, &table.table.name);
    }

    pub(super) fn table(&mut self, schema: &str, table: &str) {
        let name = (schema.to_owned(), table.to_owned());
        if !self.tables.contains(&name) {
            self.tables.push(name);
        }
    }

    pub(super) fn claim(&self) -> Claim {
        if self.everything {
            return Claim::Everything;
        }
        let tables =
            self.tables.iter().map(|(s, t)| (Arc::from(s.as_str()), Arc::from(t.as_str()))).collect();
        if self.schemas.is_empty() {
            return Claim::Tables(tables);
        }
        Claim::Schemas(self.schemas.iter().map(|s| Arc::from(s.as_str())).collect(), tables)
    }
}

/// Positions before which the rows of a table are applied, because a DDL that waited for them was begun in an earlier run.
#[derive(Clone, Debug, Default)]
pub(super) struct Floors {
    everything: Position,
    schemas: HashMap<String, Position>,
    tables: HashMap<(String, String), Position>,
}

impl Floors {
    pub(super) fn raise(&mut self, scope: &Scope, at: Position) {
        if scope.everything {
            self.everything = self.everything.max(at);
        }
        for schema in &scope.schemas {
            let floor = self.schemas.entry(schema.to_lowercase()).or_default();
            *floor = at.max(*floor);
        }
        for (schema, table) in &scope.tables {
            let floor = self.tables.entry((schema.to_lowercase(), table.to_lowercase())).or_default();
            *floor = at.max(*floor);
        }
    }

    pub(super) fn is_applied(&self, table: &TableRef, at: Position) -> bool {
        if at < self.everything {
            return true;
        }
        if self.schemas.is_empty() && self.tables.is_empty() {
            return false;
        }
        let schema = table.schema.to_lowercase();
        if self.schemas.get(&schema).is_some_and(|floor| at < *floor) {
            return true;
        }
        let name = (schema, table.table.name.to_lowercase());
        self.tables.get(&name).is_some_and(|floor| at < *floor)
    }
}
