//! Whole transactions as they come from pumps.
use binlog_proto::Body;
use binlog_types::{CommitTs, SchemaVersion, StartTs};
use bytes::Bytes;
/// One transaction or DDL of the stream.
#[derive(Clone, Debug)]
pub struct Record {
    pub start_ts: StartTs,
    pub commit_ts: CommitTs,
    pub schema_version: SchemaVersion,
    /// What the commit binlog adds (its prewrite_key field; see `binlog_proto::compose_commit`).
    pub extra: Bytes,
    /// Fields 5 to 8 of `binlog.Binlog`, as stored (fragments put together).
    pub payload: Bytes,
}
impl Record {
    /// The payload decoded one level deep, without copying it.
    pub fn body(&self) -> Result<Body, prost::DecodeError> { prost::Message::decode(self.payload.clone()) }
    /// Whether it is a filler (start_ts = commit_ts).
    pub fn is_fake(&self) -> bool { self.start_ts.ts() == self.commit_ts.ts() }
}
/// Records in strictly rising commit_ts; everything at or below `complete_through` has now been handed out.
#[derive(Debug, Default)]
pub struct Batch { pub records: Vec<Record>, pub complete_through: CommitTs, /** no more will come */ pub end: bool }
