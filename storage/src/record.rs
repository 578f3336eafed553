//! What goes into a store and what comes out.

use std::fmt;
use std::time::Duration;

use binlog_types::{CommitTs, SchemaVersion, StartTs};
use bytes::Bytes;

use crate::Error;
use crate::format::record::Header;

/// A prewrite binlog (P) to store. The bytes are opaque to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prewrite {
    /// The transaction.
    pub start_ts: StartTs,
    /// The schema version under which its rows were written.
    pub schema_version: SchemaVersion,
    /// Whether it belongs to a DDL job.
    pub ddl: bool,
    /// The transaction's primary key, for whoever resolves its outcome.
    pub key: Bytes,
    /// The body.
    pub payload: Bytes,
}

/// A commit binlog (C).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The transaction.
    pub start_ts: StartTs,
    /// Its place in the stream; above `start_ts`.
    pub commit_ts: CommitTs,
    /// What the commit binlog adds, kept beside the payload.
    pub extra: Bytes,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A transaction is about to commit.
    Prewrite(Prewrite),
    /// It has committed.
    Commit(Commit),
    /// It has rolled back.
    Rollback(StartTs),
    /// What became of it can no longer be learned. It stays as a gap, unless the outcome comes after all.
    Lost {
        /// The transaction.
        start_ts: StartTs,
        /// If it committed, then at or below.
        through: CommitTs,
    },
    /// A filler with start_ts = commit_ts that someone else made: delivered to readers as it is.
    Fake(CommitTs),
}

/// What became of a write.
pub type WriteResult = Result<(), Error>;

/// Takes results back, all of one batch in one call.
pub trait CompletionSink: Send + Sync {
    /// Called on the writer thread: must not block. Each token comes exactly once.
    fn completed(&self, results: Vec<(u64, WriteResult)>);
}

/// One record, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The transaction.
    pub start_ts: StartTs,
    /// Its place in the stream.
    pub commit_ts: CommitTs,
    /// The schema version under which its rows were written.
    pub schema_version: SchemaVersion,
    /// Whether it belongs to a DDL job.
    pub ddl: bool,
    /// A filler: start_ts = commit_ts, no payload.
    pub fake: bool,
    /// The piece's number, from 0.
    pub sequence: u32,
    /// Whether this is the transaction's last piece.
    pub last: bool,
    /// What the commit binlog added: on the first piece only.
    pub extra: Bytes,
    /// The piece of the prewrite's body.
    pub payload: Bytes,
}

/// A prewrite whose outcome is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// The transaction.
    pub start_ts: StartTs,
    /// Its primary key.
    pub key: Bytes,
    /// Time since it arrived, or since the store was opened if it is older.
    pub age: Duration,
    /// Whether it is older.
    pub recovered: bool,
}

/// Where a schema entry lies, as seen by a reader that begins somewhere in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Ahead of the reader, or so near that it may matter.
    No,
    /// Behind: only the last such entry of an object matters.
    Yes,
    /// Behind, and it says that the object is gone.
    Gone,
}

/// One schema object as stored: opaque to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaEntry {
    /// What it is, by the caller's numbering.
    pub kind: u8,
    /// Which one.
    pub id: i64,
    /// The version from which on it looks like this.
    pub schema_version: SchemaVersion,
    /// The object.
    pub value: Bytes,
}

/// What stands in the store under one timestamp, for people who debug.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawRecord {
    /// A prewrite that has not become a record yet (its start_ts was asked for).
    Prewrite {
        /// The prewrite, put together from its pieces.
        prewrite: Prewrite,
        /// Where it has committed, if that is known.
        commit_ts: Option<CommitTs>,
    },
    /// A commit without a prewrite (its start_ts or commit_ts was asked for).
    Commit(Commit),
    /// The pieces of a record (its commit_ts was asked for).
    Record(Vec<Fragment>),
}

impl fmt::Display for RawRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RawRecord::Prewrite { prewrite: p, commit_ts } => {
                write!(
                    f,
                    "prewrite start_ts={} schema_version={} ddl={} key={}B payload={}B",
                    p.start_ts,
                    p.schema_version,
                    p.ddl,
                    p.key.len(),
                    p.payload.len()
                )?;
                match commit_ts {
                    Some(ts) => write!(f, " commit_ts={ts}"),
                    None => f.write_str(" undecided"),
                }
            }
            RawRecord::Commit(c) => write!(
                f,
                "commit without prewrite start_ts={} commit_ts={} extra={}B",
                c.start_ts,
                c.commit_ts,
                c.extra.len()
            ),
            RawRecord::Record(pieces) => {
                let payload: usize = pieces.iter().map(|p| p.payload.len()).sum();
                let Some(first) = pieces.first() else { return f.write_str("empty record") };
                write!(
                    f,
                    "record start_ts={} commit_ts={} schema_version={} ddl={} fake={} pieces={} extra={}B payload={payload}B",
                    first.start_ts,
                    first.commit_ts,
                    first.schema_version,
                    first.ddl,
                    first.fake,
                    pieces.len(),
                    first.extra.len()
                )
            }
        }
    }
}

impl Fragment {
    pub(crate) fn new(
        commit_ts: CommitTs,
        start_ts: StartTs,
        header: Header,
        extra: Bytes,
        payload: Bytes,
    ) -> Self {
        Fragment {
            start_ts,
            commit_ts,
            schema_version: header.schema_version,
            ddl: header.ddl,
            fake: header.fake,
            sequence: header.sequence,
            last: header.last,
            extra,
            payload,
        }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        64 + self.extra.len() + self.payload.len()
    }
}
