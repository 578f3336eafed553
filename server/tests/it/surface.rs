//! What scripts and dashboards look for, against what an original pump showed.

use std::collections::BTreeMap;
use std::fs;

use binlog_testkit::{fixtures::testdata_dir, missing_metrics};

use crate::harness::{Root, TestPump, config};
use crate::http::request;

fn original(name: &str) -> String {
    fs::read_to_string(testdata_dir().join("surface").join(name)).unwrap()
}

/// Status line, headers that matter, and body.
fn parts(reply: &str) -> (String, BTreeMap<String, String>, String) {
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().to_owned();
    let mut headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(k, v)| (k.to_lowercase(), v.to_owned()))
        .collect();
    // Each request has a time and, here, a connection of its own.
    headers.retain(|name, _| name != "date" && name != "connection");
    (status, headers, body.to_owned())
}

/// Timestamps differ from run to run; everything else is compared.
fn without_numbers(json: &str) -> String {
    let mut out = String::new();
    for part in json.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
        out.push_str(if digits.len() >= 15 { "TS" } else { digits });
        out.push_str(&part[digits.len()..]);
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_are_the_originals() {
    let root = Root::new();
    let mut settings = config(&root);
    settings.node_id = "pump0".to_owned();
    let pump = TestPump::start_with(root, settings).await;
    for (method, path, file) in [
        ("GET", "/nothing", "pump-404.txt"),
        ("PUT", "/state/pump0/nonsense", "pump-state-nonsense.txt"),
        ("PUT", "/state/wrong/pause", "pump-state-wrong-node.txt"),
    ] {
        let reply = request(&pump.addr, method, path).await;
        assert_eq!(parts(&reply), parts(&original(file)), "{method} {path}");
    }
    let status = request(&pump.addr, "GET", "/status").await;
    let expected = original("pump-status.json").replace("127.0.0.1:18250", &pump.addr);
    assert_eq!(without_numbers(&parts(&status).2), without_numbers(&expected));
    // The registry as the original's drainers had written it.
    let keys = original("etcd-keys.txt");
    let mut lines = keys.lines();
    while let (Some(key), Some(value)) = (lines.next(), lines.next()) {
        if let Some(name) = key.strip_prefix("/tidb-binlog/v1/drainers/") {
            let folder = pump.root.cluster_dir().join("drainers");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{name}.json")), value).unwrap();
        }
    }
    let drainers = request(&pump.addr, "GET", "/drainers").await;
    assert_eq!(parts(&drainers).2, original("pump-drainers.json"));
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_looks_for_peers_that_are_gone() {
    let pump = TestPump::start().await;
    let idle = tokio::net::TcpStream::connect(&pump.addr).await.unwrap();
    let (port, peer) = (pump.addr.rsplit_once(':').unwrap().1, idle.local_addr().unwrap().port());
    let port: u16 = port.parse().unwrap();
    // Of each socket: local and remote address, state 01 when connected, …, and 02 where a keep-alive timer runs.
    let watched = || {
        let sockets = fs::read_to_string("/proc/self/net/tcp").unwrap();
        let ours = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|socket| {
            socket[1].ends_with(&format!(":{port:04X}")) && socket[2].ends_with(&format!(":{peer:04X}"))
        });
        ours.is_some_and(|socket| socket[3] == "01" && socket[5].starts_with("02:"))
    };
    for _ in 0..100 {
        if watched() {
            pump.stop().await;
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("nobody looks whether {peer} is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_original_is_there() {
    let original = original("pump-metrics.txt");
    let mut pump = TestPump::start().await;
    let (through, _) = pump.client.transaction(1, 10).await;
    pump.client.pull(0, through).await;
    let missing = async |pump: &TestPump| {
        let ours = request(&pump.addr, "GET", "/metrics").await;
        missing_metrics(&original, ours.split_once("\r\n\r\n").unwrap().1)
    };
    // The pull counts when its end has been noticed, the disk when it was looked at.
    for _ in 0..600 {
        if missing(&pump).await.is_empty() {
            pump.stop().await;
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("missing: {:#?}", missing(&pump).await);
}
