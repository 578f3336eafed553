//! The merged stream, decoded: schema fetched as needed, tables filtered.
use binlog_catalog::{Event, Start, TableFilter};
use binlog_types::{CommitTs, SchemaVersion};
use crate::{Error, Member, StreamOptions};
/// Events in order, and how far they reach.
#[derive(Debug, Default)]
pub struct EventBatch {
    pub events: Vec<Event>,
    /// Everything at or below it is in this or an earlier batch, or was filtered out.
    pub complete_through: CommitTs,
    /// The version of the last DDL at or below `complete_through`.
    pub schema_version: SchemaVersion,
    /// Transactions and DDLs that were filtered out or had no effect, by reason.
    pub skipped: u64,
    pub end: bool,
}
/// [`crate::MergedStream`] + [`crate::SchemaFetcher`] + [`binlog_catalog::Interpreter`] + filter: what drainer, reparo and tools read.
#[derive(Debug)]
pub struct EventStream { }
impl EventStream {
    pub async fn open(options: StreamOptions, members: Vec<Member>, start: Start, filter: TableFilter) -> Result<Self, Error> { todo!() }
    pub fn set_members(&mut self, members: Vec<Member>) { todo!() }
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<EventBatch, Error> { todo!() }
    pub fn stream(&self) -> &crate::MergedStream { todo!() }
}
