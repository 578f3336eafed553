//! PutSchema and Schema.

use std::time::{Duration, Instant};

use binlog_catalog::meta::{job_key, schema_version_key};
use binlog_proto::binlog::Binlog;
use binlog_proto::detail_of;
use binlog_proto::store::error_detail::Kind;
use binlog_proto::store::{ObjectKind, PutSchemaRequest, SchemaObject, SchemaRequest, SchemaResponse};
use binlog_testkit::FakeCluster;
use binlog_types::JobId;

use crate::harness::{Client, TestPump, commit, prewrite};
use crate::replay;

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

/// Readers that do not know of them would refuse their kind.
#[tokio::test(flavor = "multi_thread")]
async fn steps_come_apart_from_the_objects() {
    let mut pump = TestPump::start().await;
    let (table, step) = (object(ObjectKind::Table, 10, 2), object(ObjectKind::Step, 10, 3));
    put(&mut pump.client, vec![table.clone(), step.clone()], 3).await;
    let mut pump = pump.restart().await;
    let all = SchemaRequest { after_version: -1, ..Default::default() };
    let answers = schema(&mut pump.client, all).await.unwrap();
    assert_eq!(
        (answers.len(), &answers[0].objects, &answers[0].steps),
        (1, &vec![table], &vec![step.clone()])
    );
    let later = SchemaRequest { after_version: 2, ..Default::default() };
    let answers = schema(&mut pump.client, later).await.unwrap();
    assert_eq!((answers.len(), answers[0].objects.len(), &answers[0].steps), (1, 0, &vec![step]));
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

/// Ids of jobs come from a counter that tables and partitions use, too: one that ran long is filed away far below the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_found_by_its_id_however_low_that_is() {
    let cluster = FakeCluster::start().unwrap();
    let file_away = |id: i64| {
        let job = format!(
            r#"{{"id":{id},"type":61,"state":3,"schema_id":2,"start_ts":5,"query":"…","binlog":{{"SchemaVersion":0,"FinishedTS":9}}}}"#
        );
        cluster.put(job_key(JobId(id)), cluster.now(), Some(job.as_bytes()));
    };
    cluster.put(schema_version_key(), cluster.now(), Some(b"1"));
    file_away(10_000);
    let mut pump = replay::start(&cluster, 0).await;
    let request = |id, wait_millis| SchemaRequest {
        after_version: i64::MAX,
        need_job: id,
        wait_millis,
        ..Default::default()
    };
    assert!(schema(&mut pump.client, request(10_000, 20_000)).await.is_ok());
    file_away(5_000);
    file_away(4_000);
    // A reader asks for one.
    let found = schema(&mut pump.client, request(5_000, 20_000)).await.unwrap();
    assert_eq!(found[0].objects.iter().map(|o| o.id).collect::<Vec<_>>(), [5_000]);
    // The other one has a binlog here.
    let ddl = |binlog: Binlog| Binlog { ddl_query: Some("…".into()), ddl_job_id: 4_000, ..binlog };
    let p = Binlog { prewrite_value: None, ..ddl(prewrite(cluster.now().as_i64(), 1, 10)) };
    pump.client.send(&p).await.unwrap();
    pump.client.send(&ddl(commit(&p, cluster.now().as_i64()))).await.unwrap();
    let begun = Instant::now();
    loop {
        let all = SchemaRequest { after_version: -1, ..Default::default() };
        let all = schema(&mut pump.client, all).await.unwrap();
        if all.iter().flat_map(|part| &part.objects).any(|o| o.id == 4_000) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody looked for the job");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    pump.stop().await;
}
