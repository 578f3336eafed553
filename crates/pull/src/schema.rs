//! Schema objects from all pumps, united.
use binlog_proto::store::SchemaObject;
use binlog_types::{JobId, SchemaVersion};
use crate::{Error, Member};
/// Fetches schema history from the pumps.
#[derive(Debug)]
pub struct SchemaFetcher { }
impl SchemaFetcher {
    pub fn new(cluster: binlog_types::ClusterId, members: Vec<Member>) -> Self { todo!() }
    /// Objects of versions above `after`, once some pump's history reaches `need` (waits up to `wait`), and the version up to which they
    /// are complete. `SchemaVersion(-1)` for all.
    pub async fn versions(&mut self, after: SchemaVersion, need: SchemaVersion, wait: std::time::Duration) -> Result<(Vec<SchemaObject>, SchemaVersion), Error> { todo!() }
    /// The objects of one DDL job, once a pump knows it; None where none does within `wait`.
    pub async fn job(&mut self, job: JobId, wait: std::time::Duration) -> Result<Option<Vec<SchemaObject>>, Error> { todo!() }
    pub fn set_members(&mut self, members: Vec<Member>) { todo!() }
}
