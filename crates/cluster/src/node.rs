//! Nodes as the registry shows them: JSON that TiDB, the original's programs and scripts read.

use std::fmt;
use std::str::FromStr;

use binlog_types::NodeId;
use serde::{Deserialize, Serialize};

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// Takes binlogs from TiDB.
    Pump,
    /// Sends them on.
    Drainer,
}

impl NodeKind {
    /// The folder of the registry: `pumps` or `drainers`.
    pub const fn folder(self) -> &'static str {
        match self {
            NodeKind::Pump => "pumps",
            NodeKind::Drainer => "drainers",
        }
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NodeKind::Pump => "pump",
            NodeKind::Drainer => "drainer",
        })
    }
}

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Works.
    Online,
    /// Is about to stop and will come back.
    Pausing,
    /// Stopped and will come back.
    Paused,
    /// Is about to leave for good.
    Closing,
    /// Left for good.
    Offline,
}

impl NodeState {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            NodeState::Online => "online",
            NodeState::Pausing => "pausing",
            NodeState::Paused => "paused",
            NodeState::Closing => "closing",
            NodeState::Offline => "offline",
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an operator asks of a node that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stop: what a pump holds stays and can be read after its next start, and pumps keep what a drainer still needs.
    Pause,
    /// Leave the cluster; a pump does when every drainer has read everything.
    Close,
}

impl Action {
    /// The action of a URL: `pause` or `close`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "pause" => Some(Action::Pause),
            "close" => Some(Action::Close),
            _ => None,
        }
    }
}

/// A word that is no [`NodeState`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("state {0} is illegal")]
pub struct UnknownState(String);

impl FromStr for NodeState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Ok(match text {
            "online" => NodeState::Online,
            "pausing" => NodeState::Pausing,
            "paused" => NodeState::Paused,
            "closing" => NodeState::Closing,
            "offline" => NodeState::Offline,
            other => return Err(UnknownState(other.to_owned())),
        })
    }
}

/// One node. Keys and their order are the original's; unknown keys of other versions are tolerated when reading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub node_id: NodeId,
    /// `host:port`, no scheme.
    pub host: String,
    /// Where it is in its life.
    pub state: NodeState,
    /// Always false: the original never set it.
    #[serde(default)]
    pub is_alive: bool,
    /// Always 0.
    #[serde(default)]
    pub score: i64,
    /// Null, or what other versions put there.
    #[serde(default)]
    pub label: Option<serde_json::Value>,
    /// A pump's highest commit_ts; a drainer's checkpoint.
    #[serde(default, rename = "maxCommitTS")]
    pub max_commit_ts: i64,
    /// A timestamp of about when this was written.
    #[serde(default, rename = "updateTS")]
    pub update_ts: i64,
}

impl NodeStatus {
    /// A node with nothing but name, address and state.
    pub fn new(node_id: NodeId, host: impl Into<String>, state: NodeState) -> Self {
        NodeStatus {
            node_id,
            host: host.into(),
            state,
            is_alive: false,
            score: 0,
            label: None,
            max_commit_ts: 0,
            update_ts: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte for byte what an original pump wrote.
    const REAL: &str = r#"{"nodeId":"pump0","host":"127.0.0.1:18250","state":"online","isAlive":false,"score":0,"label":null,"maxCommitTS":470641433616318465,"updateTS":470641433747128323}"#;

    #[test]
    fn the_json_is_the_originals() {
        let status: NodeStatus = serde_json::from_str(REAL).unwrap();
        assert_eq!(status.max_commit_ts, 470_641_433_616_318_465);
        assert_eq!(serde_json::to_string(&status).unwrap(), REAL);
    }

    #[test]
    fn other_versions_may_add_and_leave_out_keys() {
        let json = r#"{"nodeId":"a","host":"h:1","state":"paused","label":{"labels":{"k":"v"}},"new":1}"#;
        let status: NodeStatus = serde_json::from_str(json).unwrap();
        assert_eq!(status.state, NodeState::Paused);
        assert!(serde_json::to_string(&status).unwrap().contains(r#""label":{"labels":{"k":"v"}}"#));
        assert!(
            serde_json::from_str::<NodeStatus>(r#"{"nodeId":"a","host":"h:1","state":"asleep"}"#).is_err()
        );
    }

    #[test]
    fn states_are_words() {
        for state in
            [NodeState::Online, NodeState::Pausing, NodeState::Paused, NodeState::Closing, NodeState::Offline]
        {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
        assert_eq!("nonsense".parse::<NodeState>().unwrap_err().to_string(), "state nonsense is illegal");
    }
}
