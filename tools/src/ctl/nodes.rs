//! Commands about nodes.

use std::time::Duration;

use anyhow::{Context as _, bail};
use binlog_cluster::{NodeKind, NodeState, NodeStatus, Registry};
use binlog_types::{ClockHandle, NodeId, Ts};
use serde::Deserialize;

use super::{Config, tls};

/// A node that works writes its entry every few seconds.
const SILENT_AFTER: Duration = Duration::from_secs(60);
/// A node answers at once; what it was asked for then goes on by itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

fn word(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Pump => "pump",
        NodeKind::Drainer => "drainer",
    }
}

/// Logs a line a node, by node id; offline ones only where asked.
pub(super) async fn list(
    registry: &Registry,
    kind: NodeKind,
    offline_too: bool,
    clock: &ClockHandle,
) -> anyhow::Result<()> {
    let mut nodes = registry.list(kind).await?;
    nodes.sort_by(|a, b| a.node_id.cmp(&b.node_id));
    for node in nodes.iter().filter(|n| offline_too || n.state != NodeState::Offline) {
        tracing::info!(r#type = word(kind), node = describe(node), "query node");
        if let Some(seconds) = silent_for(node, clock.unix_millis()) {
            tracing::warn!(
                NodeID = %node.node_id, seconds,
                "the node gives no sign of life; if it is dead, start it again or correct its state with update-pump or update-drainer"
            );
        }
    }
    Ok(())
}

/// How long a node that should work has said nothing. The original's entries have no lease: whoever was killed stays online.
fn silent_for(node: &NodeStatus, now_millis: u64) -> Option<u64> {
    let works = matches!(node.state, NodeState::Online | NodeState::Pausing | NodeState::Closing);
    let silence = now_millis.saturating_sub(Ts::new(u64::try_from(node.update_ts).unwrap_or(0)).physical());
    (works && u128::from(silence) > SILENT_AFTER.as_millis()).then_some(silence / 1000)
}

/// The text that scripts match on.
fn describe(node: &NodeStatus) -> String {
    let updated = Ts::new(node.update_ts as u64).physical() / 1000;
    let time = jiff::Timestamp::from_second(i64::try_from(updated).unwrap_or(0)).unwrap_or_default();
    let local = time.to_zoned(jiff::tz::TimeZone::system());
    format!(
        "{{NodeID: {}, Addr: {}, State: {}, MaxCommitTS: {}, UpdateTime: {}}}",
        node.node_id,
        node.host,
        node.state,
        node.max_commit_ts,
        local.strftime("%Y-%m-%d %H:%M:%S %z %Z"),
    )
}

async fn find(registry: &Registry, kind: NodeKind, id: &str) -> anyhow::Result<NodeStatus> {
    let node_id = NodeId::new(id)?;
    let found = registry.get(kind, &node_id).await?;
    found.with_context(|| format!("key /tidb-binlog/v1/{}s/{id} in etcd not found", word(kind)))
}

/// Replaces the state that the registry shows, and nothing else; the node is not asked.
pub(super) async fn update(registry: &Registry, kind: NodeKind, config: &Config) -> anyhow::Result<()> {
    let mut node = find(registry, kind, &config.node_id).await?;
    node.state = match config.state.as_str() {
        "online" => NodeState::Online,
        "pausing" => NodeState::Pausing,
        "paused" => NodeState::Paused,
        "closing" => NodeState::Closing,
        "offline" => NodeState::Offline,
        other => bail!("state {other} is illegal"),
    };
    Ok(registry.put(kind, &node).await?)
}

#[derive(Deserialize)]
struct Answer {
    message: String,
    code: i64,
}

/// Asks a node to pause or close. Unlike the original it reads the answer: a refusal is an error.
pub(super) async fn act(
    registry: &Registry,
    kind: NodeKind,
    config: &Config,
    action: &str,
) -> anyhow::Result<()> {
    let node = find(registry, kind, &config.node_id).await?;
    let force = if config.force && action == "close" { "?force=true" } else { "" };
    put(config, &node, &format!("/state/{}/{action}{force}", node.node_id)).await?;
    tracing::info!(action, NodeID = %node.node_id, "Apply action on node success");
    Ok(())
}

/// Asks a drainer to leave out what was committed at `-commit-ts`.
pub(super) async fn skip(registry: &Registry, config: &Config) -> anyhow::Result<()> {
    let commit_ts: u64 = config
        .commit_ts
        .parse()
        .with_context(|| format!("-commit-ts {:?} is no timestamp", config.commit_ts))?;
    let node = find(registry, NodeKind::Drainer, &config.node_id).await?;
    let message = put(config, &node, &format!("/skip/{commit_ts}")).await?;
    tracing::info!(NodeID = %node.node_id, "{message}");
    Ok(())
}

/// Sends an order; what the node says of it.
async fn put(config: &Config, node: &NodeStatus, path: &str) -> anyhow::Result<String> {
    let scheme = if config.ssl_ca.is_empty() { "http" } else { "https" };
    let url = format!("{scheme}://{}{path}", node.host);
    let body = tokio::time::timeout(ANSWER_WITHIN, tls::put(config, &node.host, path))
        .await
        .with_context(|| format!("{url} did not answer within {} s", ANSWER_WITHIN.as_secs()))?
        .with_context(|| format!("PUT {url}"))?;
    let answer: Answer = serde_json::from_slice(&body)
        .with_context(|| format!("{url} answered something else: {}", String::from_utf8_lossy(&body)))?;
    if answer.code != 200 {
        bail!("{} refused: {}", node.node_id, answer.message);
    }
    Ok(answer.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_described_as_scripts_expect_it() {
        let node = NodeStatus {
            node_id: NodeId::new("pump0").unwrap(),
            host: "127.0.0.1:18250".to_owned(),
            state: NodeState::Online,
            is_alive: false,
            score: 0,
            label: None,
            max_commit_ts: 470_641_433_616_318_465,
            update_ts: 470_641_433_616_318_465,
        };
        let text = describe(&node);
        let head = "{NodeID: pump0, Addr: 127.0.0.1:18250, State: online, MaxCommitTS: 470641433616318465, UpdateTime: 2026-11-2";
        assert!(text.starts_with(head), "{text}");
        assert!(text.ends_with('}'), "{text}");
        let updated = Ts::new(470_641_433_616_318_465).physical();
        assert_eq!(silent_for(&node, updated + 30_000), None);
        assert_eq!(silent_for(&node, updated + 61_000), Some(61));
        let paused = NodeStatus { state: NodeState::Paused, ..node };
        assert_eq!(silent_for(&paused, updated + 61_000), None);
    }
}
