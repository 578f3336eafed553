//! Every version of every schema object, by schema version.

mod derive;
mod steps;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_types::{CommitTs, JobId, SchemaVersion, TableId};
use bytes::Bytes;

use crate::meta::{Job, job_type, parse_database, parse_table};
use crate::{Database, Error, Table};
use steps::Steps;

/// One version of an object.
#[derive(Clone, Debug)]
pub(crate) struct Version<T> {
    /// None: dropped.
    pub(crate) value: Option<Arc<T>>,
    /// Of a table: its database; 0: not known.
    pub(crate) parent_id: i64,
    /// Before or when it became visible; 0: unknown.
    pub(crate) finished_ts: u64,
}

pub(crate) type Versions<T> = BTreeMap<SchemaVersion, Version<T>>;

/// All versions of all objects known so far.
#[derive(Debug, Default)]
pub struct SchemaHistory {
    databases: HashMap<i64, Versions<Database>>,
    tables: HashMap<TableId, Versions<Table>>,
    jobs: HashMap<JobId, Arc<Job>>,
    /// Jobs that cannot be read, and why: told when the stream comes to one.
    unreadable: HashMap<JobId, String>,
    /// Jobs that need the history before them to say what they did, and did not find it yet.
    underived: Vec<Arc<Job>>,
    /// What jobs did to tables that they carry nothing about.
    derived: HashMap<JobId, Vec<TableId>>,
    /// What DDLs that were under way had left of a table's unique indexes.
    steps: Steps,
    complete: SchemaVersion,
}

impl SchemaHistory {
    /// Takes one object; the same twice is fine. A job also brings the objects that it carries.
    ///
    /// # Errors
    /// When the same version of the object is there and says something else, or its JSON is not TiDB's.
    pub fn insert(&mut self, object: SchemaObject) -> Result<(), Error> {
        let version = SchemaVersion(object.schema_version);
        match object.kind() {
            ObjectKind::Database => {
                let value = if object.dropped { None } else { Some(parse_database(&object.json, version)?) };
                let entry = entry(value, &object);
                put(self.databases.entry(object.id).or_default(), version, entry)
                    .map_err(|()| conflict("database", &object))
            }
            ObjectKind::Table => {
                let value = if object.dropped { None } else { Some(parse_table(&object.json, version)?) };
                let entry = entry(value, &object);
                put(self.tables.entry(TableId(object.id)).or_default(), version, entry)
                    .map_err(|()| conflict("table", &object))
            }
            ObjectKind::Job => self.insert_job(&object),
            ObjectKind::Step => self.steps.insert(&object),
            ObjectKind::Unspecified => {
                Err(Error::Schema(format!("schema object {} has no kind that is known", object.id)))
            }
        }
    }

    fn insert_job(&mut self, object: &SchemaObject) -> Result<(), Error> {
        let (job, objects) = match Job::read(&object.json) {
            Ok(parsed) => parsed,
            Err(error) => {
                tracing::warn!(job = object.id, %error, "a DDL job that cannot be read");
                self.unreadable.insert(JobId(object.id), error.to_string());
                return Ok(());
            }
        };
        let known = self.jobs.get(&JobId(job.id));
        if let Some(known) = known {
            return if known.same(&job) { Ok(()) } else { Err(conflict("DDL job", object)) };
        }
        for object in objects {
            self.insert(object)?;
        }
        let job = Arc::new(job);
        self.jobs.insert(JobId(job.id), Arc::clone(&job));
        if derive::needs_history(&job) {
            self.underived.push(job);
            self.underived.sort_by_key(|job| job.version);
        }
        Ok(())
    }

    /// The history is complete up to `version`.
    pub fn complete_to(&mut self, version: SchemaVersion) {
        self.complete = self.complete.max(version);
        self.derive();
    }

    /// The version up to which the history is complete.
    pub fn complete_version(&self) -> SchemaVersion {
        self.complete
    }

    /// The newest version of the table at or below `version`; None: unknown, or dropped.
    pub fn table_at(&self, id: TableId, version: SchemaVersion) -> Option<Arc<Table>> {
        newest(self.tables.get(&id)?, version)?.value.clone()
    }

    /// A finished job, or why it cannot be read; None: not known.
    pub fn job(&self, id: JobId) -> Option<Result<Arc<Job>, &str>> {
        let job = self.jobs.get(&id).map(|job| Ok(Arc::clone(job)));
        job.or_else(|| self.unreadable.get(&id).map(|reason| Err(reason.as_str())))
    }

    /// Tables that some job brings back: RECOVER TABLE, FLASHBACK TABLE and FLASHBACK DATABASE. Each by its id, which stays, with the
    /// version in which it is back.
    pub fn recovered_tables(&self) -> impl Iterator<Item = (TableId, SchemaVersion)> {
        let recovers = |job: &&Arc<Job>| {
            job.effective && matches!(job.job_type, job_type::RECOVER_TABLE | job_type::RECOVER_SCHEMA)
        };
        self.jobs.values().filter(recovers).flat_map(|job| {
            let carried = job.touched.iter();
            let tables = carried.filter(|o| o.kind == ObjectKind::Table && !o.dropped).map(|o| TableId(o.id));
            let derived = self.derived(JobId(job.id)).iter().copied();
            tables.chain(derived).map(|id| (id, job.version)).collect::<Vec<_>>()
        })
    }

