//! How far a sink is: the original's JSON in `tidb_binlog.checkpoint`, or its `savepoint` file.

mod file;
mod json;

use binlog_types::{CommitTs, SchemaVersion};

pub use file::FileCheckpoint;
pub(crate) use json::{TsMap, decode, encode};

/// Everything at or below `commit_ts` is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything at or below it is applied or was filtered out.
    pub commit_ts: CommitTs,
    /// The schema version reached; it only grows.
    pub schema_version: SchemaVersion,
    /// The target is exactly as the source was at `commit_ts`. False on every save but the last of a clean stop.
    pub consistent: bool,
}
