//! Unique indexes that TiDB has ceased to enforce while the DDL that takes them away is under way.
//!
//! From then on rows may be equal in them, and come before the DDL's binlog. So the first row of the table that was written under such a
//! version is preceded by a change that takes the index away, and the DDL itself later changes only what is left. TiDB does not turn back
//! once it has begun to take an index away, so that it is never too early for it.

use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs, TableId};

use super::Interpreter;
use crate::meta::job_type;
use crate::{Ddl, Error, SchemaChange, TableRef};

impl Interpreter {
    /// What is to be told before rows of these tables that were written under `version`; None: nothing.
    pub(super) fn ahead_of_rows(
        &mut self,
        start_ts: StartTs,
        commit_ts: CommitTs,
        version: SchemaVersion,
        tables: impl IntoIterator<Item = TableId>,
    ) -> Result<Option<Ddl>, Error> {
        if !self.history.has_steps() {
            return Ok(None);
        }
        let mut changes = Vec::new();
        for id in tables {
            let Some(table) = self.target(commit_ts, id, version)? else { continue };
            if !self.wanted.holds(&table) {
                continue;
            }
            let untold = self.state.as_ref().and_then(|state| state.untold(table.table.id));
            let through = untold.map_or(version, |step| step.max(version));
            changes.extend(self.take(table, through));
        }
        Ok(self.ahead(start_ts, commit_ts, changes))
    }

    /// Likewise before a DDL on these tables: what a sink may have been told before this start.
    pub(super) fn ahead_of_ddl(
        &mut self,
        start_ts: StartTs,
        commit_ts: CommitTs,
        tables: impl IntoIterator<Item = TableId>,
    ) -> Option<Ddl> {
        let mut changes = Vec::new();
        for id in tables {
            let Some(state) = &self.state else { continue };
            let (Some(step), Some(table)) = (state.untold(id), state.table(id)) else { continue };
            if self.wanted.holds(&table) {
                changes.extend(self.take(table, step));
            }
        }
        self.ahead(start_ts, commit_ts, changes)
    }

    /// Takes away what is not enforced as of version `through`.
    fn take(&mut self, before: TableRef, through: SchemaVersion) -> Option<SchemaChange> {
        let (step, gone) = self.history.unenforced(&before.table, |version, _| version <= through)?;
        let after = self.state.as_mut()?.take_indexes(before.table.id, step, &gone)?;
        Some(SchemaChange::AlterTable { before, after })
    }

    fn ahead(&self, start_ts: StartTs, commit_ts: CommitTs, changes: Vec<SchemaChange>) -> Option<Ddl> {
        let statements: Vec<String> = changes.iter().filter_map(statement).collect();
        let schema = changes.iter().find_map(|change| match change {
            SchemaChange::AlterTable { after, .. } => Some(after.schema.to_string()),
            _ => None,
        })?;
        let query = statements.join("; ");
        tracing::info!(%commit_ts, query, "a unique index goes before the DDL's binlog: it is not enforced any more");
        Some(Ddl {
            start_ts: StartTs::new(start_ts.raw().saturating_sub(1)),
            commit_ts,
            job_id: JobId(0),
            job_type: job_type::DROP_INDEX,
            schema,
            schema_version: self.schema_version(),
            query,
            typed: String::new(),
            zone: None,
            changes,
            ahead: true,
        })
    }
}

/// What it does, as a statement.
fn statement(change: &SchemaChange) -> Option<String> {
    let SchemaChange::AlterTable { before, after } = change else { return None };
    let name = |name: &str| format!("`{}`", name.replace('`', "``"));
    let gone =
        before.table.indexes.iter().filter(|old| !after.table.indexes.iter().any(|new| new.id == old.id));
    let clauses: Vec<String> = gone
        .map(|index| match index.primary {
            true => "DROP PRIMARY KEY".to_owned(),
            false => format!("DROP INDEX {}", name(&index.name)),
        })
        .collect();
    Some(format!("ALTER TABLE {}.{} {}", name(&after.schema), name(&after.table.name), clauses.join(", ")))
}
