//! Captured traffic of a real TiDB, sent to pumps of a fake PD, TiKV and a real etcd.

use std::time::Duration;

use binlog_cluster::NodeState;
use binlog_proto::binlog::Binlog;
use binlog_proto::store::{ObjectKind, SchemaObject, SchemaRequest};
use binlog_testkit::{FakeCluster, Outcome, Replayer, fixtures};
use bytes::Bytes;
use prost::Message;
use tokio::time::timeout;

use crate::harness::{Client, Root, TestPump, config};

pub(crate) async fn start(cluster: &FakeCluster, n: usize) -> TestPump {
    let root = Root::new();
    let mut config = config(&root);
    config.node_id = format!("pump-{n}");
    config.cluster_dir = String::new();
    config.pd_urls = vec![cluster.url()];
    TestPump::start_with(root, config).await
}

fn commit_ts(payload: &Bytes) -> i64 {
    Binlog::decode(payload.clone()).unwrap().commit_ts
}

/// Every pump's answer is what the original's was, byte for byte.
async fn compare(name: &str, pumps: &mut [TestPump]) {
    for (n, pump) in pumps.iter_mut().enumerate() {
        let expected = fixtures::pulled(name, u8::try_from(n).unwrap()).unwrap();
        let last = commit_ts(expected.last().unwrap());
        let pulled = timeout(Duration::from_secs(60), pump.client.pull(0, last)).await;
        let pulled = pulled.unwrap_or_else(|_| panic!("{name}: pump {n} does not get to {last}"));
        assert_eq!(pulled.len(), expected.len(), "{name}: pump {n}");
        for (ours, theirs) in pulled.iter().zip(&expected) {
            assert!(ours == theirs, "{name}: pump {n} differs at {}", commit_ts(theirs));
        }
    }
}

async fn replay(name: &str, pumps: usize) -> (FakeCluster, Vec<TestPump>) {
    let cluster = FakeCluster::for_fixture(name).unwrap();
    let started = replay_on(&cluster, name, pumps).await;
    (cluster, started)
}

async fn replay_on(cluster: &FakeCluster, name: &str, pumps: usize) -> Vec<TestPump> {
    // The captured answers show locks; how long a lock lives is asked in another way.
    for answer in fixtures::mvcc(name).unwrap_or_default() {
        let lock = answer.response.info.and_then(|info| info.lock);
        if lock.is_some_and(|lock| lock.start_ts == answer.start_ts.raw()) {
            cluster.set_txn(answer.key, answer.start_ts, Outcome::Locked { ttl_ms: 3_000 });
        }
    }
    let mut started = Vec::new();
    for n in 0..pumps {
        started.push(start(cluster, n).await);
    }
    let addrs: Vec<String> = started.iter().map(|pump| pump.addr.clone()).collect();
    let replayer = Replayer::fixture(name, &addrs).unwrap().concurrency(8);
    replayer.run_all(Some(cluster)).await.unwrap();
    started
}

async fn schema(client: &mut Client, need_version: i64) -> (Vec<SchemaObject>, i64) {
    let request =
        SchemaRequest { after_version: -1, need_version, wait_millis: 30_000, ..Default::default() };
    let mut stream = client.store.schema(request).await.unwrap().into_inner();
    let (mut objects, mut complete) = (Vec::new(), 0);
    while let Some(response) = stream.message().await.unwrap() {
        objects.extend(response.objects);
        complete = response.complete_version;
    }
    (objects, complete)
}

fn final_version(name: &str) -> i64 {
    let key = binlog_catalog::meta::schema_version_key();
    let meta = fixtures::meta(name).unwrap();
    let (_, value) = meta.iter().find(|(k, _)| *k == key).unwrap();
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

/// One pump, from the bootstrap of the cluster on; also its place in etcd and its schema history.
#[tokio::test(flavor = "multi_thread")]
async fn the_walk_through_is_answered_as_by_the_original() {
    let (cluster, mut pumps) = replay("seed", 1).await;
    compare("seed", &mut pumps).await;
    let version = final_version("seed");
    let (objects, complete) = schema(&mut pumps[0].client, version).await;
    assert_eq!(complete, version);
    assert!(objects.iter().any(|o| o.kind == ObjectKind::Job as i32));
    assert!(objects.iter().any(|o| o.kind == ObjectKind::Table as i32 && !o.dropped));
    let registry = binlog_cluster::Registry::etcd(&[cluster.url()], None).await.unwrap();
    let state = async || registry.list(binlog_cluster::NodeKind::Pump).await.unwrap()[0].state;
    assert_eq!(state().await, NodeState::Online);
    pumps.remove(0).stop().await;
    assert_eq!(state().await, NodeState::Paused);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_ddl_is_answered_and_its_schema_followed() {
    let (_cluster, pumps) = replay("ddl", 1).await;
    check_ddl(pumps).await;
}

/// A storage node that does not say what is not there: diffs name partitions, which have no entry of their own.
#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_followed_where_absence_is_an_empty_value() {
    let cluster = FakeCluster::for_fixture("ddl").unwrap();
    cluster.answer_as_unistore();
    let pumps = replay_on(&cluster, "ddl", 1).await;
    check_ddl(pumps).await;
}

async fn check_ddl(mut pumps: Vec<TestPump>) {
    compare("ddl", &mut pumps).await;
    let version = final_version("ddl");
    let (objects, complete) = schema(&mut pumps[0].client, version).await;
    assert_eq!(complete, version);
    // Made by a partition exchange: in no job, only in a diff.
    assert!(objects.iter().any(|o| o.kind == ObjectKind::Table as i32 && o.id == 188), "table 188");
    pumps.remove(0).stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_pumps_answer_as_the_originals() {
    let (_cluster, mut pumps) = replay("txn", 3).await;
    compare("txn", &mut pumps).await;
    for pump in pumps {
        pump.stop().await;
    }
}

/// TiDB was killed: three prewrites have no commit binlog, and TiKV knows what became of them.
#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_resolved_as_by_the_original() {
    let (_cluster, mut pumps) = replay("crash", 2).await;
    compare("crash", &mut pumps).await;
    for pump in pumps {
        pump.stop().await;
    }
}
