//! Transactions that an operator wants to be passed over.

use std::collections::BTreeSet;
use std::sync::Arc;

use binlog_types::CommitTs;
use parking_lot::RwLock;

/// Records that a stream passes over, by their commit_ts, unread. A DDL among them still moves the schema, if it can be read. More may
/// be added while a stream reads: clones share them.
#[derive(Clone, Debug, Default)]
pub struct Skips(Arc<RwLock<BTreeSet<CommitTs>>>);

impl Skips {
    /// These to begin with.
    pub fn new(list: impl IntoIterator<Item = CommitTs>) -> Self {
        Skips(Arc::new(RwLock::new(list.into_iter().collect())))
    }

    /// Adds one; false: it was there.
    pub fn add(&self, commit_ts: CommitTs) -> bool {
        self.0.write().insert(commit_ts)
    }

    /// Whether it is one of them.
    pub fn contains(&self, commit_ts: CommitTs) -> bool {
        let list = self.0.read();
        !list.is_empty() && list.contains(&commit_ts)
    }
}
