//! From stored records to events, sans I/O: decode by the version written under, project onto the table as it stands.

mod ahead;
mod cursor;
mod ddl;
mod large;
mod rows;
mod state;
mod wanted;

use binlog_proto::binlog::PrewriteValue;
use binlog_proto::{Body, store::SchemaObject};
use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs, TableId};
use prost::Message as _;

use crate::meta::{Job, job_type};
use crate::{Ddl, Error, Event, Part, SchemaHistory, TableRef, Transaction, sql};
pub use large::{Blob, Large, LargeStep};
use rows::Plans;
use state::{Gone, State};
use wanted::Wanted;

/// Where the stream is taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The schema as of the DDLs up to this version (a checkpoint's `schema-version`).
    Version(SchemaVersion),
    /// The schema as it stood at this commit_ts (objects whose `finished_ts` is not later).
    At(CommitTs),
}

/// What becomes of a DDL of a kind that this program does not know: one of a TiDB that is newer than it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownDdl {
    /// The schema follows, and what the job carries is applied as any other change of objects.
    #[default]
    Store,
    /// The schema follows, and nothing is applied.
    Skip,
    /// An error that names it.
    Stop,
}

impl std::str::FromStr for UnknownDdl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "store" => Ok(UnknownDdl::Store),
            "skip" => Ok(UnknownDdl::Skip),
            "stop" => Ok(UnknownDdl::Stop),
            other => Err(format!("{other:?} is none of store, skip and stop")),
        }
    }
}

/// Why a record has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// start_ts = commit_ts.
    Fake,
    /// Rolled back or cancelled job, SETVAL, system table …
    NoEffect(String),
}

/// What a record turned out to be.
#[derive(Debug)]
pub enum Step {
    /// Something to apply.
    Event(Event),
    /// Something to apply before the record ([`Ddl::ahead`]): call again with the same record.
    Ahead(Ddl),
    /// Nothing to apply.
    Skipped(SkipReason),
    /// Feed the history up to this version with [`Interpreter::extend`] and call again with the same record.
    NeedVersion(SchemaVersion),
    /// Likewise for this DDL job.
    NeedJob(JobId),
}

impl Step {
    fn no_effect(why: impl Into<String>) -> Self {
        Step::Skipped(SkipReason::NoEffect(why.into()))
    }
}

/// What a DDL's binlog says that TiDB writes before the job is done, when it stops writing a dropped column.
const DELETE_ONLY: i32 = 1;

/// Versions that are kept behind the stream: a transaction may have begun that many DDLs before it committed.
const HISTORY_BEHIND: i64 = 1024;
/// DDLs between two looks at what may go.
const FORGET_EVERY: usize = 256;

/// Keeps the schema of the stream's current position.
#[derive(Debug)]
pub struct Interpreter {
    start: Start,
    history: SchemaHistory,
    /// None: not made yet.
    state: Option<State>,
    plans: Plans,
    /// A DDL was applied: the state is ahead of the start.
    moved: bool,
    /// Up to this version the stream itself has shown that it was there.
    seen: SchemaVersion,
    skipped_rows: u64,
    unknown: UnknownDdl,
    wanted: Wanted,
    /// DDLs since the history was last cut.
    since_forgotten: usize,
}

impl Interpreter {
    /// An interpreter that knows no schema yet: it asks for what it needs.
    pub fn new(start: Start) -> Self {
        let (history, plans) = (SchemaHistory::default(), Plans::default());
        Interpreter {
            start,
            history,
            state: None,
            plans,
            moved: false,
            seen: SchemaVersion(0),
            skipped_rows: 0,
            unknown: UnknownDdl::default(),
            wanted: Wanted::default(),
            since_forgotten: 0,
        }
    }

    /// Only rows of tables for which `wants` says yes, by database and table, are decoded; those of others are passed over, whatever
    /// is in them. DDL is interpreted as ever.
    pub fn set_wanted(&mut self, wants: impl Fn(&str, &str) -> bool + Send + Sync + 'static) {
        self.wanted = Wanted::new(Box::new(wants));
    }

    /// What becomes of DDLs of kinds that are not known.
    pub fn set_unknown_ddl(&mut self, policy: UnknownDdl) {
        self.unknown = policy;
    }

