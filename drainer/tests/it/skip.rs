//! A DDL whose job never comes is waited for by name, and left out at an operator's wish.

use std::time::{Duration, Instant};

use binlog_catalog::encode::{insert_row, prewrite_value};
use binlog_cluster::{NodeKind, NodeState, NodeStatus};
use binlog_proto::Body;
use binlog_types::{NodeId, SchemaVersion};
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
async fn what_is_waited_for_is_named_and_may_be_skipped() {
    let site = Site::new();
    let table = table(10, "k", 2, true);
    let rows = |id| {
        let value = prewrite_value(
            SchemaVersion(2),
            vec![(table.id, vec![insert_row(&table, 0, &row(id, "a")).unwrap()])],
        );
        Body { prewrite_value: Some(value), ..Body::default() }
    };
    let ddl = |job| Body {
        ddl_query: Some("alter …".into()),
        ddl_job_id: job,
        ddl_schema_state: 5,
        ..Body::default()
    };
    let records = [(4, ddl(100)), (10, rows(1)), (15, ddl(555)), (20, rows(2))];
    let records = records.into_iter().map(|(ts, body)| (ts, body.encode_to_vec().into())).collect();
    let cluster = site.cluster();
    let pump = Pump { cluster: cluster.cluster_id().0, schema: schema(&[&table]), records };
    let node =
        NodeStatus::new(NodeId::new("pump").unwrap(), serve(pump).await.to_string(), NodeState::Online);
    cluster.registry().put(NodeKind::Pump, &node).await.unwrap();

    let drainer = site.drainer().await;
    let addr = drainer.addr.clone();
    until("it does not say what it waits for", async || {
        http(&addr, "GET /status").await.contains("DDL job 555, which the record at commit_ts 15 needs")
    })
    .await;
    let refused = http(&addr, "PUT /skip/later").await;
    assert!(refused.contains("\"code\": 3") && refused.contains("is no commit_ts"), "{refused}");
    let taken = http(&addr, "PUT /skip/15").await;
    assert!(taken.contains("\"code\": 200"), "{taken}");
    until("it does not go on", async || site.checkpoint().await.raw() >= 20).await;
    assert_eq!(site.digest("d.k").await.rows, 2);
    let refused = http(&addr, "PUT /skip/16").await;
    assert!(refused.contains("\"code\": 3") && refused.contains("it is applied"), "{refused}");
    drainer.stop().await;

    let drainer = site.drainer().await;
    let status = http(&drainer.addr, "GET /status").await;
    assert!(status.contains("\"Skips\":[{\"commit_ts\":15,"), "{status}");
    drainer.stop().await;
}
