//! The HTTP endpoints, as scripts see them.

use binlog_cluster::{EmbeddedCluster, NodeKind, NodeState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Root, TestPump};

/// One HTTP/1.1 request; the whole reply, head included.
pub(crate) async fn request(addr: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

fn body(reply: &str) -> &str {
    reply.split_once("\r\n\r\n").unwrap().1
}

async fn state_of(root: &Root) -> NodeState {
    let cluster = EmbeddedCluster::open(&root.cluster_dir()).unwrap();
    let nodes = cluster.registry().list(NodeKind::Pump).await.unwrap();
    assert_eq!(nodes.len(), 1);
    nodes[0].state
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_drainers_have_the_originals_shape() {
    let pump = TestPump::start().await;
    let reply = request(&pump.addr, "GET", "/status").await;
    assert!(reply.to_lowercase().contains("content-type: text/plain; charset=utf-8"), "{reply}");
    let json = body(&reply);
    let head = format!(
        "{{\"status\":{{\"pump-1\":{{\"nodeId\":\"pump-1\",\"host\":\"{}\",\"state\":\"online\",\"isAlive\":false,\"score\":0,\"label\":null,\"maxCommitTS\":",
        pump.addr
    );
    assert!(json.starts_with(&head), "{json}");
    assert!(json.ends_with(",\"Checkpoint\":{},\"ErrMsg\":\"\"}\n"), "{json}");
    assert_eq!(body(&request(&pump.addr, "GET", "/drainers").await), "null\n");
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_bad_orders() {
    let pump = TestPump::start().await;
    let reply = request(&pump.addr, "GET", "/nothing").await;
    assert!(reply.starts_with("HTTP/1.1 404 Not Found"), "{reply}");
    assert_eq!(body(&reply), "404 page not found\n");
    assert!(request(&pump.addr, "GET", "/state/pump-1/pause").await.starts_with("HTTP/1.1 405"));
    let reply = request(&pump.addr, "PUT", "/state/wrong/pause").await;
    assert!(reply.to_lowercase().contains("content-type: application/json; charset=utf-8"), "{reply}");
    let expected = "{\n  \"message\": \"invalide nodeID wrong, this pump's nodeID is pump-1\",\n  \"code\": 3,\n  \"data\": null\n}\n";
    assert_eq!(body(&reply), expected);
    let reply = request(&pump.addr, "PUT", "/state/pump-1/nonsense").await;
    assert_eq!(
        body(&reply),
        "{\n  \"message\": \"invalide action nonsense\",\n  \"code\": 3,\n  \"data\": null\n}\n"
    );
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_the_pump_as_paused() {
    let pump = TestPump::start().await;
    assert_eq!(state_of(&pump.root).await, NodeState::Online);
    let reply = request(&pump.addr, "PUT", "/state/pump-1/pause").await;
    assert_eq!(
        body(&reply),
        "{\n  \"message\": \"apply action pause success!\",\n  \"code\": 200,\n  \"data\": null\n}\n"
    );
    pump.running.await.unwrap().unwrap();
    assert_eq!(state_of(&pump.root).await, NodeState::Paused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_ends_offline_and_a_signal_paused() {
    let pump = TestPump::start().await;
    request(&pump.addr, "PUT", "/state/pump-1/close").await;
    let root = pump.root;
    pump.running.await.unwrap().unwrap();
    assert_eq!(state_of(&root).await, NodeState::Offline);
    let config = crate::harness::config(&root);
    let root = TestPump::start_with(root, config).await.stop().await;
    assert_eq!(state_of(&root).await, NodeState::Paused);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_health_and_gc() {
    let mut pump = TestPump::start().await;
    pump.client.transaction(1, 10).await;
    let metrics = request(&pump.addr, "GET", "/metrics").await;
    for name in [
        "binlog_pump_rpc_duration_seconds_bucket{label=\"succ\",method=\"WriteBinlog\",le=\"5e-05\"}",
        "binlog_pump_rpc_duration_seconds_count{label=\"succ\",method=\"WriteBinlog\"} 2",
        "binlog_pump_loss_binlog_count 0",
        "binlog_pump_storage_max_commit_ts ",
        "binlog_pump_storage_storage_size_bytes{type=\"available\"}",
        "binlog_pump_storage_write_binlog_size_bucket{type=\"single\",le=\"16\"}",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(name), "{name} is missing in\n{metrics}");
    }
    assert_eq!(body(&request(&pump.addr, "GET", "/health").await), "ok\n");
    assert_eq!(body(&request(&pump.addr, "GET", "/ready").await), "ok\n");
    assert_eq!(body(&request(&pump.addr, "POST", "/debug/gc/trigger").await), "trigger gc success\n");
    assert_eq!(body(&request(&pump.addr, "GET", "/debug/binlog/x").await), "invalid parameter ts: x");
    pump.stop().await;
}