    /// Adds objects to the history; `complete` as in `SchemaResponse::complete_version`.
    ///
    /// # Errors
    /// As [`SchemaHistory::insert`].
    pub fn extend(&mut self, objects: Vec<SchemaObject>, complete: SchemaVersion) -> Result<(), Error> {
        for object in objects {
            self.history.insert(object)?;
        }
        self.history.complete_to(complete);
        // What stood at a time may come in pieces.
        if !self.moved && matches!(self.start, Start::At(_)) {
            self.state = None;
        }
        Ok(())
    }

    /// Interprets the next record. Calls come in order of commit_ts.
    ///
    /// # Errors
    /// When the record cannot be read, or rows are of a table that the history does not know. The state is as before.
    pub fn step(&mut self, start_ts: StartTs, commit_ts: CommitTs, body: &Body) -> Result<Step, Error> {
        if start_ts.raw() == commit_ts.raw() {
            return Ok(Step::Skipped(SkipReason::Fake));
        }
        if let Start::Version(version) = self.start
            && self.history.complete_version() < version
        {
            return Ok(Step::NeedVersion(version));
        }
        if body.ddl_job_id > 0 {
            return self.ddl(start_ts, commit_ts, body);
        }
        let undecodable = |source| Error::Undecodable { commit_ts, source };
        let schema_version = SchemaVersion(body.schema_version().map_err(undecodable)?);
        if self.history.complete_version() < schema_version {
            return Ok(Step::NeedVersion(schema_version));
        }
        self.ready(schema_version);
        let value =
            body.prewrite_value.clone().map(PrewriteValue::decode).transpose().map_err(undecodable)?;
        let value = value.unwrap_or_default();
        let tables = value.mutations.iter().map(|mutation| TableId(mutation.table_id));
        if let Some(ddl) = self.ahead_of_rows(start_ts, commit_ts, schema_version, tables)? {
            return Ok(Step::Ahead(ddl));
        }
        let changes = self.rows(commit_ts, &value)?;
        Ok(Step::Event(Event::Transaction(Transaction {
            start_ts,
            commit_ts,
            schema_version,
            part: Part::WHOLE,
            changes,
        })))
    }

    fn ddl(&mut self, start_ts: StartTs, commit_ts: CommitTs, body: &Body) -> Result<Step, Error> {
        let query = String::from_utf8_lossy(body.ddl_query.as_deref().unwrap_or_default()).into_owned();
        if sql::is_setval(&query) {
            return Ok(Step::no_effect("SETVAL of a sequence"));
        }
        let id = JobId(body.ddl_job_id);
        let job = match self.history.job(id) {
            Some(Ok(job)) => job,
            Some(Err(reason)) => return self.unreadable(commit_ts, id, &query, reason),
            None => return Ok(Step::NeedJob(id)),
        };
        if body.ddl_schema_state == DELETE_ONLY {
            return Ok(Step::no_effect(format!("job {id} is not done yet")));
        }
        // It makes no version, so that it is not effective.
        if job.job_type == job_type::FLASHBACK_CLUSTER && job.done {
            return Err(Error::Schema(format!(
                "record with commit_ts {commit_ts}: job {id} is FLASHBACK CLUSTER: rows went back to an earlier time without a \
                 binlog; copy the data anew and start behind this record"
            )));
        }
        if !job.effective {
            return Ok(Step::no_effect(format!(
                "job {id} was rolled back or cancelled, or changed no schema"
            )));
        }
        if job.is_internal() {
            return Ok(Step::no_effect(format!("job {id} is on a table of TiDB's own")));
        }
        if self.history.complete_version() < job.version {
            return Ok(Step::NeedVersion(job.version));
        }
        if let Start::Version(version) = self.start
            && job.version <= version
        {
            return Ok(Step::no_effect(format!(
                "job {id} made schema version {}, the start is at {version}",
                job.version
            )));
        }
        self.ready(SchemaVersion(job.version.0 - 1));
        if let Some(ddl) = self.ahead_of_ddl(start_ts, commit_ts, job.altered()) {
            return Ok(Step::Ahead(ddl));
        }
        let state = self.state.as_mut().ok_or_else(|| Error::Schema("no schema state".into()))?;
        let unknown = !job_type::is_known(job.job_type);
        if unknown && self.unknown == UnknownDdl::Stop {
            return Err(unknown_ddl(commit_ts, &job, &query));
        }
        let mut changes = ddl::apply(state, &self.history, &job, |table| self.wanted.holds(table))
            .map_err(|why| Error::Schema(format!("record with commit_ts {commit_ts}: {why}")))?;
        self.moved = true;
        self.forget();
        if unknown {
            let applied = self.unknown == UnknownDdl::Store;
            tracing::warn!(%commit_ts, job = %id, kind = job.job_type, query, applied, "a DDL of an unknown kind");
            if !applied {
                changes.clear();
            }
        }
        Ok(Step::Event(Event::Ddl(Ddl {
            start_ts,
            commit_ts,
            job_id: id,
            job_type: job.job_type,
            schema: job.schema_name.clone(),
            schema_version: job.version,
            query,
            typed: job.query.clone(),
            zone: job.zone.clone(),
            changes,
            ahead: false,
        })))
    }

