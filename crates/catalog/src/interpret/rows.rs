//! Rows of one record.

use std::collections::HashMap;
use std::sync::Arc;

use binlog_proto::binlog::{MutationType, PrewriteValue, TableMutation};
use binlog_types::{CommitTs, SchemaVersion, TableId};
use bytes::Bytes;

use super::Interpreter;
use super::state::Gone;
use crate::meta::MAX_GLOBAL_ID;
use crate::row::Plan;
use crate::{ChangeKind, Error, RowChange, Table, TableRef};

/// Plans of tables, by the id that rows carry. A few versions of a table are in use at a time.
#[derive(Debug, Default)]
pub(super) struct Plans(HashMap<TableId, Vec<Arc<Plan>>>);

const PLANS_PER_TABLE: usize = 8;

impl Plans {
    /// Keeps the plans of these tables.
    pub(super) fn retain(&mut self, keep: impl Fn(TableId) -> bool) {
        self.0.retain(|id, _| keep(*id));
    }

    fn get(&mut self, id: TableId, source: Arc<Table>, target: &Arc<Table>) -> Result<Arc<Plan>, Error> {
        let plans = self.0.entry(id).or_default();
        let known = plans.iter().find(|p| Arc::ptr_eq(&p.source, &source) && Arc::ptr_eq(&p.target, target));
        if let Some(plan) = known {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(Plan::new(source, Arc::clone(target))?);
        if plans.len() >= PLANS_PER_TABLE {
            plans.remove(0);
        }
        plans.push(Arc::clone(&plan));
        Ok(plan)
    }
}

impl Interpreter {
    pub(super) fn rows(
        &mut self,
        commit_ts: CommitTs,
        value: &PrewriteValue,
    ) -> Result<Vec<RowChange>, Error> {
        let version = SchemaVersion(value.schema_version);
        let mut changes = Vec::with_capacity(value.mutations.iter().map(|m| m.sequence.len()).sum());
        for mutation in &value.mutations {
            let id = TableId(mutation.table_id);
            let rows = mutation.sequence.len() as u64;
            let Some((table, plan)) = self.plan(commit_ts, id, version, rows)? else { continue };
            decode(&plan, mutation, |kind| changes.push(RowChange { table: table.clone(), kind }))
                .map_err(|(what, source)| in_table(commit_ts, id, &table, what, source))?;
        }
        Ok(changes)
    }

    /// The table that rows of `id` belong to, and how they are read; None: all `rows` of them are left out, or not wanted.
    pub(super) fn plan(
        &mut self,
        commit_ts: CommitTs,
        id: TableId,
        version: SchemaVersion,
        rows: u64,
    ) -> Result<Option<(TableRef, Arc<Plan>)>, Error> {
        let Some(table) = self.target(commit_ts, id, version)? else {
            if id.0 <= MAX_GLOBAL_ID {
                self.skipped_rows += rows;
                tracing::warn!(table_id = %id, %commit_ts, rows, "left out rows of a table that is gone");
            }
            return Ok(None);
        };
        if !self.wanted.holds(&table) {
            return Ok(None);
        }
        let source = self.history.table_near(id, version).unwrap_or_else(|| Arc::clone(&table.table));
        let plan = self.plans.get(id, source, &table.table);
        let plan = plan.map_err(|e| in_table(commit_ts, id, &table, "schema".into(), e))?;
        Ok(Some((table, plan)))
    }

    /// The table that rows of `id` belong to; None: they are to be left out.
    pub(super) fn target(
        &mut self,
        commit_ts: CommitTs,
        id: TableId,
        version: SchemaVersion,
    ) -> Result<Option<TableRef>, Error> {
        let Some(state) = &mut self.state else { return Ok(None) };
        if let Some(table) = state.table(id) {
            return Ok(Some(table));
        }
        match state.gone(id) {
            Some(Gone::Renumbered(new)) => return Ok(state.table(new)),
            Some(Gone::Dropped) => return Ok(None),
            None if id.0 > MAX_GLOBAL_ID => return Ok(None),
            None => {}
        }
        // A table that came without a DDL in the stream: its history vouches for it.
        let entry = self.history.table_entry_at(id, version);
        let Some((parent_id, table)) = entry.and_then(|v| Some((v.parent_id, v.value.clone()?))) else {
            return Err(Error::UnknownTable { commit_ts, table: id, version });
        };
        tracing::info!(table_id = %id, name = table.name, %version, %commit_ts, "taking up a table that no DDL of the stream made");
        state.put_table(parent_id, table);
        Ok(state.table(id))
    }
}

fn in_table(commit_ts: CommitTs, id: TableId, table: &TableRef, what: String, source: Error) -> Error {
    let table = format!("{id} ({}.{})", table.schema, table.table.name);
    Error::Record { commit_ts, table, what, source: Box::new(source) }
}

/// Walks the rows in the order in which they were written.
fn decode(
    plan: &Plan,
    mutation: &TableMutation,
    mut each: impl FnMut(ChangeKind),
) -> Result<(), (String, Error)> {
    let mut inserted = mutation.inserted_rows.iter();
    let mut updated = mutation.updated_rows.iter();
    let mut deleted = mutation.deleted_rows.iter();
    for (at, kind) in mutation.sequence.iter().enumerate() {
        let wrap = |e: Error| (format!("change {at}"), e);
        let missing =
            |what: &str| wrap(Error::row(format!("the sequence asks for more {what} rows than there are")));
        let next = |rows: &mut std::slice::Iter<'_, Bytes>, what: &str| {
            rows.next().cloned().ok_or_else(|| missing(what))
        };
        each(match MutationType::try_from(*kind) {
            Ok(MutationType::Insert) => plan.insert(&next(&mut inserted, "inserted")?).map_err(wrap)?,
            Ok(MutationType::Update) => plan.update(&next(&mut updated, "updated")?).map_err(wrap)?,
            Ok(MutationType::DeleteRow) => plan.delete(&next(&mut deleted, "deleted")?).map_err(wrap)?,
            Ok(MutationType::DeleteId | MutationType::DeletePk) | Err(_) => {
                return Err(wrap(Error::row(format!(
                    "changes of kind {kind} are no longer written by any TiDB"
                ))));
            }
        });
    }
    let left = inserted.len()
        + updated.len()
        + deleted.len()
        + mutation.deleted_ids.len()
        + mutation.deleted_pks.len();
    if left > 0 {
        return Err((
            format!("{} changes", mutation.sequence.len()),
            Error::row(format!("{left} rows are in no sequence")),
        ));
    }
    Ok(())
}
