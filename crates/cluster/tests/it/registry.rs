//! The registry in a real etcd, and in a directory.

use std::time::Duration;

use binlog_cluster::{Error, Life, NodeKind, NodeState, NodeStatus, Registry};
use binlog_testkit::{Etcd, FakeCluster, free_port};
use binlog_types::NodeId;
use etcd_client::Client;

const PUMP: &str = "/tidb-binlog/v1/pumps/pump0";

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn status(name: &str, update_ts: i64) -> NodeStatus {
    NodeStatus { update_ts, ..NodeStatus::new(id(name), "127.0.0.1:18250", NodeState::Online) }
}

#[tokio::test]
async fn etcd_holds_what_an_original_pump_would_write() {
    let cluster = FakeCluster::start().unwrap();
    let registry = Registry::etcd(&[cluster.url()], None).await.unwrap();
    assert_eq!(registry.list(NodeKind::Pump).await.unwrap(), []);
    assert_eq!(registry.get(NodeKind::Pump, &id("pump0")).await.unwrap(), None);

    let mut pump = status("pump0", 470_641_433_747_128_323);
    pump.max_commit_ts = 470_641_433_616_318_465;
    registry.put(NodeKind::Pump, &pump).await.unwrap();
    let mut etcd = Client::connect([cluster.url()], None).await.unwrap();
    let raw = etcd.get(PUMP, None).await.unwrap();
    assert_eq!(
        raw.kvs()[0].value_str().unwrap(),
        r#"{"nodeId":"pump0","host":"127.0.0.1:18250","state":"online","isAlive":false,"score":0,"label":null,"maxCommitTS":470641433616318465,"updateTS":470641433747128323}"#
    );
    pump.state = NodeState::Paused;
    registry.put(NodeKind::Pump, &pump).await.unwrap();
    registry.put(NodeKind::Drainer, &status("d:1", 2)).await.unwrap();
    assert_eq!(registry.get(NodeKind::Pump, &id("pump0")).await.unwrap(), Some(pump.clone()));
    assert_eq!(registry.list(NodeKind::Pump).await.unwrap(), [pump]);
    assert_eq!(registry.list(NodeKind::Drainer).await.unwrap(), [status("d:1", 2)]);
}

