//! Members, timestamps, safe points.

use std::collections::BTreeSet;
use std::time::Duration;

use binlog_cluster::{Error, NodeKind, NodeState, NodeStatus, PdClient, Registry};
use binlog_testkit::{FakeCluster, free_port};
use binlog_types::{NodeId, Ts};
use tokio::task::JoinSet;

use crate::connect;

#[tokio::test]
async fn any_living_member_leads_to_the_cluster() {
    let cluster = FakeCluster::without_etcd().unwrap();
    let (dead, other) = (format!("127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port()));
    cluster.set_other_members(&[&other]);
    let urls = [format!("{dead},{}", cluster.url())];
    let pd = PdClient::connect(&urls, None).await.unwrap();
    assert_eq!(pd.cluster_id(), cluster.cluster_id());
    assert_eq!(pd.member_urls(), [format!("http://{dead}"), cluster.url(), other]);
    assert!(pd.ts().await.unwrap().physical() > 1_700_000_000_000);
}

#[tokio::test]
async fn urls_that_cannot_work_are_refused_at_once() {
    for url in ["", "https://127.0.0.1:1", "nowhere", "http://127.0.0.1:1/path"] {
        let error = PdClient::connect(&[url.to_owned()], None).await.unwrap_err();
        assert!(matches!(error, Error::BadUrl { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timestamps_rise_for_each_and_are_never_the_same_for_two() {
    let cluster = FakeCluster::without_etcd().unwrap();
    let pd = connect(&cluster).await;
    let oracle = pd.oracle();
    let mut callers = JoinSet::new();
    for n in 0..64u32 {
        let (pd, oracle) = (pd.clone(), oracle.clone());
        callers.spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..20 {
                seen.push(pd.ts().await.unwrap());
                seen.extend(oracle.many(1 + n % 3).await.unwrap());
            }
            seen
        });
    }
    let mut all = BTreeSet::new();
    let mut count = 0;
    while let Some(seen) = callers.join_next().await {
        let seen = seen.unwrap();
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
        count += seen.len();
        all.extend(seen);
    }
    assert_eq!(all.len(), count);
    assert_eq!(cluster.calls("Tso streams"), 1);
    assert!(cluster.calls("Tso") < 1500, "{} requests for {count} timestamps", cluster.calls("Tso"));
}

#[tokio::test]
async fn an_election_is_waited_out() {
    let cluster = FakeCluster::without_etcd().unwrap();
    let pd = connect(&cluster).await;
    let before = pd.ts().await.unwrap();
    cluster.fail_pd(3);
    assert!(pd.ts().await.unwrap() > before);
    assert_eq!(cluster.calls("Tso streams"), 4);
    cluster.fail_pd(2);
    pd.update_service_safe_point("a", Duration::from_secs(60), Ts::new(7)).await.unwrap();
    assert_eq!(cluster.calls("UpdateServiceGCSafePoint"), 3);
}

#[tokio::test]
async fn a_safe_point_is_held_and_given_up() {
    let cluster = FakeCluster::without_etcd().unwrap();
    let pd = connect(&cluster).await;
    let minute = Duration::from_secs(60);
    assert_eq!(pd.update_service_safe_point("pump", minute, Ts::new(100)).await.unwrap(), Ts::new(100));
    assert_eq!(pd.update_service_safe_point("other", minute, Ts::new(200)).await.unwrap(), Ts::new(100));
    // Too late: not granted, and the answer shows it.
    assert_eq!(pd.update_service_safe_point("late", minute, Ts::new(50)).await.unwrap(), Ts::new(100));
    assert_eq!(pd.update_service_safe_point("pump", Duration::ZERO, Ts::ZERO).await.unwrap(), Ts::new(200));
    assert_eq!(cluster.service_safe_points().into_keys().collect::<Vec<_>>(), ["other"]);
}

/// Three members: leadership moves, members die, the last one is nobody that was configured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_followed_and_dead_members_are_left() {
    let mut cluster = FakeCluster::start().unwrap();
    let first = cluster.url();
    let (second, third) = (cluster.add_member().unwrap(), cluster.add_member().unwrap());
    let pd = PdClient::connect(&[first.clone(), second.clone()], None).await.unwrap();
    let registry = Registry::etcd(std::slice::from_ref(&first), None).await.unwrap();
    let node = NodeStatus::new(NodeId::new("p").unwrap(), "h:1", NodeState::Online);
    registry.put(NodeKind::Pump, &node).await.unwrap();
    assert_eq!(pd.member_urls(), [first.clone(), second.clone(), third.clone()]);

    let mut last = pd.ts().await.unwrap();
    let mut rises = async |pd: &PdClient| {
        for _ in 0..10 {
            let ts = pd.ts().await.unwrap();
            assert!(ts > last, "{ts} after {last}");
            last = ts;
        }
    };
    cluster.elect(&second);
    rises(&pd).await;
    cluster.elect(&third);
    cluster.stop_member(&second);
    rises(&pd).await;
    cluster.stop_member(&first);
    rises(&pd).await;
    // etcd's own member was learnt from the one that is gone.
    assert_eq!(registry.list(NodeKind::Pump).await.unwrap(), [node]);
}
