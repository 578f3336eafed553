//! Which tables' rows are decoded.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use binlog_types::TableId;

use crate::{Table, TableRef};

/// Says by (database, table) whether rows are wanted.
pub(super) type Predicate = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// A predicate on names, and what it said of the tables that it was asked about.
#[derive(Default)]
pub(super) struct Wanted {
    /// None: all are.
    predicate: Option<Predicate>,
    known: HashMap<TableId, (Arc<str>, Arc<Table>, bool)>,
}

impl Wanted {
    pub(super) fn new(predicate: Predicate) -> Self {
        Wanted { predicate: Some(predicate), known: HashMap::new() }
    }

    /// Whether the table's rows are wanted, under the name that it has now.
    pub(super) fn holds(&mut self, table: &TableRef) -> bool {
        let Some(predicate) = &self.predicate else { return true };
        match self.known.get(&table.table.id) {
            Some((schema, known, wanted))
                if Arc::ptr_eq(schema, &table.schema) && Arc::ptr_eq(known, &table.table) =>
            {
                *wanted
            }
            _ => {
                let wanted = predicate(&table.schema, &table.table.name);
                let entry = (Arc::clone(&table.schema), Arc::clone(&table.table), wanted);
                self.known.insert(table.table.id, entry);
                wanted
            }
        }
    }

    /// Lets go of what it said of the other tables.
    pub(super) fn retain(&mut self, keep: impl Fn(TableId) -> bool) {
        self.known.retain(|id, _| keep(*id));
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.predicate.is_some() { "Wanted(by name)" } else { "Wanted(all)" };
        f.write_str(what)
    }
}
