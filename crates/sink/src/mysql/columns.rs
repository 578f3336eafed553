//! What columns the target's tables have: some may be missing there, and some may be its own.
//!
//! A table is asked for once. From then on the DDLs that are applied say how the answer changes, for one that is under way should
//! neither be waited for nor be asked in the middle of. Where nobody can say what a DDL did to the target (it was left out, an
//! earlier run applied it, a whole database went), tables are looked at anew once that DDL has ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::{Ddl, Event, SchemaChange, Table, TableKind, TableRef};
use sqlx::Row as _;
use tokio::time::Instant;

use super::bookkeeping;
use super::connection::Connection;
use super::pipeline::Pipeline;
use super::width::{Width, narrower};
use crate::layout::Differences;
use crate::{Error, literal};

/// A table that lacks columns is looked at again so long after: somebody may have added them.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// A table as the target has it.
#[derive(Debug, Default)]
struct Known {
    /// By name in lower case: whether it takes values. Empty: there is no such table, so that its statement fails by itself, with its
    /// name.
    columns: HashMap<String, bool>,
    /// It lacked columns then.
    lacked: Option<Instant>,
}

impl Known {
    fn of(table: &Table) -> Self {
        let visible = table.columns.iter().filter(|c| c.is_visible());
        let columns = visible.map(|c| (c.name.to_lowercase(), c.is_writable())).collect();
        Known { columns, lacked: None }
    }

    /// What an ALTER TABLE makes of it.
    fn altered(&mut self, before: &Table, after: &Table) {
        let (before, after) = (Known::of(before).columns, Known::of(after).columns);
        if self.columns.is_empty() {
            return;
        }
        self.columns.retain(|name, _| after.contains_key(name) || !before.contains_key(name));
        for (name, takes) in after {
            if before.get(&name) != Some(&takes) {
                self.columns.insert(name, takes);
            }
        }
    }
}

/// All that is known of them.
#[derive(Debug, Default)]
pub(super) struct TargetColumns {
    schemas: HashMap<Arc<str>, HashMap<String, Known>>,
    /// What is not known may be asked for when this ticket has ended.
    after: u64,
    /// The last DDL.
    last_ddl: u64,
    /// The target's tables may lack columns: values for those are left out.
    partial: bool,
}

impl TargetColumns {
    pub(super) fn new(partial: bool) -> Self {
        TargetColumns { partial, ..TargetColumns::default() }
    }

    fn known(&self, table: &TableRef) -> Option<&Known> {
        self.schemas.get(&table.schema)?.get(&table.table.name)
    }

    fn put(&mut self, table: &TableRef, known: Known) {
        let tables = self.schemas.entry(Arc::clone(&table.schema)).or_default();
        tables.insert(table.table.name.clone(), known);
    }

    fn take(&mut self, table: &TableRef) -> Option<Known> {
        self.schemas.get_mut(&table.schema)?.remove(&table.table.name)
    }

    /// Everything is looked at anew, when all DDLs till now have ended.
    pub(super) fn forget(&mut self) {
        self.schemas.clear();
        self.after = self.last_ddl;
    }

