//! Whole transactions as they come from pumps.

use std::collections::BTreeMap;
use std::sync::Arc;

use binlog_catalog::Blob as _;
use binlog_proto::Body;
use binlog_types::{CommitTs, SchemaVersion, StartTs};
use bytes::Bytes;

use crate::budget::Permit;
use crate::spool::Spool;

/// One transaction or DDL of the stream.
#[derive(Clone, Debug)]
pub struct Record {
    /// The transaction's identity.
    pub start_ts: StartTs,
    /// Its place in the stream.
    pub commit_ts: CommitTs,
    /// The schema version under which its rows were written; 0 for DDL.
    pub schema_version: SchemaVersion,
    /// What the commit binlog adds (its prewrite_key field; see `binlog_proto::compose_commit`).
    pub extra: Bytes,
    /// Fields 5 to 8 of `binlog.Binlog`, as stored (fragments put together).
    pub payload: Bytes,
}

impl Record {
    /// The payload decoded one level deep, without copying it.
    ///
    /// # Errors
    /// When the payload is no binlog body.
    pub fn body(&self) -> Result<Body, prost::DecodeError> {
        prost::Message::decode(self.payload.clone())
    }

    /// Whether it is a filler (start_ts = commit_ts).
    pub fn is_fake(&self) -> bool {
        self.start_ts.ts() == self.commit_ts.ts()
    }

    /// What it costs of the byte budget.
    pub(crate) fn cost(&self) -> usize {
        RECORD_OVERHEAD + self.extra.len() + self.payload.len()
    }
}

/// What a record costs beside its bytes.
pub(crate) const RECORD_OVERHEAD: usize = 128;

/// A record and the bytes of the budget that it holds.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) record: Record,
    pub(crate) permit: Permit,
    /// Where the payload lies, if not in the record.
    pub(crate) large: Option<Arc<Spool>>,
}

impl Held {
    pub(crate) fn new(record: Record, permit: Permit) -> Self {
        Held { record, permit, large: None }
    }

    /// Bytes of payload, wherever they lie.
    pub(crate) fn payload_len(&self) -> usize {
        self.large.as_ref().map_or(self.record.payload.len(), |large| large.len() as usize)
    }
}

/// Records in strictly rising commit_ts; everything at or below `complete_through` has now been handed out.
///
/// The batch holds its records' part of the byte budget until it is dropped: keep it until the records are done with.
#[derive(Debug, Default)]
pub struct Batch {
    /// The records. Fillers are left out: `complete_through` says what they would.
    pub records: Vec<Record>,
    /// Rises from batch to batch, also where no record came.
    pub complete_through: CommitTs,
    /// No more will come.
    pub end: bool,
    /// One of each record, in their order.
    pub(crate) permits: Vec<Permit>,
    /// Payloads that were put aside, by the index of their record.
    pub(crate) large: BTreeMap<usize, Arc<Spool>>,
}
