//! A DDL whose job is not there yet is waited for, and named; what an operator does not want is left out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use binlog_catalog::encode::{insert_row, prewrite_value};
use binlog_cluster::{NodeKind, NodeState, NodeStatus};
use binlog_proto::Body;
use binlog_types::{NodeId, SchemaVersion};
use parking_lot::Mutex;
use prost::Message as _;

use crate::large::{Pump, row, schema, serve, table};
use crate::replicate::http;
use crate::site::Site;

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < Duration::from_secs(40), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_waited_for_is_named_and_what_is_not_wanted_is_left_out() {
    let site = Site::new();
    let (first, second) = (table(10, "k", 2, true), table(11, "b", 3, false));
    let rows = |id| {
        let change = insert_row(&first, 0, &row(id, "a")).unwrap();
        let value = prewrite_value(SchemaVersion(2), vec![(first.id, vec![change])]);
        Body { prewrite_value: Some(value), ..Body::default() }
    };
    let ddl =
        |job| Body { ddl_query: Some("…".into()), ddl_job_id: job, ddl_schema_state: 5, ..Body::default() };
    let records = [(4, ddl(100)), (10, rows(1)), (15, ddl(101)), (20, rows(2)), (25, rows(3))];
    let records = records.into_iter().map(|(ts, body)| (ts, body.encode_to_vec().into())).collect();
    let cluster = site.cluster();
    let known = Arc::new(Mutex::new(schema(&[&first])));
    let pump = Pump { cluster: cluster.cluster_id().0, schema: Arc::clone(&known), records };
    let node =
        NodeStatus::new(NodeId::new("pump").unwrap(), serve(pump).await.to_string(), NodeState::Online);
    cluster.registry().put(NodeKind::Pump, &node).await.unwrap();

    let drainer = site.drainer().await;
    let addr = drainer.addr.clone();
    until("it does not say what it waits for", async || {
        let status = http(&addr, "GET /status").await;
        status.contains("DDL job 101, which the record at commit_ts 15 needs")
    })
    .await;
    let refused = http(&addr, "PUT /skip/later").await;
    assert!(refused.contains("\"code\": 3") && refused.contains("is no commit_ts"), "{refused}");
    let taken = http(&addr, "PUT /skip/20").await;
    assert!(taken.contains("\"code\": 200"), "{taken}");
    known.lock().extend(schema(&[&second]));
    until("it does not go on", async || site.checkpoint().await.raw() >= 25).await;
    assert_eq!((site.digest("d.k").await.rows, site.digest("d.b").await.rows), (2, 0));
    let refused = http(&addr, "PUT /skip/20").await;
    assert!(refused.contains("\"code\": 3") && refused.contains("it is applied"), "{refused}");
    drainer.stop().await;

    let drainer = site.drainer().await;
    let status = http(&drainer.addr, "GET /status").await;
    assert!(status.contains("\"Skips\":[{\"commit_ts\":20,"), "{status}");
    drainer.stop().await;
}
