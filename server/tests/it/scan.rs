//! Scan: bounded, following, filtered, refused.

use std::time::Duration;

use binlog_proto::detail_of;
use binlog_proto::store::error_detail::Kind;
use binlog_proto::store::{ObjectKind, PutSchemaRequest, ScanRequest, SchemaObject};
use tokio::time::timeout;
use tonic::Code;

use crate::harness::{Client, TestPump, commit, prewrite};

async fn scan(client: &mut Client, request: ScanRequest) -> Result<Vec<u64>, tonic::Status> {
    let mut stream = client.store.scan(request).await?.into_inner();
    let (mut found, mut complete, mut ended) = (Vec::new(), 0, false);
    while let Some(response) = stream.message().await? {
        assert!(!ended, "something after the end");
        assert!(response.complete_through >= complete);
        complete = response.complete_through;
        ended = response.end;
        found.extend(response.fragments.iter().filter(|f| f.sequence == 0).map(|f| f.commit_ts));
    }
    assert!(ended, "no end");
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_exclusive_below_and_inclusive_above() {
    let mut pump = TestPump::start().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(u64::try_from(pump.client.transaction(1, 50).await.0).unwrap());
    }
    let request = ScanRequest {
        after: all[0],
        through: all[3],
        wait_millis: 5_000,
        max_batch_bytes: 60,
        ..Default::default()
    };
    assert_eq!(scan(&mut pump.client, request).await.unwrap(), all[1..=3]);
    let nothing = ScanRequest { after: all[3], through: all[1], wait_millis: 0, ..Default::default() };
    assert!(scan(&mut pump.client, nothing).await.unwrap().is_empty());
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn following_wakes_at_once() {
    let mut pump = TestPump::start().await;
    let after = pump.client.hello.watermark;
    let mut stream = pump
        .client
        .store
        .scan(ScanRequest { after, follow: true, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let (commit_ts, _) = pump.client.transaction(1, 50).await;
    let found = timeout(Duration::from_secs(5), async {
        loop {
            let response = stream.message().await.unwrap().unwrap();
            if let Some(fragment) = response.fragments.first() {
                return fragment.commit_ts;
            }
        }
    });
    assert_eq!(found.await.unwrap(), commit_ts as u64);
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_here_yet_is_said() {
    let mut pump = TestPump::start().await;
    let open = prewrite(pump.client.ts().await, 1, 10);
    pump.client.send(&open).await.unwrap();
    let through = pump.client.ts().await as u64;
    for wait_millis in [0, 50] {
        let request = ScanRequest { through, wait_millis, ..Default::default() };
        let status = scan(&mut pump.client, request).await.unwrap_err();
        assert!(matches!(detail_of(&status), Some(Kind::NotYet(_))), "{status:?}");
    }
    // It comes while a reader waits for it.
    let done = commit(&open, pump.client.ts().await);
    let mut other = pump.client.clone();
    let through = done.commit_ts as u64;
    let waiting = tokio::spawn(async move {
        scan(&mut other, ScanRequest { through, wait_millis: 10_000, ..Default::default() }).await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    pump.client.send(&done).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), [through]);
    pump.stop().await;
}

/// A commit whose prewrite never came: nobody reads over it unasked.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_ends_a_scan_that_does_not_know_of_it() {
    let mut pump = TestPump::start().await;
    let before = u64::try_from(pump.client.transaction(1, 50).await.0).unwrap();
    let lost = prewrite(pump.client.ts().await, 1, 10);
    let lost = commit(&lost, pump.client.ts().await);
    pump.client.send(&lost).await.unwrap();
    let behind = u64::try_from(pump.client.transaction(1, 50).await.0).unwrap();
    let at = lost.commit_ts as u64;
    let request = ScanRequest { through: behind, wait_millis: 10_000, ..Default::default() };
    let mut stream = pump.client.store.scan(request.clone()).await.unwrap().into_inner();
    let mut found = Vec::new();
    let status = loop {
        match stream.message().await {
            Ok(Some(response)) => found.extend(response.fragments.into_iter().map(|f| f.commit_ts)),
            Ok(None) => panic!("it ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(found, [before]);
    let Some(Kind::Gap(gap)) = detail_of(&status) else { panic!("{status:?}") };
    assert_eq!((gap.after, gap.through), (at - 1, at));
    let knowing = ScanRequest { accepted_gaps: vec![gap], ..request.clone() };
    assert_eq!(scan(&mut pump.client, knowing).await.unwrap(), [before, behind]);
    let from_behind = ScanRequest { after: at, ..request };
    assert_eq!(scan(&mut pump.client, from_behind).await.unwrap(), [behind]);
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused() {
    let mut pump = TestPump::start().await;
    let status = scan(&mut pump.client, ScanRequest { store_uuid: vec![1; 16].into(), ..Default::default() })
        .await
        .unwrap_err();
    assert!(matches!(detail_of(&status), Some(Kind::WrongStore(_))), "{status:?}");
    let status =
        scan(&mut pump.client, ScanRequest { cluster_id: 1, ..Default::default() }).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(matches!(detail_of(&status), Some(Kind::WrongCluster(_))), "{status:?}");
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_filtered_by_name_and_strangers_pass() {
    let mut pump = TestPump::start().await;
    let object = |kind: ObjectKind, id, parent_id, json: &str| SchemaObject {
        kind: kind as i32,
        id,
        parent_id,
        schema_version: 1,
        json: json.to_owned().into(),
        ..Default::default()
    };
    let objects = vec![
        object(ObjectKind::Database, 1, 0, r#"{"id":1,"db_name":{"O":"Shop","L":"shop"}}"#),
        object(ObjectKind::Table, 10, 1, r#"{"id":10,"name":{"O":"orders","L":"orders"}}"#),
        object(ObjectKind::Table, 11, 1, r#"{"id":11,"name":{"O":"items","L":"items"}}"#),
    ];
    let request = PutSchemaRequest { cluster_id: pump.client.hello.cluster_id, objects, complete_version: 3 };
    pump.client.store.put_schema(request).await.unwrap();
    let orders = pump.client.transaction(10, 10).await.0 as u64;
    pump.client.transaction(11, 10).await;
    let unknown = pump.client.transaction(12, 10).await.0 as u64;
    let request = |pattern: &str| ScanRequest {
        through: unknown,
        wait_millis: 5_000,
        table_patterns: vec![pattern.to_owned()],
        ..Default::default()
    };
    assert_eq!(scan(&mut pump.client, request("shop.ord*")).await.unwrap(), [orders, unknown]);
    assert_eq!(scan(&mut pump.client, request("bad")).await.unwrap_err().code(), Code::InvalidArgument);
    pump.stop().await;
}
