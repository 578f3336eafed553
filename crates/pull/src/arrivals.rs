//! News of what pumps send.

use std::fmt::Debug;

use binlog_types::{CommitTs, NodeId};

/// Is told of every record that comes from a pump; for metrics.
pub trait Arrivals: Debug + Send + Sync {
    /// A record of `bytes` bytes of payload came.
    fn arrived(&self, pump: &NodeId, commit_ts: CommitTs, bytes: usize);
}