    /// Now and then, lets go of history that lies behind: what bounds memory is the tables that there are, not their past.
    fn forget(&mut self) {
        self.since_forgotten += 1;
        if self.since_forgotten < FORGET_EVERY {
            return;
        }
        self.since_forgotten = 0;
        let Some(state) = &self.state else { return };
        self.history.forget(SchemaVersion(state.version.0 - HISTORY_BEHIND));
        let keep = |id| state.table(id).is_some() || state.gone(id) != Some(Gone::Dropped);
        self.plans.retain(keep);
        self.wanted.retain(keep);
    }

    /// A job that is there and says nothing that can be read.
    fn unreadable(&self, commit_ts: CommitTs, job: JobId, query: &str, reason: &str) -> Result<Step, Error> {
        if self.unknown == UnknownDdl::Skip {
            tracing::warn!(%commit_ts, %job, query, reason, "left out a DDL job that cannot be read");
            return Ok(Step::no_effect(format!("job {job} cannot be read: {reason}")));
        }
        let (query, reason) = (query.to_owned(), reason.to_owned());
        Err(Error::UnreadableJob { commit_ts, job, query, reason })
    }

    /// Makes the state. A start at a time knows only roughly when a version became visible. But what the stream shows is certain: whoever
    /// wrote under a version, or made the next one, came after it; so `seen` and all versions below were there, unless the stream said so itself.
    fn ready(&mut self, seen: SchemaVersion) {
        self.seen = self.seen.max(seen);
        match self.start {
            Start::Version(version) if self.state.is_none() => {
                self.state = Some(State::at_version(&self.history, version));
            }
            Start::At(ts)
                if !self.moved && self.state.as_ref().is_none_or(|state| state.version < self.seen) =>
            {
                self.state = Some(State::at_ts(&self.history, ts, self.seen));
            }
            Start::Version(_) | Start::At(_) => {}
        }
    }

    /// The version of the last DDL applied: what a checkpoint stores.
    pub fn schema_version(&self) -> SchemaVersion {
        match (&self.state, self.start) {
            (Some(state), _) => state.version,
            (None, Start::Version(version)) => version,
            (None, Start::At(_)) => SchemaVersion(0),
        }
    }

    /// All user tables, views and sequences as they stand at the current position, by schema and name.
    pub fn tables(&self) -> Vec<TableRef> {
        self.state.as_ref().map(State::user_tables).unwrap_or_default()
    }

    /// The history that it was fed.
    pub fn history(&self) -> &SchemaHistory {
        &self.history
    }

    /// Rows left out because their table was dropped or truncated before they were committed, as the original does.
    pub fn skipped_rows(&self) -> u64 {
        self.skipped_rows
    }
}

fn unknown_ddl(commit_ts: CommitTs, job: &Job, query: &str) -> Error {
    Error::UnknownDdl { commit_ts, job: JobId(job.id), kind: job.job_type, query: query.to_owned() }
}

#[cfg(test)]
mod ahead_tests;
#[cfg(test)]
mod large_tests;
#[cfg(test)]
mod tests;