    /// Makes known what the rows and the DDL of `events` are about.
    pub(super) async fn look(
        &mut self,
        connection: &mut Connection,
        pipeline: &Pipeline,
        events: &[Event],
    ) -> Result<(), Error> {
        for event in events {
            match event {
                Event::Transaction(txn) => {
                    let mut last: Option<&Arc<Table>> = None;
                    for change in &txn.changes {
                        let table = &change.table;
                        if !last.is_some_and(|last| Arc::ptr_eq(last, &table.table)) {
                            self.look_at(connection, pipeline, table).await?;
                        }
                        last = Some(&table.table);
                    }
                }
                Event::Ddl(ddl) => {
                    for change in &ddl.changes {
                        if let SchemaChange::CreateTable(table)
                        | SchemaChange::AlterTable { before: table, .. }
                        | SchemaChange::RenameTable { before: table, .. } = change
                            && table.table.kind == TableKind::Table
                        {
                            self.look_at(connection, pipeline, table).await?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn look_at(
        &mut self,
        connection: &mut Connection,
        pipeline: &Pipeline,
        table: &TableRef,
    ) -> Result<(), Error> {
        if let Some(known) = self.known(table) {
            if known.lacked.is_none_or(|at| at.elapsed() < LOOK_AGAIN) {
                return Ok(());
            }
            self.after = self.last_ddl;
        }
        pipeline.wait_for(self.after).await;
        let known = ask(connection, table, self.partial).await?;
        self.put(table, known);
        Ok(())
    }

    /// A DDL was submitted as `ticket`. `again`: an earlier run may have applied it.
    pub(super) fn follow(&mut self, ddl: &Ddl, again: bool, ticket: u64) {
        self.last_ddl = ticket;
        if ddl.changes.is_empty() {
            // Left out: what it did upstream may have been done to the target by somebody else.
            return self.forget();
        }
        let mut renamed = Vec::new();
        for change in &ddl.changes {
            match change {
                SchemaChange::CreateDatabase(_)
                | SchemaChange::AlterDatabase { .. }
                | SchemaChange::TruncateTable { .. }
                | SchemaChange::DropPartitions { .. }
                | SchemaChange::ExchangePartition { .. } => {}
                SchemaChange::DropDatabase { database, .. } => {
                    self.schemas.remove(database.name.as_str());
                    self.after = ticket;
                }
                SchemaChange::CreateTable(table) if !again => {
                    if self.known(table).is_none_or(|known| known.columns.is_empty()) {
                        self.put(table, Known::of(&table.table));
                    }
                }
                SchemaChange::AlterTable { before, after } if !again => {
                    if let Some(mut known) = self.take(before) {
                        known.altered(&before.table, &after.table);
                        self.put(after, known);
                    }
                }
                SchemaChange::RenameTable { before, after } if !again => {
                    renamed.extend(self.take(before).map(|known| (after, known)));
                }
                SchemaChange::DropTable(table) if !again => self.put(table, Known::default()),
                SchemaChange::CreateTable(table)
                | SchemaChange::AlterTable { after: table, .. }
                | SchemaChange::DropTable(table)
                | SchemaChange::RecoverTable(table) => self.unsettle(table, ticket),
                SchemaChange::RenameTable { before, after } => {
                    self.unsettle(before, ticket);
                    self.unsettle(after, ticket);
                }
            }
        }
        for (table, known) in renamed {
            self.put(table, known);
        }
    }

    fn unsettle(&mut self, table: &TableRef, ticket: u64) {
        self.take(table);
        self.after = ticket;
    }

    /// How the target's table differs from this version of the source's.
    pub(super) fn differences(&self, table: &TableRef) -> Differences {
        let Some(known) = self.known(table).filter(|known| !known.columns.is_empty()) else {
            return Differences::default();
        };
        let mut differences = Differences::default();
        let mut written = 0;
        for (at, column) in table.table.columns.iter().enumerate().filter(|(_, c)| c.is_writable()) {
            match known.columns.get(&column.name.to_lowercase()) {
                Some(true) => written += 1,
                // Generated there: it cannot be written.
                Some(false) => differences.absent.push(at),
                None if self.partial => differences.absent.push(at),
                // The statement's error names it.
                None => {}
            }
        }
        differences.has_more = known.columns.values().filter(|takes| **takes).count() > written;
        differences
    }
}

/// What the server says of a table now.
async fn ask(connection: &mut Connection, table: &TableRef, partial: bool) -> Result<Known, Error> {
    let failed = bookkeeping("read the target's columns");
    let (schema, name) = (&*table.schema, table.table.name.as_str());
    let sql = format!(
        "SELECT column_name, extra, column_type, CAST(character_maximum_length AS UNSIGNED) \
         FROM information_schema.columns WHERE table_schema = {} AND table_name = {}",
        literal::text(schema),
        literal::text(name)
    );
    let mut known = Known::default();
    let mut types: HashMap<String, Width> = HashMap::new();
    for row in connection.fetch(&sql).await.map_err(&failed)? {
        let text = |at: usize| row.try_get_unchecked::<String, _>(at).map_err(&failed);
        let (column, extra) = (text(0)?.to_lowercase(), text(1)?.to_uppercase());
        let generated = extra.contains("GENERATED") && !extra.contains("DEFAULT_GENERATED");
        let characters: Option<u64> = row.try_get(3).map_err(&failed)?;
        types.insert(column.clone(), Width { column_type: text(2)?.to_lowercase(), characters });
        known.columns.insert(column, !generated);
    }
    if known.columns.is_empty() {
        return Ok(known);
    }
    let (mut lacking, mut narrow) = (Vec::new(), Vec::new());
    for column in table.table.columns.iter().filter(|c| c.is_writable()) {
        match types.get(&column.name.to_lowercase()) {
            None => lacking.push(column.name.as_str()),
            Some(width) if narrower(width, column) => narrow.push(column.name.as_str()),
            Some(_) => {}
        }
    }
    if partial && !lacking.is_empty() {
        tracing::warn!(schema, table = name, columns = ?lacking, "the target lacks columns: their values are left out");
        known.lacked = Some(Instant::now());
    }
    if !narrow.is_empty() {
        tracing::warn!(schema, table = name, columns = ?narrow, "the target's columns hold less than the source's: what does not fit is cut, or refused where sql-mode is strict");
    }
    Ok(known)
}