    /// Lets go of what no record above version `below` needs: of each object all but the newest version at or below it, objects that
    /// were dropped by then, and jobs. Tables that went with their database stay in their last version, for FLASHBACK DATABASE, which
    /// names none of them.
    pub(crate) fn forget(&mut self, below: SchemaVersion) {
        let databases = &self.databases;
        self.tables.retain(|_, versions| {
            let Some((&newest, version)) = versions.range(..=below).next_back() else { return true };
            if version.value.is_some() {
                *versions = versions.split_off(&newest);
                return true;
            }
            let with_database = databases
                .get(&version.parent_id)
                .and_then(|database| database.get(&newest))
                .is_some_and(|database| database.value.is_none());
            if with_database {
                let last = versions.range(..newest).next_back().map_or(newest, |(last, _)| *last);
                *versions = versions.split_off(&last);
                return true;
            }
            *versions = versions.split_off(&SchemaVersion(newest.0.saturating_add(1)));
            !versions.is_empty()
        });
        for versions in self.databases.values_mut() {
            // Also a dropped one, by its last name: it may be brought back.
            let alive = versions.range(..=below).rev().find(|(_, v)| v.value.is_some()).map(|(at, _)| *at);
            if let Some(alive) = alive {
                *versions = versions.split_off(&alive);
            }
        }
        let tables = &self.tables;
        self.steps.forget(below, |id| tables.contains_key(&id));
        let old = |job: &Job| job.version <= below;
        let gone: Vec<JobId> = self.jobs.iter().filter(|(_, job)| old(job)).map(|(id, _)| *id).collect();
        for id in gone {
            self.jobs.remove(&id);
            self.derived.remove(&id);
        }
    }

    /// The unique indexes of a table that a DDL amid its work has ceased to enforce, by its steps for which `holds` says yes, and the last
    /// of those. None: there is none such.
    pub(crate) fn unenforced(
        &self,
        table: &Table,
        holds: impl Fn(SchemaVersion, u64) -> bool,
    ) -> Option<(SchemaVersion, Vec<i64>)> {
        self.steps.unenforced(table, holds)
    }

    /// Whether any step is known at all.
    pub(crate) fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    /// How many versions of objects and jobs are held.
    pub fn size(&self) -> usize {
        let tables: usize = self.tables.values().map(BTreeMap::len).sum();
        let databases: usize = self.databases.values().map(BTreeMap::len).sum();
        tables + databases + self.jobs.len() + self.steps.len()
    }

    /// As [`SchemaHistory::table_at`]; where the history begins later, the oldest version that it has.
    pub(crate) fn table_near(&self, id: TableId, version: SchemaVersion) -> Option<Arc<Table>> {
        let versions = self.tables.get(&id)?;
        match newest(versions, version) {
            Some(found) => found.value.clone().or_else(|| last_alive(versions, version)),
            None => versions.values().find_map(|v| v.value.clone()),
        }
    }

    /// The newest version below `version`, with its database; None: unknown, or dropped.
    pub(crate) fn table_before(&self, id: TableId, version: SchemaVersion) -> Option<(i64, Arc<Table>)> {
        let found = newest(self.tables.get(&id)?, SchemaVersion(version.0.saturating_sub(1)))?;
        Some((found.parent_id, found.value.clone()?))
    }

    pub(crate) fn database_before(&self, id: i64, version: SchemaVersion) -> Option<Arc<Database>> {
        newest(self.databases.get(&id)?, SchemaVersion(version.0.saturating_sub(1)))?.value.clone()
    }

    /// Exactly that version of the database.
    pub(crate) fn database_version(&self, id: i64, version: SchemaVersion) -> Option<Arc<Database>> {
        self.databases.get(&id)?.get(&version)?.value.clone()
    }

    /// Exactly that version of the table.
    pub(crate) fn table_version(&self, id: TableId, version: SchemaVersion) -> Option<&Version<Table>> {
        self.tables.get(&id)?.get(&version)
    }

    /// The table's state at `version`, if it has one.
    pub(crate) fn table_entry_at(&self, id: TableId, version: SchemaVersion) -> Option<&Version<Table>> {
        newest(self.tables.get(&id)?, version)
    }

