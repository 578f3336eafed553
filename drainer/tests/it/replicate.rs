//! Rows and DDL arrive, whatever happens to drainer and pumps on the way.

use std::fs;
use std::time::Duration;

use binlog_cluster::{NodeKind, NodeState};
use binlog_testkit::{fixtures::testdata_dir, missing_metrics};
use binlog_workload::{Limit, Options, Workload};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::site::Site;

pub(crate) async fn http(addr: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let text =
        format!("{request} HTTP/1.1\r\nHost: {addr}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn state(site: &Site) -> NodeState {
    site.cluster().registry().list(NodeKind::Drainer).await.unwrap()[0].state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_arrives_through_crashes_and_restarts() {
    let site = Site::new();
    let (a, b) = (site.pump("pump-a").await, site.pump("pump-b").await);
    let cluster = site.cluster();
    let seed = 42;
    let mut workload =
        Workload::connect(&cluster, Options { seed, accounts: 50, ..Options::default() }).await.unwrap();
    let drainer = site.drainer().await;
    workload.create_schema().await.unwrap();
    workload.run(4, Limit::Transactions(50), |_| ()).await.unwrap();
    let first = workload.snapshot().await.unwrap();
    site.expect(&first).await;

    // A crash, with work going on before and after: rows of the table without a key must not come twice.
    workload.run(4, Limit::Transactions(100), |_| ()).await.unwrap();
    drainer.crash().await;
    assert_eq!(state(&site).await, NodeState::Online, "nobody was told");
    workload.run(4, Limit::Transactions(50), |_| ()).await.unwrap();
    let second = workload.snapshot().await.unwrap();
    let drainer = site.drainer().await;
    site.expect(&second).await;

    // An orderly stop.
    drainer.stop().await;
    assert_eq!(state(&site).await, NodeState::Paused);
    workload.run(2, Limit::Transactions(20), |_| ()).await.unwrap();
    workload.delete_all("audit").await.unwrap();
    let third = workload.snapshot().await.unwrap();
    let drainer = site.drainer().await;
    site.expect(&third).await;

    // Nothing happens, and the checkpoint moves all the same.
    let before = site.checkpoint().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(site.checkpoint().await > before, "the checkpoint stands still");
    drainer.stop().await;
    a.until(async {}).await.unwrap();
    b.until(async {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drainer_waits_for_its_first_pump_and_takes_a_new_one_before_it_is_online() {
    let site = Site::new();
    site.cluster();
    let drainer = site.drainer().await;
    let status = http(&drainer.addr, "GET /status").await;
    assert!(status.contains("\"PumpPos\":{}") && status.contains("no pump is registered"), "{status}");
    let a = site.pump("pump-a").await;
    let mut workload =
        Workload::connect(&site.cluster(), Options { seed: 7, accounts: 10, ..Options::default() })
            .await
            .unwrap();
    workload.create_schema().await.unwrap();
    let snapshot = workload.snapshot().await.unwrap();
    site.expect(&snapshot).await;
    let b = site.pump("pump-b").await;
    let status = http(&drainer.addr, "GET /status").await;
    assert!(status.contains("\"pump-a\":") && status.contains("\"pump-b\":"), "{status}");
    assert!(http(&drainer.addr, "GET /commit_ts").await.contains("\"code\": 200"));
    let metrics = http(&drainer.addr, "GET /metrics").await;
    for name in [
        "checkpoint_tso",
        "event",
        "queue_size{name=\"syncer_input\"}",
        "read_binlog_size_count{nodeID=\"pump-a\"}",
        "binlog_reach_duration_time_count{nodeID=\"pump-a\"}",
    ] {
        assert!(metrics.contains(&format!("binlog_drainer_{name}")), "no {name}: {metrics}");
    }
    drainer.stop().await;
    a.until(async {}).await.unwrap();
    b.until(async {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_pauses_and_closes() {
    let site = Site::new();
    let pump = site.pump("pump-a").await;
    let drainer = site.drainer().await;
    let wrong = http(&drainer.addr, "PUT /state/other/pause").await;
    assert!(wrong.contains("\"code\": 3") && wrong.contains("drainer-1"), "{wrong}");
    assert!(http(&drainer.addr, "PUT /state/drainer-1/dance").await.contains("\"code\": 3"));
    assert!(http(&drainer.addr, "PUT /state/drainer-1/pause").await.contains("\"code\": 200"));
    drainer.ends().await.unwrap();
    assert_eq!(state(&site).await, NodeState::Paused);
    let drainer = site.drainer().await;
    assert!(http(&drainer.addr, "PUT /state/drainer-1/close").await.contains("\"code\": 200"));
    drainer.ends().await.unwrap();
    assert_eq!(state(&site).await, NodeState::Offline);
    pump.until(async {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_original_is_there() {
    let site = Site::new();
    let pump = site.pump("pump0").await;
    let mut workload =
        Workload::connect(&site.cluster(), Options { seed: 5, accounts: 20, ..Options::default() })
            .await
            .unwrap();
    workload.create_schema().await.unwrap();
    workload.run(2, Limit::Transactions(50), |_| ()).await.unwrap();
    workload.delete_all("audit").await.unwrap();
    let drainer = site.drainer().await;
    site.expect(&workload.snapshot().await.unwrap()).await;
    let original = fs::read_to_string(testdata_dir().join("surface/drainer-metrics.txt")).unwrap();
    let ours = http(&drainer.addr, "GET /metrics").await;
    let missing = missing_metrics(&original, ours.split_once("\r\n\r\n").unwrap().1);
    assert!(missing.is_empty(), "{missing:#?}");
    drainer.stop().await;
    pump.until(async {}).await.unwrap();
}
