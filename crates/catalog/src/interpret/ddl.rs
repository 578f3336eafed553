//! What a DDL job does to the schema of the stream.
//!
//! ARCHITECTURE.md has the table of all kinds of jobs; [`invisible`], [`renumber`] and [`of_tables`] are where kinds are told apart.
//!
//! Not here: jobs that were rolled back, SETVAL (which has no job), and the early binlog of DROP COLUMN; [`super`] skips them.

use std::sync::Arc;

use binlog_proto::store::ObjectKind;
use binlog_types::{JobId, TableId};

use super::state::{Gone, State};
use crate::history::Version;
use crate::meta::{Job, job_type};
use crate::{SchemaChange, SchemaHistory, Table, TableRef};

/// Jobs that change nothing that a sink holds.
fn invisible(job_type: u8) -> bool {
    use job_type::*;
    matches!(
        job_type,
        LOCK_TABLE
            | UNLOCK_TABLE
            | UPDATE_TIFLASH_REPLICA
            | ALTER_TABLE_ATTRIBUTES
            | ALTER_TABLE_PARTITION_ATTRIBUTES
            | CREATE_PLACEMENT_POLICY
            | ALTER_PLACEMENT_POLICY
            | DROP_PLACEMENT_POLICY
            | ALTER_TABLE_PARTITION_PLACEMENT
            | MODIFY_SCHEMA_DEFAULT_PLACEMENT
            | ALTER_TABLE_PLACEMENT
            | ALTER_CACHE_TABLE
            | ALTER_TABLE_STATS_OPTIONS
            | ALTER_NO_CACHE_TABLE
            | CREATE_RESOURCE_GROUP
            | ALTER_RESOURCE_GROUP
            | DROP_RESOURCE_GROUP
    )
}

/// A table before and after the job, each under the names of its time.
struct Effect {
    id: TableId,
    before: Option<TableRef>,
    after: Option<TableRef>,
}

/// Moves the state to the job's version. An error says what is missing; the state is as before.
pub(super) fn apply(
    state: &mut State,
    history: &SchemaHistory,
    job: &Job,
    wanted: impl FnMut(&TableRef) -> bool,
) -> Result<Vec<SchemaChange>, String> {
    let mut changes = Vec::new();
    let touched = &job.touched;
    let before_of = |state: &State, id| before(state, history, job, id);
    let carried = touched.iter().filter(|o| o.kind == ObjectKind::Table).map(|o| TableId(o.id));
    let derived = history.derived(JobId(job.id)).iter().copied();
    let ids: Vec<TableId> = carried.chain(derived).collect();
    if job.job_type == job_type::EXCHANGE_TABLE_PARTITION {
        check_exchange(state, history, job, &ids, wanted)?;
    }
    // Names before the job are taken before anything moves: a job may swap them.
    let befores: Vec<(TableId, Option<TableRef>)> =
        ids.iter().map(|id| (*id, before_of(state, *id))).collect();

    for object in touched.iter().filter(|o| o.kind == ObjectKind::Database) {
        let before = match state.database(object.id) {
            Some(database) if database.version < job.version => Some(database),
            _ => history.database_before(object.id, job.version),
        };
        if object.dropped {
            let tables = state.tables_of(object.id);
            for table in &tables {
                state.drop_table(table.table.id, Gone::Dropped);
            }
            state.drop_database(object.id);
            changes.extend(before.map(|database| SchemaChange::DropDatabase { database, tables }));
            continue;
        }
        let Some(after) = history.database_version(object.id, job.version) else { continue };
        state.put_database(Arc::clone(&after));
        match before {
            None => changes.push(SchemaChange::CreateDatabase(after)),
            Some(b) if (&b.charset, &b.collate, &b.name) != (&after.charset, &after.collate, &after.name) => {
                changes.push(SchemaChange::AlterDatabase { before: Some(b), after });
            }
            Some(_) => {}
        }
    }
    let mut effects = Vec::new();
    for (id, before) in befores {
        let Some(Version { value, parent_id, .. }) = history.table_version(id, job.version) else { continue };
        let after = value.clone().map(|table| {
            state.put_table(*parent_id, Arc::clone(&table));
            state.reference(*parent_id, table)
        });
        if after.is_none() {
            state.drop_table(id, Gone::Dropped);
        }
        effects.push(Effect { id, before, after });
    }
    state.version = state.version.max(job.version);
    if job.job_type != job_type::DROP_SCHEMA {
        renumber(state, job, &effects);
        changes.extend(of_tables(job, effects));
    }
    if invisible(job.job_type) {
        changes.clear();
    }
    Ok(changes)
}

