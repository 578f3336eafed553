//! What can go wrong, for callers who must decide what to do about it.

use std::path::PathBuf;
use std::sync::Arc;

use binlog_types::{ClusterId, CommitTs, SchemaVersion, StartTs};

/// Errors of the store. Match on [`Error::kind`] to decide, on the variant for details.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A durable write failed earlier; nothing is written any more until the store is opened again.
    #[error(
        "the store takes no more writes since a durable write failed: {reason}; restart once the cause is removed"
    )]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// The store was opened for reading only.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The caller asked for something that makes no sense.
    #[error("invalid request: {what}")]
    Invalid {
        /// What is wrong.
        what: String,
    },
    /// A write contradicts what is stored: one start_ts with two outcomes, one commit_ts with two transactions, ….
    #[error("transaction {start_ts}: {what}")]
    Conflict {
        /// The transaction.
        start_ts: StartTs,
        /// What contradicts what.
        what: String,
    },
    /// A commit came after readers had been told that nothing can come there any more. It is kept as a gap.
    #[error(
        "transaction {start_ts} has its commit at {commit_ts}, but the stream is already complete up to {watermark}: \
         it is recorded as a gap; check that all timestamps come from one oracle"
    )]
    Late {
        /// The transaction.
        start_ts: StartTs,
        /// Where it belongs.
        commit_ts: CommitTs,
        /// How far the stream was complete.
        watermark: CommitTs,
    },
    /// So much waits behind one undecided prewrite that no more prewrites are taken; commits and rollbacks are.
    #[error(
        "{records} transactions wait for the outcome of transaction {oldest}, which came {} s ago: that is the limit, no more \
         prewrites are taken until it is known", age.as_secs()
    )]
    Stuck {
        /// The oldest undecided prewrite.
        oldest: StartTs,
        /// Since when.
        age: std::time::Duration,
        /// How many transactions are kept in mind.
        records: usize,
    },
    /// So many commits came too late, or without their prewrites, that no more prewrites are taken.
    #[error(
        "{gaps} commits that came too late or without their prewrites are kept in mind until garbage collection passes them: that is \
         the limit, no more prewrites are taken; check that all timestamps come from one oracle"
    )]
    TooManyGaps {
        /// How many.
        gaps: usize,
    },
    /// Another schema object is already stored under the same key.
    #[error("schema object kind {kind} id {id} version {version} is already stored with other content")]
    SchemaConflict {
        /// The kind of object.
        kind: u8,
        /// Its id.
        id: i64,
        /// The version in question.
        version: SchemaVersion,
    },
    /// Stored bytes are not what was written.
    #[error("corrupt data at {position}: {what}")]
    Corrupt {
        /// Column family, key, file as far as known.
        position: String,
        /// What is wrong with the bytes.
        what: String,
    },
    /// The write-ahead log is damaged before its end. Nothing was deleted.
    #[error(
        "the write-ahead log is damaged before its end ({message}): commits at or below {after} are whole in files, but \
         commits above it (the log has traces up to {seen}) and undecided prewrites may be lost; put a copy of the directory \
         in its place, or keep this one aside, start with an empty one, and take what is above {after} from another source"
    )]
    DamagedWal {
        /// RocksDB's words, with the file.
        message: String,
        /// Everything up to here is in files: what may be lost begins above.
        after: CommitTs,
        /// The largest commit_ts that can still be made out; at least `after`.
        seen: CommitTs,
    },
    /// The range begins where garbage collection already dropped records.
    #[error("binlogs at or below {safe_point} are purged")]
    Purged {
        /// The highest purged position.
        safe_point: CommitTs,
    },
    /// The directory belongs to another cluster.
    #[error(
        "the store belongs to cluster {stored}, not to cluster {given}: point the data directory elsewhere"
    )]
    WrongCluster {
        /// What the store says.
        stored: ClusterId,
        /// What the caller said.
        given: ClusterId,
    },
    /// A later version of this software wrote the directory or the record.
    #[error("{what} has format {found}, this version reads up to {supported}: use the newer version")]
    NewerFormat {
        /// What was read.
        what: String,
        /// Its format.
        found: u32,
        /// The newest known format.
        supported: u32,
    },
    /// Another process holds the directory.
    #[error("{dir} is in use by another process")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no store in the directory.
    #[error("{dir} holds no binlog store")]
    NotAStore {
        /// The directory.
        dir: PathBuf,
    },
    /// The disk is full.
    #[error("no space left while {doing}: {message}")]
    NoSpace {
        /// What was being done.
        doing: &'static str,
        /// The system's words.
        message: String,
    },
    /// The disk or RocksDB failed.
    #[error("{doing} failed: {message}")]
    Internal {
        /// What was being done.
        doing: &'static str,
        /// RocksDB's or the system's words.
        message: String,
    },
}

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The store is closed: open it again.
    Closed,
    /// It takes no writes now; reads go on.
    Unavailable,
    /// The request is wrong: repeating it does not help.
    Invalid,
    /// Stored data, or the order of events, contradicts itself.
    Corrupted,
    /// The disk is full.
    NoSpace,
    /// The data asked for is gone.
    Purged,
    /// Anything else: see the message.
    Internal,
}

impl Error {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Closed => ErrorKind::Closed,
            Error::Poisoned { .. }
            | Error::Locked { .. }
            | Error::Stuck { .. }
            | Error::TooManyGaps { .. } => ErrorKind::Unavailable,
            Error::ReadOnly
            | Error::Invalid { .. }
            | Error::WrongCluster { .. }
            | Error::NewerFormat { .. }
            | Error::NotAStore { .. } => ErrorKind::Invalid,
            Error::Conflict { .. }
            | Error::Late { .. }
            | Error::SchemaConflict { .. }
            | Error::Corrupt { .. }
            | Error::DamagedWal { .. } => ErrorKind::Corrupted,
            Error::Purged { .. } => ErrorKind::Purged,
            Error::NoSpace { .. } => ErrorKind::NoSpace,
            Error::Internal { .. } => ErrorKind::Internal,
        }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Error::Invalid { what: what.into() }
    }
}
