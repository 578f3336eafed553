//! The schema at one position of the stream.

use std::collections::HashMap;
use std::sync::Arc;

use binlog_types::{CommitTs, SchemaVersion, TableId};

use crate::filter::SYSTEM_SCHEMAS;
use crate::history::Versions;
use crate::meta::MAX_GLOBAL_ID;
use crate::{Database, SchemaHistory, Table, TableRef};

/// Where rows of an id go that stands for no table any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// Nowhere: the table was dropped or truncated.
    Dropped,
    /// To the table's new id.
    Renumbered(TableId),
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) version: SchemaVersion,
    databases: HashMap<i64, (Arc<Database>, Arc<str>)>,
    tables: HashMap<TableId, (i64, Arc<Table>)>,
    gone: HashMap<TableId, Gone>,
    /// Tables with unique indexes that were enforced no more where the state begins, as of these steps. Whether that was told is not known.
    untold: HashMap<TableId, SchemaVersion>,
}

impl State {
    pub(super) fn at_version(history: &SchemaHistory, version: SchemaVersion) -> Self {
        let mut state = Self::collect(history, |at, _| at <= version);
        state.version = version;
        state
    }

    /// At a time, and at `seen` at least.
    pub(super) fn at_ts(history: &SchemaHistory, ts: CommitTs, seen: SchemaVersion) -> Self {
        let mut state = Self::collect(history, |at, finished_ts| at <= seen || finished_ts <= ts.raw());
        state.version = state.version.max(seen);
        state
    }

    fn collect(history: &SchemaHistory, holds: impl Fn(SchemaVersion, u64) -> bool) -> Self {
        let mut state = State::default();
        for (_, versions) in history.databases() {
            match newest(versions, &holds) {
                Some((at, Some(database), _)) => {
                    state.version = state.version.max(at);
                    state.put_database(database);
                }
                Some((at, None, _)) => state.version = state.version.max(at),
                None => {}
            }
        }
        // TiDB makes its first database without a job.
        if !history.databases().any(|(id, _)| id == 1) {
            state.put_database(Arc::new(Database { id: 1, name: "mysql".into(), ..Database::default() }));
        }
        for (id, versions) in history.tables() {
            match newest(versions, &holds) {
                Some((at, Some(table), parent_id)) => {
                    state.version = state.version.max(at);
                    let dropped = history.databases().any(|(db, _)| db == parent_id)
                        && !state.databases.contains_key(&parent_id);
                    if dropped {
                        state.gone.insert(id, Gone::Dropped);
                    } else {
                        state.put_table(parent_id, table);
                    }
                }
                Some((at, None, _)) => {
                    state.version = state.version.max(at);
                    state.gone.insert(id, Gone::Dropped);
                }
                None => {}
            }
        }
        for (id, (_, table)) in &state.tables {
            if let Some((step, _)) = history.unenforced(table, &holds) {
                state.untold.insert(*id, step);
            }
        }
        state
    }

    pub(super) fn put_database(&mut self, database: Arc<Database>) {
        let name: Arc<str> = database.name.as_str().into();
        self.databases.insert(database.id, (database, name));
    }

    pub(super) fn database(&self, id: i64) -> Option<Arc<Database>> {
        self.databases.get(&id).map(|(database, _)| Arc::clone(database))
    }

    pub(super) fn drop_database(&mut self, id: i64) {
        self.databases.remove(&id);
    }

    pub(super) fn put_table(&mut self, parent_id: i64, table: Arc<Table>) {
        self.gone.remove(&table.id);
        self.tables.insert(table.id, (parent_id, table));
    }

    /// The last step of a DDL on the table that had been made where the state begins, and may not have been told.
    pub(super) fn untold(&self, id: TableId) -> Option<SchemaVersion> {
        self.untold.get(&id).copied()
    }

    /// The table is without these indexes as of a step of a DDL.
    pub(super) fn take_indexes(
        &mut self,
        id: TableId,
        step: SchemaVersion,
        indexes: &[i64],
    ) -> Option<TableRef> {
        self.untold.remove(&id);
        self.version = self.version.max(step);
        let (_, table) = self.tables.get_mut(&id)?;
        *table = Arc::new(table.without_indexes(indexes, step));
        self.table(id)
    }

    pub(super) fn drop_table(&mut self, id: TableId, gone: Gone) {
        self.tables.remove(&id);
        self.gone.insert(id, gone);
    }

    pub(super) fn gone(&self, id: TableId) -> Option<Gone> {
        self.gone.get(&id).copied()
    }

    pub(super) fn table(&self, id: TableId) -> Option<TableRef> {
        let (parent_id, table) = self.tables.get(&id)?;
        Some(self.reference(*parent_id, Arc::clone(table)))
    }

    pub(super) fn tables_of(&self, database: i64) -> Vec<TableRef> {
        let tables = self.tables.values().filter(|(parent_id, _)| *parent_id == database);
        let mut tables: Vec<TableRef> =
            tables.map(|(parent_id, t)| self.reference(*parent_id, Arc::clone(t))).collect();
        tables.sort_by(|a, b| a.table.name.cmp(&b.table.name));
        tables
    }

    pub(super) fn reference(&self, parent_id: i64, table: Arc<Table>) -> TableRef {
        let schema = self.databases.get(&parent_id).map(|(_, name)| Arc::clone(name));
        TableRef { schema: schema.unwrap_or_else(|| "".into()), table }
    }

    pub(super) fn user_tables(&self) -> Vec<TableRef> {
        let tables =
            self.tables.values().map(|(parent_id, table)| self.reference(*parent_id, Arc::clone(table)));
        let mut tables: Vec<TableRef> = tables
            .filter(|t| {
                t.table.id.0 <= MAX_GLOBAL_ID
                    && !SYSTEM_SCHEMAS.iter().any(|s| t.schema.eq_ignore_ascii_case(s))
            })
            .collect();
        tables.sort_by(|a, b| (&a.schema, &a.table.name).cmp(&(&b.schema, &b.table.name)));
        tables
    }
}

type Found<T> = (SchemaVersion, Option<Arc<T>>, i64);

fn newest<T>(versions: &Versions<T>, holds: &impl Fn(SchemaVersion, u64) -> bool) -> Option<Found<T>> {
    let mut holding = versions.iter().rev().filter(|(at, v)| holds(**at, v.finished_ts));
    holding.next().map(|(at, v)| (*at, v.value.clone(), v.parent_id))
}
