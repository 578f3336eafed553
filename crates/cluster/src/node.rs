//! Nodes as the registry shows them; JSON as in etcd (`reference/pump.md` §3.2).
use serde::{Deserialize, Serialize};
use binlog_types::NodeId;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind { Pump, Drainer }
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState { Online, Pausing, Paused, Closing, Offline }
/// One node. Key order is that of the original; unknown fields of other versions are tolerated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    pub node_id: NodeId,
    /// `host:port`, no scheme.
    pub host: String,
    pub state: NodeState,
    #[serde(default)]
    pub is_alive: bool,
    #[serde(default)]
    pub score: i64,
    #[serde(default)]
    pub label: Option<serde_json::Value>,
    #[serde(default, rename = "maxCommitTS")]
    pub max_commit_ts: i64,
    #[serde(default, rename = "updateTS")]
    pub update_ts: i64,
}