/// An exchange moves rows between two tables without a binlog: both must be known, or what a sink holds would be wrong without a word.
fn check_exchange(
    state: &State,
    history: &SchemaHistory,
    job: &Job,
    ids: &[TableId],
    mut wanted: impl FnMut(&TableRef) -> bool,
) -> Result<(), String> {
    let after = |id: &TableId| {
        let version = history.table_version(*id, job.version)?;
        Some(state.reference(version.parent_id, version.value.clone()?))
    };
    let tables: Vec<TableRef> = ids.iter().filter_map(after).collect();
    if tables.len() >= 2 || tables.iter().all(|table| !wanted(table)) {
        return Ok(());
    }
    let named =
        tables.first().map_or_else(|| "a table".to_owned(), |t| format!("{}.{}", t.schema, t.table.name));
    Err(format!(
        "job {} exchanged a partition of {named} for a table of which the schema history does not know anything ({}): copy both tables anew \
         and begin behind this record, or leave them out",
        job.id, job.query
    ))
}

/// Jobs before which what they carry was not there. What a snapshot shows of it may be the job at work.
fn creates(job_type: u8) -> bool {
    use job_type::*;
    matches!(job_type, CREATE_TABLE | CREATE_TABLES | CREATE_VIEW | CREATE_SEQUENCE)
}

/// The table before the job: as the state has it, unless the state was made from a time at which the job was already visible.
fn before(state: &State, history: &SchemaHistory, job: &Job, id: TableId) -> Option<TableRef> {
    let carried = || job.touched.iter().any(|o| o.kind == ObjectKind::Table && o.id == id.0 && !o.dropped);
    if creates(job.job_type) && carried() {
        return None;
    }
    match state.table(id) {
        Some(table) if table.table.version < job.version => Some(table),
        _ => {
            history.table_before(id, job.version).map(|(parent_id, table)| state.reference(parent_id, table))
        }
    }
}

/// Rows written under the old id and committed after the job belong to the table under its new id, unless they are truncated.
fn renumber(state: &mut State, job: &Job, effects: &[Effect]) {
    use job_type::*;
    if !matches!(job.job_type, ALTER_TABLE_PARTITIONING | REMOVE_PARTITIONING | EXCHANGE_TABLE_PARTITION) {
        return;
    }
    // An exchanged table's old id is now a partition of the table that the job carries.
    if let Some(new) = effects.iter().find(|e| e.after.is_some()) {
        let old = TableId(job.table_id);
        if old != new.id {
            state.drop_table(old, Gone::Renumbered(new.id));
        }
    }
}

