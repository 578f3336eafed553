//! How far a sink is: the original's JSON in `tidb_binlog.checkpoint`, or a `savepoint` file.
use binlog_types::{CommitTs, SchemaVersion};
/// Everything at or below `commit_ts` is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint { pub commit_ts: CommitTs, pub schema_version: SchemaVersion, pub consistent: bool }
/// A checkpoint in the original's `savepoint` TOML file.
#[derive(Clone, Debug)]
pub struct FileCheckpoint { }
impl FileCheckpoint {
    pub fn new(path: &std::path::Path) -> Self { todo!() }
    pub fn load(&self) -> Result<Option<Checkpoint>, crate::Error> { todo!() }
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<(), crate::Error> { todo!() }
}
