//! From stored records to events, sans I/O: decode by the version written under, project onto the table as it stands.

use crate::{Event, SchemaHistory};
use binlog_proto::{Body, store::SchemaObject};
use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs, TableId};

/// What can be wrong with a record or an object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{0}")]
    Placeholder(String),
}

/// Where the stream is taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The schema as of the DDLs up to this version (a checkpoint's `schema-version`).
    Version(SchemaVersion),
    /// The schema as it stood at this commit_ts (objects whose `finished_ts` is not later).
    At(CommitTs),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /** start_ts = commit_ts */
    Fake,
    /** rolled back or cancelled job, SETVAL, system table … */
    NoEffect(String),
}

/// What a record turned out to be.
#[derive(Debug)]
pub enum Step {
    Event(Event),
    Skipped(SkipReason),
    /// Feed the history up to this version with [`Interpreter::extend`] and call again with the same record.
    NeedVersion(SchemaVersion),
    /// Likewise for this DDL job.
    NeedJob(JobId),
}

/// Keeps the schema of the stream's current position.
#[derive(Debug)]
pub struct Interpreter {
    history: SchemaHistory,
}

impl Interpreter {
    pub fn new(start: Start) -> Self {
        todo!()
    }
    /// Adds objects to the history; `complete` as in `SchemaResponse::complete_version`.
    pub fn extend(&mut self, objects: Vec<SchemaObject>, complete: SchemaVersion) -> Result<(), Error> {
        todo!()
    }
    /// Interprets the next record. Calls come in order of commit_ts.
    pub fn step(&mut self, start_ts: StartTs, commit_ts: CommitTs, body: &Body) -> Result<Step, Error> {
        todo!()
    }
    /// The version of the last DDL applied: what a checkpoint stores.
    pub fn schema_version(&self) -> SchemaVersion {
        todo!()
    }
    /// All user tables as they stand at the current position, by schema and name.
    pub fn tables(&self) -> Vec<crate::TableRef> {
        todo!()
    }
}