fn of_tables(job: &Job, mut effects: Vec<Effect>) -> Vec<SchemaChange> {
    use job_type::*;
    let old_id = TableId(job.table_id);
    match job.job_type {
        TRUNCATE_TABLE | ALTER_TABLE_PARTITIONING | REMOVE_PARTITIONING => {
            let before = effects.iter_mut().find(|e| e.id == old_id).and_then(|e| e.before.take());
            let after = effects.iter_mut().find_map(|e| e.after.take());
            return match (before, after) {
                (Some(before), Some(after)) if job.job_type == TRUNCATE_TABLE => {
                    vec![SchemaChange::TruncateTable { before, after }]
                }
                (Some(before), Some(after)) => vec![SchemaChange::AlterTable { before, after }],
                (None, Some(after)) => vec![SchemaChange::CreateTable(after)],
                (Some(before), None) => vec![SchemaChange::DropTable(before)],
                (None, None) => Vec::new(),
            };
        }
        EXCHANGE_TABLE_PARTITION => {
            let mut tables = effects.iter_mut().filter_map(|e| e.after.take());
            if let (Some(partitioned), Some(plain)) = (tables.next(), tables.next()) {
                return vec![SchemaChange::ExchangePartition { partitioned, plain }];
            }
            return Vec::new();
        }
        // CREATE OR REPLACE VIEW: the old view goes under its own id.
        CREATE_VIEW if effects.len() == 2 => {
            let before = effects.iter_mut().find(|e| e.after.is_none()).and_then(|e| e.before.take());
            let after = effects.iter_mut().find_map(|e| e.after.take());
            if let (Some(before), Some(after)) = (before, after) {
                return vec![SchemaChange::AlterTable { before, after }];
            }
        }
        _ => {}
    }
    effects.into_iter().filter_map(|effect| of_table(job, effect)).collect()
}

fn of_table(job: &Job, effect: Effect) -> Option<SchemaChange> {
    use job_type::*;
    Some(match (effect.before, effect.after) {
        (None, Some(after)) if matches!(job.job_type, RECOVER_TABLE | RECOVER_SCHEMA) => {
            SchemaChange::RecoverTable(after)
        }
        (None, Some(after)) => SchemaChange::CreateTable(after),
        (Some(before), None) => SchemaChange::DropTable(before),
        (Some(before), Some(after)) => match job.job_type {
            RECOVER_TABLE | RECOVER_SCHEMA => SchemaChange::RecoverTable(after),
            DROP_TABLE_PARTITION | TRUNCATE_TABLE_PARTITION => SchemaChange::DropPartitions { before, after },
            _ if before.schema != after.schema || before.table.name != after.table.name => {
                SchemaChange::RenameTable { before, after }
            }
            _ if same(&before.table, &after.table) => return None,
            _ => SchemaChange::AlterTable { before, after },
        },
        (None, None) => return None,
    })
}

/// Whether two versions differ in nothing but their stamp.
fn same(before: &Table, after: &Table) -> bool {
    before.json == after.json
}

#[cfg(test)]
mod tests {
    use binlog_proto::Body;
    use binlog_types::SchemaVersion;

    use super::super::tests::{event, table};
    use crate::meta::{JobSpec, job_json, job_type, objects_of_job};
    use crate::{Event, Interpreter, SchemaChange, Start, Table};

    #[test]
    fn a_tiflash_replica_is_told_of() {
        let mut interpreter = Interpreter::new(Start::Version(SchemaVersion(1)));
        let job = |id, job_type, table: &Table| {
            let spec = JobSpec {
                id,
                job_type,
                schema_id: 2,
                schema_name: "d",
                table_id: 10,
                query: "…",
                schema_version: table.version.0,
                finished_ts: 5,
                table: Some(table),
                ..JobSpec::default()
            };
            objects_of_job(&job_json(&spec)).unwrap()
        };
        // What the job changed of the table is in a part of it that only TiDB reads.
        let changed = Table { comment: "a replica".into(), ..table(10, "t", 3) };
        let mut objects = job(100, job_type::CREATE_TABLE, &table(10, "t", 2));
        objects.extend(job(101, job_type::SET_TIFLASH_REPLICA, &changed));
        interpreter.extend(objects, SchemaVersion(3)).unwrap();
        for (ts, job) in [(20, 100), (30, 101)] {
            let body = Body {
                ddl_query: Some("alter …".into()),
                ddl_job_id: job,
                ddl_schema_state: 5,
                ..Body::default()
            };
            let Event::Ddl(ddl) = event(&mut interpreter, ts, &body) else { panic!("no DDL") };
            let altered = matches!(&ddl.changes[..], [SchemaChange::AlterTable { .. }]);
            assert_eq!(altered, job == 101, "{:?}", ddl.changes);
        }
    }
}
