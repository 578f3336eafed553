//! PullBinlogs: order, positions, fakes.

use binlog_proto::binlog::{Pos, PullBinlogReq};
use tonic::Code;

use crate::harness::{TestPump, commit, joined, prewrite};
use crate::http::request;

#[tokio::test(flavor = "multi_thread")]
async fn commits_out_of_order_come_in_order() {
    let mut pump = TestPump::start().await;
    let client = &mut pump.client;
    let (a, b) = (prewrite(client.ts().await, 1, 10), prewrite(client.ts().await, 2, 5_000_000));
    client.send(&a).await.unwrap();
    client.send(&b).await.unwrap();
    let (first, second) = (commit(&b, client.ts().await), commit(&a, client.ts().await));
    client.send(&second).await.unwrap();
    client.send(&first).await.unwrap();
    let expected = [joined(&b, &first), joined(&a, &second)];
    assert_eq!(client.pull(0, second.commit_ts).await, expected);
    // The start is exclusive.
    assert_eq!(client.pull(first.commit_ts, second.commit_ts).await, [expected[1].clone()]);
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let mut pump = TestPump::start().await;
    let (first, one) = pump.client.transaction(1, 100).await;
    let open = prewrite(pump.client.ts().await, 1, 100);
    pump.client.send(&open).await.unwrap();
    let before = pump.client.hello.clone();

    let mut pump = pump.restart().await;
    let after = pump.client.hello.clone();
    assert_eq!(after.store_uuid, before.store_uuid);
    assert!(after.incarnation > before.incarnation);
    assert_eq!(after.registration_ts, before.registration_ts);
    let done = commit(&open, pump.client.ts().await);
    pump.client.send(&done).await.unwrap();
    assert_eq!(pump.client.pull(0, done.commit_ts).await, [one, joined(&open, &done)]);
    assert!(first < done.commit_ts);
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_pump_sends_rising_fakes() {
    let mut pump = TestPump::start().await;
    let request = PullBinlogReq {
        cluster_id: pump.client.hello.cluster_id,
        start_from: Some(Pos { suffix: 0, offset: 0 }),
    };
    let mut stream = pump.client.pump.pull_binlogs(request).await.unwrap().into_inner();
    let mut last = 0;
    for _ in 0..2 {
        let entity = stream.message().await.unwrap().unwrap().entity.unwrap();
        let meta = entity.meta.unwrap();
        assert_eq!(meta.start_ts, meta.commit_ts);
        assert!(meta.commit_ts > last);
        assert_eq!(entity.payload[..2], [0x08, 2]);
        last = meta.commit_ts;
    }
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_is_refused() {
    let mut pump = TestPump::start().await;
    let request = PullBinlogReq { cluster_id: 1, start_from: None };
    let status = pump.client.pump.pull_binlogs(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert!(status.message().starts_with("cluster ID are mismatch, 1 vs "));
    pump.stop().await;
}

/// The original leaves such a commit out, says so and counts it: dashboards alert on that.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_prewrite_is_left_out_and_counted() {
    let mut pump = TestPump::start().await;
    let never_sent = prewrite(pump.client.ts().await, 1, 10);
    let alone = commit(&never_sent, pump.client.ts().await);
    pump.client.send(&alone).await.unwrap();
    let (through, expected) = pump.client.transaction(1, 10).await;
    assert_eq!(pump.client.pull(0, through).await, [expected]);
    let counted = async {
        let line = "binlog_pump_storage_error_count{type=\"feed_pre_write_value\"} 1\n";
        while !request(&pump.addr, "GET", "/metrics").await.contains(line) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), counted).await.expect("nobody counts it");
    pump.stop().await;
}
