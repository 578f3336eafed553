//! Targets whose tables lack columns that the source has: their values are left out.

use std::collections::{HashMap, HashSet};

use binlog_catalog::{ChangeKind, Event, Row, TableRef};
use sqlx::Row as _;

use super::bookkeeping;
use super::connection::Connection;
use crate::{Error, literal};

/// The target's columns, asked for once a table until a DDL.
#[derive(Debug, Default)]
pub(super) struct TargetColumns {
    /// In lower case; an empty set: no such table, so that its statement fails by itself, with its name.
    tables: HashMap<(String, String), HashSet<String>>,
}

impl TargetColumns {
    pub(super) fn forget(&mut self) {
        self.tables.clear();
    }

    /// Unbinds what the target has no column for.
    pub(super) async fn narrow(
        &mut self,
        connection: &mut Connection,
        events: &mut [Event],
    ) -> Result<(), Error> {
        for event in events {
            let Event::Transaction(txn) = event else { continue };
            for change in &mut txn.changes {
                let columns = self.of(connection, &change.table).await?;
                if columns.is_empty() {
                    continue;
                }
                let absent: Vec<usize> = change
                    .table
                    .table
                    .columns
                    .iter()
                    .enumerate()
                    .filter(|(_, column)| !columns.contains(&column.name.to_lowercase()))
                    .map(|(at, _)| at)
                    .collect();
                if absent.is_empty() {
                    continue;
                }
                let unbind = |row: &mut Row| {
                    for at in &absent {
                        if let Some(value) = row.get_mut(*at) {
                            *value = None;
                        }
                    }
                };
                match &mut change.kind {
                    ChangeKind::Insert(row) | ChangeKind::Delete(row) => unbind(row),
                    ChangeKind::Update { before, after } => {
                        unbind(before);
                        unbind(after);
                    }
                }
            }
        }
        Ok(())
    }

    async fn of(&mut self, connection: &mut Connection, table: &TableRef) -> Result<&HashSet<String>, Error> {
        let name = (table.schema.to_string(), table.table.name.clone());
        if !self.tables.contains_key(&name) {
            let failed = bookkeeping("read the target's columns");
            let sql = format!(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = {} AND table_name = {}",
                literal::text(&name.0),
                literal::text(&name.1)
            );
            let mut columns = HashSet::new();
            for row in connection.fetch(&sql).await.map_err(&failed)? {
                let column: String = row.try_get(0).map_err(&failed)?;
                columns.insert(column.to_lowercase());
            }
            let lacking: Vec<&str> = table
                .table
                .columns
                .iter()
                .filter(|c| c.is_writable() && !columns.contains(&c.name.to_lowercase()))
                .map(|c| c.name.as_str())
                .collect();
            if !columns.is_empty() && !lacking.is_empty() {
                tracing::warn!(schema = name.0, table = name.1, columns = ?lacking, "the target lacks columns: their values are left out");
            }
            self.tables.insert(name.clone(), columns);
        }
        Ok(self.tables.entry(name).or_default())
    }
}
