//! The life cycle of this node.
//!
//! ```text
//! online ──pause, signal, error──► pausing ──finish──► paused
//!    └──close──► closing ──finish──► offline
//! ```

use binlog_cluster::{Action, NodeState};
use binlog_types::NodeId;
use tokio::sync::watch;

/// Who this is, and its state.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    /// `host:port` for others.
    pub(crate) host: String,
    state: watch::Sender<NodeState>,
}

impl Node {
    pub(crate) fn new(id: NodeId, host: String) -> Self {
        Node { id, host, state: watch::Sender::new(NodeState::Online) }
    }

    pub(crate) fn state(&self) -> NodeState {
        *self.state.borrow()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<NodeState> {
        self.state.subscribe()
    }

    /// Applies what an operator asks; only an online node takes it.
    pub(crate) fn request(&self, action: Action) -> Result<(), NodeState> {
        let mut refused = None;
        self.state.send_if_modified(|state| {
            if *state != NodeState::Online {
                refused = Some(*state);
                return false;
            }
            *state = match action {
                Action::Pause => NodeState::Pausing,
                Action::Close => NodeState::Closing,
            };
            true
        });
        refused.map_or(Ok(()), Err)
    }

    /// The end of what was asked.
    pub(crate) fn finish(&self) {
        self.state.send_modify(|state| {
            *state = match *state {
                NodeState::Closing | NodeState::Offline => NodeState::Offline,
                NodeState::Online | NodeState::Pausing | NodeState::Paused => NodeState::Paused,
            };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_online_node_takes_orders() {
        let node = Node::new(NodeId::new("d").unwrap(), "h:1".to_owned());
        node.request(Action::Close).unwrap();
        assert_eq!(node.request(Action::Pause), Err(NodeState::Closing));
        node.finish();
        assert_eq!(node.state(), NodeState::Offline);
    }

    #[test]
    fn whoever_just_ends_is_paused() {
        let node = Node::new(NodeId::new("d").unwrap(), "h:1".to_owned());
        node.finish();
        assert_eq!(node.state(), NodeState::Paused);
    }
}
