//! Every version of every schema object, by schema version.
use crate::{Error, Table};
use binlog_proto::store::SchemaObject;
use binlog_types::{SchemaVersion, TableId};
use std::sync::Arc;

/// All versions of all objects known so far.
#[derive(Debug, Default)]
pub struct SchemaHistory {}

impl SchemaHistory {
    /// Takes one object; the same twice is fine. Errors: same identity and version with other bytes, or unreadable JSON.
    pub fn insert(&mut self, object: SchemaObject) -> Result<(), Error> {
        todo!()
    }
    /// The history is complete up to `version`.
    pub fn complete_to(&mut self, version: SchemaVersion) {
        todo!()
    }
    pub fn complete_version(&self) -> SchemaVersion {
        todo!()
    }
    /// The newest version of the table at or below `version`.
    pub fn table_at(&self, id: TableId, version: SchemaVersion) -> Option<Arc<Table>> {
        todo!()
    }
}
