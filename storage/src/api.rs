//! Public surface, bodies to come.
use crate::*;
use binlog_types::*;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
/// A bounded read.
#[derive(Debug)]
pub struct Scan {}
impl Scan {
    /// The next fragments, up to about `max_bytes` of payload, at least one; empty: the range is done. Errors with Purged when gc passed it.
    pub fn next_batch(&mut self, max_bytes: usize) -> Result<Vec<Fragment>, Error> {
        todo!()
    }
    /// Everything at or below this was returned so far.
    pub fn complete_through(&self) -> CommitTs {
        todo!()
    }
}
/// An open store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {}
impl Store {
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        todo!()
    }
    /// For tools: another process may not have it open for writing? (a read-only open overlays markers in memory)
    pub fn open_read_only(dir: &Path) -> Result<Self, Error> {
        todo!()
    }
    pub fn cluster_id(&self) -> ClusterId {
        todo!()
    }
    pub fn node_id(&self) -> NodeId {
        todo!()
    }
    pub fn uuid(&self) -> StoreUuid {
        todo!()
    }
    pub fn incarnation(&self) -> u64 {
        todo!()
    }
    /// Queues writes; each comes back to `sink` with its token once durable (or failed).
    pub fn submit(&self, writes: Vec<(u64, Write)>, sink: &Arc<dyn CompletionSink>) {
        todo!()
    }
    /// Queues one write and waits: for tests and tools.
    pub fn write(&self, write: Write) -> WriteResult {
        todo!()
    }
    /// No transaction with commit_ts <= the result can come any more.
    pub fn watermark(&self) -> CommitTs {
        todo!()
    }
    /// Calls `waker` (must not block) after every rise of the watermark until the returned guard is dropped.
    pub fn on_watermark(&self, waker: Box<dyn Fn(CommitTs) + Send + Sync>) -> WatermarkGuard {
        todo!()
    }
    /// Idle advance, step 1: remember the arrival order, *after* the oracle's timestamp `ts` was fetched *before* this call... see DESIGN "Watermark".
    pub fn offer_idle_ts(&self, ts: CommitTs) {
        todo!()
    }
    pub fn scan(&self, range: Range) -> Result<Scan, Error> {
        todo!()
    }
    pub fn safe_point(&self) -> CommitTs {
        todo!()
    }
    /// Moves the safe point up (never down) to min(target, watermark - retention...) and lets RocksDB drop what lies below.
    pub fn gc(&self, target: CommitTs) -> Result<CommitTs, Error> {
        todo!()
    }
    pub fn unresolved(&self, limit: usize) -> Vec<Unresolved> {
        todo!()
    }
    pub fn put_schema(&self, entries: Vec<SchemaEntry>, complete: SchemaVersion) -> Result<(), Error> {
        todo!()
    }
    /// Entries with version > after, ascending by (version, kind, id).
    pub fn schema(&self, after: SchemaVersion) -> Result<Vec<SchemaEntry>, Error> {
        todo!()
    }
    pub fn schema_object(&self, kind: u8, id: i64) -> Result<Vec<SchemaEntry>, Error> {
        todo!()
    }
    pub fn schema_version(&self) -> SchemaVersion {
        todo!()
    }
    pub fn gaps(&self) -> Vec<Gap> {
        todo!()
    }
    /// Small named values of the layer above (e.g. the oracle's ceiling), durable when it returns.
    pub fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), Error> {
        todo!()
    }
    pub fn get_meta(&self, name: &str) -> Result<Option<Bytes>, Error> {
        todo!()
    }
    pub fn raw(&self, ts: Ts) -> Result<Option<RawRecord>, Error> {
        todo!()
    }
    pub fn max_commit_ts(&self) -> CommitTs {
        todo!()
    }
    pub fn pending_count(&self) -> usize {
        todo!()
    }
    pub fn poisoned(&self) -> Option<String> {
        todo!()
    }
    pub fn numbers(&self) -> Vec<(String, u64)> {
        todo!()
    }
    /// Flushes and closes; later calls fail with Closed.
    pub fn close(&self) -> Result<(), Error> {
        todo!()
    }
}
/// Stops the calls of `on_watermark` when dropped.
#[derive(Debug)]
pub struct WatermarkGuard {}
