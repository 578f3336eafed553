//! What can go wrong while pulling.
use binlog_types::{CommitTs, NodeId};
/// Errors of a pull; typed where a caller decides by it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pump no longer has what was asked for.
    #[error("pump {pump}: binlogs at or below {safe_point} are purged, but {after} was asked for; restore from a newer backup, or start after the safe point and accept the gap")]
    Purged { pump: NodeId, after: CommitTs, safe_point: CommitTs },
    #[error("{0}")]
    Placeholder(String),
}
