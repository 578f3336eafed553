//! What a job did to tables that it carries nothing about: the history before it tells.

use std::sync::Arc;

use binlog_types::{JobId, SchemaVersion, TableId};

use super::{SchemaHistory, Version, Versions};
use crate::meta::{Job, job_type, partition_ids};
use crate::{Table, TableKind, sql};

pub(super) fn needs_history(job: &Job) -> bool {
    use job_type::*;
    job.effective
        && matches!(job.job_type, EXCHANGE_TABLE_PARTITION | RECOVER_SCHEMA | RENAME_TABLES | CREATE_VIEW)
}

impl SchemaHistory {
    /// Works off, in order of version, the jobs up to the version that is complete.
    pub(super) fn derive(&mut self) {
        let ready = self.underived.iter().take_while(|job| job.version <= self.complete).count();
        for job in self.underived.drain(..ready).collect::<Vec<_>>() {
            let tables = match job.job_type {
                job_type::EXCHANGE_TABLE_PARTITION => self.exchanged(&job),
                job_type::RECOVER_SCHEMA => self.recovered(&job),
                job_type::RENAME_TABLES => self.renamed(&job),
                job_type::CREATE_VIEW => self.replaced(&job),
                _ => Vec::new(),
            };
            self.derived.insert(JobId(job.id), tables);
        }
    }

    fn put_derived(
        &mut self,
        id: TableId,
        version: SchemaVersion,
        parent_id: i64,
        table: Option<Table>,
    ) -> TableId {
        let value = table.map(|table| Arc::new(Table { id, version, ..table }));
        let finished_ts = self.finished_ts_of(version);
        self.tables.entry(id).or_default().entry(version).or_insert(Version {
            value,
            parent_id,
            finished_ts,
        });
        id
    }

    /// The stamp of another object of the same version.
    fn finished_ts_of(&self, version: SchemaVersion) -> u64 {
        let tables = self.tables.values().filter_map(|v| v.get(&version)).map(|v| v.finished_ts);
        let databases = self.databases.values().filter_map(|v| v.get(&version)).map(|v| v.finished_ts);
        tables.chain(databases).find(|ts| *ts != 0).unwrap_or(0)
    }

    /// The job carries the partitioned table. The other one now has the id that the exchanged partition had.
    fn exchanged(&mut self, job: &Job) -> Vec<TableId> {
        let partitioned = job.touched.iter().find(|o| !o.dropped).map(|o| TableId(o.id));
        let Some(partitioned) = partitioned else { return Vec::new() };
        let by_partitions = || {
            let plain = self.table_before(TableId(job.table_id), job.version)?;
            let (_, before) = self.table_before(partitioned, job.version)?;
            let now = partition_ids(&self.table_at(partitioned, job.version)?.json);
            let id = partition_ids(&before.json).into_iter().find(|id| !now.contains(id))?;
            Some((TableId(id), plain))
        };
        match by_partitions() {
            Some((id, (parent_id, plain))) => {
                vec![self.put_derived(id, job.version, parent_id, Some((*plain).clone()))]
            }
            // The history begins behind one of the two: the table may have been read as it stood then.
            None => {
                let read = |versions: &Versions<Table>| {
                    versions.get(&job.version).is_some_and(|version| version.value.is_some())
                };
                let others =
                    self.tables.iter().filter(|(id, versions)| **id != partitioned && read(versions));
                others.map(|(id, _)| *id).collect()
            }
        }
    }

    /// The tables that the database had when it was dropped.
    fn recovered(&mut self, job: &Job) -> Vec<TableId> {
        let drops = self.databases.get(&job.schema_id).into_iter().flatten();
        let dropped = drops
            .filter(|(version, v)| **version < job.version && v.value.is_none())
            .map(|(version, _)| *version);
        let Some(dropped) = dropped.max() else { return Vec::new() };
        let tables: Vec<(TableId, Arc<Table>)> = self
            .tables
            .keys()
            .filter_map(|id| Some((*id, self.table_before(*id, dropped)?)))
            .filter(|(_, (parent_id, _))| *parent_id == job.schema_id)
            .map(|(id, (_, table))| (id, table))
            .collect();
        let put = |(id, table): (TableId, Arc<Table>)| {
            self.put_derived(id, job.version, job.schema_id, Some((*table).clone()))
        };
        tables.into_iter().map(put).collect()
    }

    /// The job says the new names, and which databases are involved: one pair a table that the job carries, a table that is renamed
    /// twice comes twice.
    fn renamed(&mut self, job: &Job) -> Vec<TableId> {
        let carried: Vec<TableId> = job.carried.iter().copied().map(TableId).collect();
        let databases = self.rename_databases(job, &carried);
        // Of a table that is renamed twice the last rename counts.
        for (id, database) in carried.iter().zip(databases).rev() {
            let version = self.tables.get_mut(id).and_then(|v| v.get_mut(&job.version));
            if let Some(version) = version.filter(|version| version.parent_id == 0) {
                version.parent_id = database.unwrap_or(job.schema_id);
            }
        }
        Vec::new()
    }

    /// The database that each carried table went to; None: not known.
    fn rename_databases(&self, job: &Job, carried: &[TableId]) -> Vec<Option<i64>> {
        let named = |name: &str| self.database_named(name, job.version);
        if job.involved.len() == 2 * carried.len() {
            return job.involved.chunks(2).map(|pair| named(&pair.last()?.0)).collect();
        }
        // A TiDB that does not say: its statement does, where it names a database. Else it is the session's, the one in which a table
        // was that is named without one.
        let renames = sql::renames(&job.query);
        let in_order = renames.len() == carried.len();
        let session = carried.iter().zip(&renames).enumerate().find_map(|(at, (id, rename))| {
            let first = in_order
                && !carried.iter().take(at).any(|earlier| earlier == id)
                && rename.from_database.is_none();
            first.then(|| self.table_before(*id, job.version).map(|(database, _)| database)).flatten()
        });
        let target = |(at, id): (usize, &TableId)| {
            let table = self.table_at(*id, job.version)?;
            let by_name = || renames.iter().rev().find(|r| r.to.eq_ignore_ascii_case(&table.name));
            let rename = if in_order { renames.get(at) } else { by_name() }?;
            match &rename.to_database {
                Some(name) => named(name),
                None => session,
            }
        };
        carried.iter().enumerate().map(target).collect()
    }

    fn database_named(&self, name: &str, version: SchemaVersion) -> Option<i64> {
        let named = |id: &i64| {
            let database = self.database_before(*id, SchemaVersion(version.0.saturating_add(1)));
            database.is_some_and(|d| d.name.eq_ignore_ascii_case(name))
        };
        self.databases.keys().copied().find(named)
    }

    /// CREATE OR REPLACE VIEW: the view of that name goes, under its own id.
    fn replaced(&mut self, job: &Job) -> Vec<TableId> {
        let Some(view) = self.table_at(TableId(job.table_id), job.version) else { return Vec::new() };
        let old = self.tables.keys().copied().find(|id| {
            let before = self.table_before(*id, job.version);
            *id != view.id
                && before.is_some_and(|(parent_id, t)| {
                    parent_id == job.schema_id
                        && t.kind == TableKind::View
                        && t.name.eq_ignore_ascii_case(&view.name)
                })
        });
        old.map(|id| self.put_derived(id, job.version, job.schema_id, None)).into_iter().collect()
    }
}
