//! PutSchema and Schema.

use std::time::Duration;

use binlog_proto::detail_of;
use binlog_proto::store::error_detail::Kind;
use binlog_proto::store::{ObjectKind, PutSchemaRequest, SchemaObject, SchemaRequest, SchemaResponse};

use crate::harness::{Client, TestPump};

fn object(kind: ObjectKind, id: i64, schema_version: i64) -> SchemaObject {
    SchemaObject {
        kind: kind as i32,
        id,
        schema_version,
        json: format!("{{\"id\":{id}}}").into(),
        ..Default::default()
    }
}

async fn put(client: &mut Client, objects: Vec<SchemaObject>, complete_version: i64) {
    let request = PutSchemaRequest { cluster_id: client.hello.cluster_id, objects, complete_version };
    client.store.put_schema(request).await.unwrap();
}

async fn schema(client: &mut Client, request: SchemaRequest) -> Result<Vec<SchemaResponse>, tonic::Status> {
    let mut stream = client.store.schema(request).await?.into_inner();
    let mut responses = Vec::new();
    while let Some(response) = stream.message().await? {
        responses.push(response);
    }
    Ok(responses)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_comes_in_order_and_survives_a_restart() {
    let mut pump = TestPump::start().await;
    let (db, job) = (object(ObjectKind::Database, 1, 1), object(ObjectKind::Job, 100, 2));
    let (v2, v3) = (object(ObjectKind::Table, 10, 2), object(ObjectKind::Table, 10, 3));
    put(&mut pump.client, vec![v3.clone(), db.clone(), v2.clone(), job.clone()], 3).await;
    let mut pump = pump.restart().await;
    let all =
        schema(&mut pump.client, SchemaRequest { after_version: -1, ..Default::default() }).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].complete_version, 3);
    assert_eq!(all[0].objects, [db, v2, job.clone(), v3.clone()]);
    let later = SchemaRequest { after_version: 2, need_job: 100, ..Default::default() };
    assert_eq!(schema(&mut pump.client, later).await.unwrap()[0].objects, [job, v3]);
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_for_the_version_it_needs() {
    let mut pump = TestPump::start().await;
    let request =
        |wait_millis| SchemaRequest { after_version: -1, need_version: 5, wait_millis, ..Default::default() };
    let status = schema(&mut pump.client, request(20)).await.unwrap_err();
    assert!(matches!(detail_of(&status), Some(Kind::SchemaNotYet(_))), "{status:?}");
    let mut other = pump.client.clone();
    let waiting = tokio::spawn(async move { schema(&mut other, request(10_000)).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    put(&mut pump.client, vec![object(ObjectKind::Table, 10, 5)], 5).await;
    assert_eq!(waiting.await.unwrap().unwrap()[0].complete_version, 5);
    pump.stop().await;
}