#[tokio::test]
async fn one_bad_entry_does_not_hide_the_others() {
    let etcd = Etcd::start().unwrap();
    let registry = Registry::etcd(&[etcd.url()], None).await.unwrap();
    registry.put(NodeKind::Pump, &status("good", 1)).await.unwrap();
    let mut raw = Client::connect([etcd.url()], None).await.unwrap();
    raw.put("/tidb-binlog/v1/pumps/bad", "{", None).await.unwrap();
    raw.put("/tidb-binlog/v1/pumps/null", "null", None).await.unwrap();
    raw.put("/tidb-binlog/v1/pumps/good/deeper", "anything", None).await.unwrap();
    raw.put("/tidb-binlog/v1/pumpsy", "anything", None).await.unwrap();
    assert_eq!(registry.list(NodeKind::Pump).await.unwrap(), [status("good", 1)]);
    let listing = registry.listing(NodeKind::Pump).await.unwrap();
    assert_eq!(listing.malformed.len(), 1);
    assert_eq!(listing.malformed[0].0, "/tidb-binlog/v1/pumps/bad");
    let error = registry.get(NodeKind::Pump, &id("bad")).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    // The owner comes back and repairs it.
    registry.put(NodeKind::Pump, &status("bad", 2)).await.unwrap();
    assert_eq!(registry.list(NodeKind::Pump).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_dead_endpoint_and_a_restart_cost_nothing_but_time() {
    let mut etcd = Etcd::start().unwrap();
    let dead = format!("http://127.0.0.1:{}", free_port());
    for urls in [[dead.clone(), etcd.url()], [etcd.url(), dead]] {
        let registry = Registry::etcd(&urls, None).await.unwrap();
        for n in 0..50 {
            registry.put(NodeKind::Pump, &status("a", n)).await.unwrap();
        }
    }
    let registry = Registry::etcd(&[etcd.url()], None).await.unwrap();
    registry.put(NodeKind::Pump, &status("a", 1)).await.unwrap();
    etcd.kill9();
    let during = tokio::spawn({
        let registry = registry.clone();
        async move { registry.put(NodeKind::Pump, &status("b", 2)).await }
    });
    let _running = tokio::task::spawn_blocking(move || etcd.restart().map(|()| etcd)).await.unwrap().unwrap();
    during.await.unwrap().unwrap();
    assert_eq!(registry.list(NodeKind::Pump).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_never_seen_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::directory(&dir.path().join("cluster")).unwrap();
    assert_eq!(registry.list(NodeKind::Pump).await.unwrap(), []);
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..8i64 {
        let registry = registry.clone();
        writers.spawn(async move {
            for round in 0..10 {
                // All write one node, and each one of its own.
                registry.put(NodeKind::Pump, &status("shared", n * 100 + round)).await.unwrap();
                registry.put(NodeKind::Pump, &status(&format!("host:{n}"), round)).await.unwrap();
                let listing = registry.listing(NodeKind::Pump).await.unwrap();
                assert_eq!(listing.malformed, []);
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let nodes = registry.list(NodeKind::Pump).await.unwrap();
    assert_eq!(nodes.len(), 9);
    assert!(nodes.is_sorted_by_key(|node| node.node_id.clone()));
    assert_eq!(registry.get(NodeKind::Pump, &id("host:3")).await.unwrap(), Some(status("host:3", 9)));
    assert_eq!(registry.list(NodeKind::Drainer).await.unwrap(), []);
    std::fs::write(dir.path().join("cluster/pumps/x.json"), "{").unwrap();
    assert_eq!(registry.listing(NodeKind::Pump).await.unwrap().malformed.len(), 1);
}

fn life(owner: &str, incarnation: u64) -> Life {
    Life { node_id: id("pump0"), host: format!("{owner}:1"), owner: owner.to_owned(), incarnation }
}

/// What both kinds of registry promise about names.
async fn a_name_has_one_owner(registry: &Registry) {
    let ttl = Duration::from_secs(60);
    assert_eq!(registry.lives(NodeKind::Pump).await.unwrap(), []);
    let mut first = registry.claim_life(NodeKind::Pump, life("a", 1), ttl).await.unwrap();
    assert_eq!(registry.lives(NodeKind::Pump).await.unwrap(), [life("a", 1)]);
    assert_eq!(registry.lives(NodeKind::Drainer).await.unwrap(), []);
    let taken = registry.claim_life(NodeKind::Pump, life("b", 1), ttl).await.unwrap_err();
    assert!(matches!(&taken, Error::Taken { host, .. } if host == "a:1"), "{taken}");
    // Not where the original would meet it.
    assert_eq!(registry.listing(NodeKind::Pump).await.unwrap(), Default::default());
    first.renew().await.unwrap();
    first.release().await.unwrap();
    let second = registry.claim_life(NodeKind::Pump, life("b", 1), ttl).await.unwrap();
    second.release().await.unwrap();
    assert_eq!(registry.lives(NodeKind::Pump).await.unwrap(), []);
}

#[tokio::test]
async fn a_name_has_one_owner_in_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    a_name_has_one_owner(&Registry::directory(&dir.path().join("cluster")).unwrap()).await;
}

#[tokio::test]
async fn a_name_has_one_owner_in_etcd() {
    let mut cluster = FakeCluster::start().unwrap();
    let registry = Registry::etcd(&[cluster.url()], None).await.unwrap();
    a_name_has_one_owner(&registry).await;

    // Killed and started again: the mark that was left over is its own.
    let short = Duration::from_secs(2);
    let killed = registry.claim_life(NodeKind::Pump, life("a", 1), short).await.unwrap();
    let mut again = registry.claim_life(NodeKind::Pump, life("a", 2), short).await.unwrap();
    // The old life may not come back.
    let mut killed = killed;
    let mut raw = Client::connect([cluster.url()], None).await.unwrap();
    let leases = raw.leases().await.unwrap().leases().len();
    assert_eq!(leases, 2);
    again.renew().await.unwrap();

    // An etcd that was away for longer than the lease: the mark is made again.
    for lease in raw.leases().await.unwrap().leases() {
        raw.lease_revoke(lease.id()).await.unwrap();
    }
    assert_eq!(registry.lives(NodeKind::Pump).await.unwrap(), []);
    again.renew().await.unwrap();
    assert_eq!(registry.lives(NodeKind::Pump).await.unwrap(), [life("a", 2)]);
    assert!(matches!(killed.renew().await, Err(Error::Taken { .. })));
    cluster.etcd().unwrap().restart().unwrap();
    again.renew().await.unwrap();

    // Without renewal it ends by itself.
    for _ in 0..300 {
        if registry.lives(NodeKind::Pump).await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the mark of a dead node stays");
}

/// PD compacts its etcd every hour or so.
#[tokio::test]
async fn a_compaction_is_not_noticed() {
    let etcd = Etcd::start().unwrap();
    let registry = Registry::etcd(&[etcd.url()], None).await.unwrap();
    let mut mark = registry.claim_life(NodeKind::Pump, life("a", 1), Duration::from_secs(60)).await.unwrap();
    let mut raw = Client::connect([etcd.url()], None).await.unwrap();
    for n in 0..10 {
        registry.put(NodeKind::Pump, &status("pump0", n)).await.unwrap();
        let revision = raw.get(PUMP, None).await.unwrap().header().unwrap().revision();
        raw.compact(revision, None).await.unwrap();
        assert_eq!(registry.list(NodeKind::Pump).await.unwrap(), [status("pump0", n)]);
        mark.renew().await.unwrap();
    }
}

/// Three members; the one that leads is killed.
#[tokio::test]
async fn a_loss_of_etcds_leader_costs_nothing_but_time() {
    let mut members = Etcd::start_three().unwrap();
    let urls: Vec<String> = members.iter().map(Etcd::url).collect();
    let registry = Registry::etcd(&urls, None).await.unwrap();
    let mut mark = registry.claim_life(NodeKind::Pump, life("a", 1), Duration::from_secs(60)).await.unwrap();
    registry.put(NodeKind::Pump, &status("pump0", 1)).await.unwrap();
    let mut leader = None;
    for (n, url) in urls.iter().enumerate() {
        let status = Client::connect([url], None).await.unwrap().status().await.unwrap();
        if status.header().unwrap().member_id() == status.leader() {
            leader = Some(n);
        }
    }
    members[leader.expect("none of them leads")].kill9();
    registry.put(NodeKind::Pump, &status("pump0", 2)).await.unwrap();
    assert_eq!(registry.list(NodeKind::Pump).await.unwrap(), [status("pump0", 2)]);
    mark.renew().await.unwrap();
    assert_eq!(registry.lives(NodeKind::Pump).await.unwrap(), [life("a", 1)]);
}
