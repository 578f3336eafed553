//! The merged stream: one task a pump, one byte budget, in order.
use binlog_types::{ClusterId, CommitTs, NodeId};
use crate::{Batch, Error};
/// A pump to pull from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member { pub id: NodeId, /** host:port */ pub host: String }
/// What to pull.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    pub cluster: ClusterId,
    /// Exclusive.
    pub after: CommitTs,
    /// Inclusive; None: follow for ever.
    pub through: Option<CommitTs>,
    /// `db.table` patterns; empty: all.
    pub table_patterns: Vec<String>,
    /// Bytes of payload in flight over all pumps.
    pub budget: usize,
}
/// Pulls from every member and merges.
#[derive(Debug)]
pub struct MergedStream { }
impl MergedStream {
    pub fn new(options: StreamOptions, members: Vec<Member>) -> Self { todo!() }
    /// Changes who is pulled from: new pumps start after what was already handed out; a removed (offline) pump no longer holds the stream back.
    pub fn set_members(&mut self, members: Vec<Member>) { todo!() }
    /// The next batch, in order. Cancel safe. After `end` it must not be called again.
    pub async fn next(&mut self) -> Result<Batch, Error> { todo!() }
    /// For /status: per pump what it was last heard to be complete through, and what the stream waits for.
    pub fn positions(&self) -> Vec<(NodeId, CommitTs)> { todo!() }
    pub fn waits_for(&self) -> String { todo!() }
}
