//! The life cycle of this node, without I/O, and the shared handle to it.
//!
//! ```text
//! (previous) ──register──► paused ──serve──► online ──pause──► pausing ──finish──► paused
//!                                               └─────close──► closing ──finish──► offline
//! ```
//!
//! A node registers as `paused` first: drainers add it as a source, and only then does it go `online` and take prewrites,
//! so that no drainer can miss its first binlog. `pausing` and `closing` are published at once.

use std::sync::atomic::{AtomicU8, Ordering};

use binlog_cluster::{Action, NodeState};
use binlog_types::NodeId;
use parking_lot::Mutex;
use tokio::sync::watch;

fn code(state: NodeState) -> u8 {
    match state {
        NodeState::Online => 0,
        NodeState::Pausing => 1,
        NodeState::Paused => 2,
        NodeState::Closing => 3,
        NodeState::Offline => 4,
    }
}

/// The state machine.
#[derive(Debug)]
struct LifeCycle {
    state: NodeState,
}

impl LifeCycle {
    /// Applies what an operator asks; only an online node takes it.
    fn request(&mut self, action: Action) -> Result<NodeState, NodeState> {
        if self.state != NodeState::Online {
            return Err(self.state);
        }
        self.state = match action {
            Action::Pause => NodeState::Pausing,
            Action::Close => NodeState::Closing,
        };
        Ok(self.state)
    }

    /// The end of what was asked.
    fn finish(&mut self) -> NodeState {
        self.state = match self.state {
            NodeState::Online | NodeState::Pausing | NodeState::Paused => NodeState::Paused,
            NodeState::Closing | NodeState::Offline => NodeState::Offline,
        };
        self.state
    }
}

/// This node, shared by everything in the process.
#[derive(Debug)]
pub(crate) struct Node {
    id: NodeId,
    host: String,
    life: Mutex<LifeCycle>,
    /// A copy of the state for the write path, which takes no lock.
    state: AtomicU8,
    changes: watch::Sender<NodeState>,
}

impl Node {
    /// A node in the state that the registry last showed; one that was never there counts as offline.
    pub(crate) fn new(id: NodeId, host: String, previous: NodeState) -> Self {
        Node {
            id,
            host,
            life: Mutex::new(LifeCycle { state: previous }),
            state: AtomicU8::new(code(previous)),
            changes: watch::Sender::new(previous),
        }
    }

    /// Its name.
    pub(crate) fn id(&self) -> &NodeId {
        &self.id
    }

    /// `host:port` for others.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The state now.
    pub(crate) fn state(&self) -> NodeState {
        self.life.lock().state
    }

    /// Whether prewrites are taken.
    pub(crate) fn is_online(&self) -> bool {
        self.state.load(Ordering::Acquire) == code(NodeState::Online)
    }

    /// Wakes at every change of the state.
    pub(crate) fn changes(&self) -> watch::Receiver<NodeState> {
        self.changes.subscribe()
    }

    /// Puts the node into a state while starting.
    pub(crate) fn enter(&self, state: NodeState) {
        self.change(|life| {
            life.state = state;
            Ok(state)
        })
        .unwrap_or(state);
    }

    /// Applies what an operator or a signal asks.
    ///
    /// # Errors
    /// The state that does not allow it.
    pub(crate) fn request(&self, action: Action) -> Result<NodeState, NodeState> {
        self.change(|life| life.request(action))
    }

    /// The final state of what was asked.
    pub(crate) fn finish(&self) -> NodeState {
        self.change(|life| Ok(life.finish())).unwrap_or_else(|state| state)
    }

    fn change(
        &self,
        apply: impl FnOnce(&mut LifeCycle) -> Result<NodeState, NodeState>,
    ) -> Result<NodeState, NodeState> {
        let mut life = self.life.lock();
        let state = apply(&mut life)?;
        self.state.store(code(state), Ordering::Release);
        self.changes.send_replace(state);
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(state: NodeState) -> Node {
        Node::new(NodeId::new("n").unwrap(), "h:1".to_owned(), state)
    }

    #[test]
    fn only_an_online_node_takes_orders() {
        for state in [NodeState::Pausing, NodeState::Paused, NodeState::Closing, NodeState::Offline] {
            assert_eq!(node(state).request(Action::Close), Err(state));
        }
        let paused = node(NodeState::Online);
        assert_eq!(paused.request(Action::Pause), Ok(NodeState::Pausing));
        assert!(!paused.is_online());
        assert_eq!(paused.finish(), NodeState::Paused);
    }

    #[test]
    fn closing_ends_offline_and_cannot_turn_into_a_pause() {
        let closing = node(NodeState::Online);
        assert_eq!(closing.request(Action::Close), Ok(NodeState::Closing));
        assert_eq!(closing.request(Action::Pause), Err(NodeState::Closing));
        assert_eq!(closing.finish(), NodeState::Offline);
    }

    #[test]
    fn changes_wake_watchers() {
        let watched = node(NodeState::Offline);
        let mut changes = watched.changes();
        watched.enter(NodeState::Online);
        assert!(changes.has_changed().unwrap());
        assert_eq!(*changes.borrow_and_update(), NodeState::Online);
        assert!(watched.is_online());
    }
}
