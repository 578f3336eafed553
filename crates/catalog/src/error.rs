//! What can be wrong with a record or a schema object.

use binlog_types::{CommitTs, JobId, SchemaVersion, TableId};

use crate::codec::CodecError;

/// What can be wrong with a record or a schema object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes that are no value.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A row that does not fit its table.
    #[error("{0}")]
    Row(String),
    /// A column's bytes that do not fit the column.
    #[error("column {column}: {source}")]
    Column {
        /// The column's name.
        column: String,
        /// Why.
        source: CodecError,
    },
    /// A record that cannot be read; nothing of it was passed on.
    #[error("record with commit_ts {commit_ts}: table {table}: {what}: {source}")]
    Record {
        /// The record.
        commit_ts: CommitTs,
        /// The table, by id and name.
        table: String,
        /// Which of its rows.
        what: String,
        /// Why.
        source: Box<Error>,
    },
    /// A record that is no binlog.
    #[error("record with commit_ts {commit_ts}: {source}")]
    Undecodable {
        /// The record.
        commit_ts: CommitTs,
        /// Why.
        source: prost::DecodeError,
    },
    /// Rows of a table that no schema object describes.
    #[error(
        "record with commit_ts {commit_ts}: no schema of table {table} at version {version} is known; \
         the schema history begins too late or misses a version"
    )]
    UnknownTable {
        /// The record.
        commit_ts: CommitTs,
        /// The table's id.
        table: TableId,
        /// The schema version that the rows were written under.
        version: SchemaVersion,
    },
    /// A DDL of a kind that no TiDB had when this program was made, and `stop` is the policy for those.
    #[error(
        "record with commit_ts {commit_ts}: DDL job {job} is of the unknown kind {kind}: {query}; what it does to rows is not known: \
         see to it that the target has it, then go on with unknown-ddl = \"skip\", or \"store\" to apply what it carries"
    )]
    UnknownDdl {
        /// The record.
        commit_ts: CommitTs,
        /// The job.
        job: JobId,
        /// TiDB's number of the kind.
        kind: u8,
        /// The statement.
        query: String,
    },
    /// A DDL job that lies in the history in a form that cannot be read.
    #[error(
        "record with commit_ts {commit_ts}: DDL job {job} cannot be read: {reason}; statement: {query}; with unknown-ddl = \"skip\" \
         it is left out"
    )]
    UnreadableJob {
        /// The record.
        commit_ts: CommitTs,
        /// The job.
        job: JobId,
        /// The statement.
        query: String,
        /// Why.
        reason: String,
    },
    /// A record that was put aside, because it is large, cannot be read back.
    #[error("a large record that was put aside cannot be read back: {0}")]
    PutAside(std::io::Error),
    /// JSON of a schema object that is not TiDB's.
    #[error("unreadable {what}: {source}")]
    Json {
        /// Which object.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A schema object that makes no sense.
    #[error("{0}")]
    Schema(String),
    /// One version of one object in two forms: two sources that do not belong to one cluster.
    #[error(
        "schema object {kind} {id} at version {version} came in two different forms; are all pumps of the same cluster?"
    )]
    Conflict {
        /// Database, table or job.
        kind: &'static str,
        /// Its id.
        id: i64,
        /// The version.
        version: i64,
    },
}

impl Error {
    pub(crate) fn row(what: impl Into<String>) -> Self {
        Error::Row(what.into())
    }
}
