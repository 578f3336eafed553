//! What a stream is doing: read by status pages while the stream itself is busy.

use std::sync::Arc;
use std::time::Duration;

use binlog_types::{CommitTs, NodeId};
use parking_lot::Mutex;

use crate::source::Inbox;

/// What is known of one pump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberProgress {
    /// Which pump.
    pub id: NodeId,
    /// Where it is.
    pub host: String,
    /// Everything at or below it was received.
    pub complete_through: CommitTs,
    /// What the task that pulls from it does, or the last error.
    pub doing: String,
    /// Whether a connection stands.
    pub connected: bool,
    /// How long there has been no connection; None: there is one.
    pub apart: Option<Duration>,
}

/// A view of a stream's state; cheap to clone, and lives as long as anybody holds it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub(crate) inboxes: Arc<Mutex<Vec<Arc<Inbox>>>>,
    pub(crate) schema: Arc<Mutex<String>>,
}

impl Progress {
    /// One entry a pump.
    pub fn members(&self) -> Vec<MemberProgress> {
        self.inboxes.lock().iter().map(|inbox| inbox.progress()).collect()
    }

    /// What holds the stream back, for people: the pump that is furthest behind, or the schema.
    pub fn waits_for(&self) -> String {
        let schema = self.schema.lock().clone();
        if !schema.is_empty() {
            return schema;
        }
        let members = self.members();
        match members.iter().min_by_key(|m| (m.complete_through, m.connected)) {
            None => "no pump is registered".to_owned(),
            Some(m) => {
                format!("pump {} at {} (complete through {}): {}", m.id, m.host, m.complete_through, m.doing)
            }
        }
    }
}