    pub(crate) fn databases(&self) -> impl Iterator<Item = (i64, &Versions<Database>)> {
        self.databases.iter().map(|(id, versions)| (*id, versions))
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = (TableId, &Versions<Table>)> {
        self.tables.iter().map(|(id, versions)| (*id, versions))
    }

    /// Tables that a job touched without carrying them.
    pub(crate) fn derived(&self, job: JobId) -> &[TableId] {
        self.derived.get(&job).map_or(&[], Vec::as_slice)
    }
}

/// What two objects share if they are the same version of the same. Steps of one version may differ, for they are read while a DDL is at
/// work, and each counts.
pub fn object_key(object: &SchemaObject) -> (i64, i32, i64, Bytes) {
    let is_step = object.kind == ObjectKind::Step as i32;
    let json = if is_step { object.json.clone() } else { Bytes::new() };
    (object.schema_version, object.kind, object.id, json)
}

/// Whether two objects of one version say the same of it: everything that is read is equal. What a job carries and what is read from
/// TiKV may differ in stamps and counters, and a job may not know the database. Of two steps either will do.
pub fn same_object(a: &SchemaObject, b: &SchemaObject) -> bool {
    let of = |o: &SchemaObject| (o.kind, o.id, o.schema_version, o.dropped);
    if of(a) != of(b) || (a.parent_id != b.parent_id && a.parent_id != 0 && b.parent_id != 0) {
        return false;
    }
    if a.dropped || a.json == b.json {
        return true;
    }
    let version = SchemaVersion(a.schema_version);
    match a.kind() {
        ObjectKind::Table => match (parse_table(&a.json, version), parse_table(&b.json, version)) {
            (Ok(a), Ok(b)) => a.same(&b),
            _ => false,
        },
        ObjectKind::Database => match (parse_database(&a.json, version), parse_database(&b.json, version)) {
            (Ok(a), Ok(b)) => a.same(&b),
            _ => false,
        },
        ObjectKind::Job => match (Job::parse(&a.json), Job::parse(&b.json)) {
            (Ok(a), Ok(b)) => a.same(&b),
            _ => false,
        },
        ObjectKind::Step => true,
        ObjectKind::Unspecified => false,
    }
}

/// Whether an object was made at or before schema version `version`, or at or before `ts` (0: no time is given): a reader that begins
/// there needs it only as the state that it led to. Where neither the object's version nor its stamp can tell, it is not.
pub fn made_by(object: &SchemaObject, version: SchemaVersion, ts: CommitTs) -> bool {
    // A rolled-back job has no version, so that only its time says where it lies; of other objects version 0 is the beginning.
    let versioned = object.schema_version > 0 || object.kind != ObjectKind::Job as i32;
    let begin = object.schema_version == 0 && ts > CommitTs::ZERO;
    (versioned && (object.schema_version <= version.0 || begin))
        || (object.finished_ts != 0 && object.finished_ts <= ts.raw())
}

fn newest<T>(versions: &Versions<T>, version: SchemaVersion) -> Option<&Version<T>> {
    versions.range(..=version).next_back().map(|(_, v)| v)
}

fn last_alive<T>(versions: &Versions<T>, version: SchemaVersion) -> Option<Arc<T>> {
    versions.range(..=version).rev().find_map(|(_, v)| v.value.clone())
}

fn entry<T>(value: Option<T>, object: &SchemaObject) -> Version<T> {
    Version { value: value.map(Arc::new), parent_id: object.parent_id, finished_ts: object.finished_ts }
}

fn conflict(kind: &'static str, object: &SchemaObject) -> Error {
    Error::Conflict { kind, id: object.id, version: object.schema_version }
}

/// What two sources must agree on: everything that is read. JSON has more, which may differ (stamps, counters).
trait SameContent {
    fn same(&self, other: &Self) -> bool;
}

impl SameContent for Database {
    fn same(&self, other: &Self) -> bool {
        self == other
    }
}

impl SameContent for Job {
    fn same(&self, other: &Self) -> bool {
        (self.job_type, self.version, self.effective) == (other.job_type, other.version, other.effective)
    }
}

impl SameContent for Table {
    fn same(&self, other: &Self) -> bool {
        self.json == other.json || *self == Table { json: self.json.clone(), ..other.clone() }
    }
}

/// Takes a version. What a snapshot shows (version 0) depends on when it was read: of two, the one that was written first is kept, whatever the
/// order in which they come. What changed between the two has versions of its own.
fn put<T: SameContent + std::fmt::Debug>(
    versions: &mut Versions<T>,
    version: SchemaVersion,
    new: Version<T>,
) -> Result<(), ()> {
    let Some(known) = versions.get_mut(&version) else {
        versions.insert(version, new);
        return Ok(());
    };
    let same = match (&known.value, &new.value) {
        (Some(a), Some(b)) => a.same(b),
        (None, None) => true,
        _ => false,
    };
    let one_parent = known.parent_id == new.parent_id || known.parent_id == 0 || new.parent_id == 0;
    if !same || !one_parent {
        if version != SchemaVersion(0) {
            return Err(());
        }
        let order = |v: &Version<T>| (v.finished_ts, format!("{:?}", v.value), v.parent_id);
        if order(&new) < order(known) {
            *known = new;
        }
        return Ok(());
    }
    if known.parent_id == 0 {
        known.parent_id = new.parent_id;
    }
    // The earlier stamp is the closer one: a job is filed away after its version is there.
    if known.finished_ts == 0 || (new.finished_ts != 0 && new.finished_ts < known.finished_ts) {
        known.finished_ts = new.finished_ts;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
