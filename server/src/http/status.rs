//! `GET /status` and `GET /drainers`: the registry as JSON.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use binlog_cluster::{NodeKind, NodeStatus};
use serde::Serialize;

use crate::context::Shared;

/// The original's reply; the order of the fields is its order.
#[derive(Debug, Serialize)]
struct HttpStatus {
    status: Option<BTreeMap<String, NodeStatus>>,
    #[serde(rename = "CommitTS")]
    commit_ts: i64,
    /// Always empty.
    #[serde(rename = "Checkpoint")]
    checkpoint: BTreeMap<(), ()>,
    #[serde(rename = "ErrMsg")]
    error: String,
}

pub(super) async fn status(State(context): State<Shared>) -> Response {
    let reply = match read(&context).await {
        Ok((nodes, commit_ts)) => {
            HttpStatus { status: Some(nodes), commit_ts, checkpoint: BTreeMap::new(), error: String::new() }
        }
        Err(error) => HttpStatus { status: None, commit_ts: 0, checkpoint: BTreeMap::new(), error },
    };
    json_line(&reply)
}

async fn read(context: &Shared) -> Result<(BTreeMap<String, NodeStatus>, i64), String> {
    let nodes = context.registry.list(NodeKind::Pump).await.map_err(|e| e.to_string())?;
    let now = context.time.now().await.map_err(|e| e.to_string())?;
    Ok((nodes.into_iter().map(|node| (node.node_id.to_string(), node)).collect(), now.as_i64()))
}

pub(super) async fn drainers(State(context): State<Shared>) -> Response {
    let nodes = match context.registry.list(NodeKind::Drainer).await {
        Ok(nodes) => nodes,
        Err(error) => {
            tracing::error!(%error, "get drainers failed");
            Vec::new()
        }
    };
    json_line(&(!nodes.is_empty()).then_some(nodes))
}

/// Compact JSON and a line feed, under the type that Go sniffs for it.
pub(super) fn json_line<T: Serialize>(value: &T) -> Response {
    match serde_json::to_string(value) {
        Ok(mut json) => {
            json.push('\n');
            super::text(json)
        }
        Err(error) => super::text(format!("cannot encode the reply: {error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_status_is_the_originals() {
        let reply =
            HttpStatus { status: None, commit_ts: 0, checkpoint: BTreeMap::new(), error: "e".to_owned() };
        assert_eq!(
            serde_json::to_string(&reply).unwrap(),
            r#"{"status":null,"CommitTS":0,"Checkpoint":{},"ErrMsg":"e"}"#
        );
    }
}
