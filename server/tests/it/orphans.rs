//! Prewrites whose outcome never came, with a TiKV that answers as real ones do: elections, moved regions, live and dead locks.

use std::time::Duration;

use binlog_proto::binlog::{Binlog, BinlogType};
use binlog_testkit::{FakeCluster, Outcome, RegionFault};
use binlog_types::{CommitTs, StartTs, Ts};
use prost::Message;
use tokio::time::{sleep, timeout};

use crate::harness::{Client, commit, prewrite};
use crate::http::request;
use crate::replay;

const PATIENCE: Duration = Duration::from_secs(90);

/// An orphan, and its primary key.
async fn orphan(cluster: &FakeCluster, client: &mut Client) -> (Binlog, Vec<u8>, StartTs) {
    let p = prewrite(cluster.now().as_i64(), 1, 10);
    client.send(&p).await.unwrap();
    let key = p.prewrite_key.clone().unwrap().to_vec();
    let start_ts = StartTs::new(p.start_ts as u64);
    (p, key, start_ts)
}

/// What a drainer gets: start and commit of each transaction.
async fn pulled(client: &mut Client, through: i64) -> Vec<(i64, i64)> {
    let payloads = timeout(PATIENCE, client.pull(0, through)).await.expect("the stream stands");
    let decode = |payload| Binlog::decode(payload).unwrap();
    payloads.into_iter().map(decode).map(|b: Binlog| (b.start_ts, b.commit_ts)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_learnt_through_elections_and_moved_regions() {
    let cluster = FakeCluster::start().unwrap();
    let mut pump = replay::start(&cluster, 0).await;
    let mut expected = Vec::new();
    for n in 0..20 {
        let (p, key, start_ts) = orphan(&cluster, &mut pump.client).await;
        if n % 4 == 3 {
            cluster.set_txn(key, start_ts, Outcome::RolledBack);
        } else {
            let commit_ts = cluster.now().as_i64();
            cluster.set_txn(key, start_ts, Outcome::Committed(CommitTs::new(commit_ts as u64)));
            expected.push((p.start_ts, commit_ts));
        }
    }
    cluster.fail_regions([
        RegionFault::NotLeader { hint: true },
        RegionFault::NotLeader { hint: false },
        RegionFault::EpochNotMatch,
        RegionFault::RegionNotFound,
        RegionFault::ServerIsBusy,
        RegionFault::Unknown,
        RegionFault::Unavailable,
    ]);
    // One store answers late: only its own question waits.
    cluster.delay_store(Duration::from_secs(3));
    cluster.cut_regions(&[b"key-", b"key-47"]);
    cluster.move_leaders();
    cluster.fail_pd(2);
    let last = cluster.now().as_i64();
    assert_eq!(pulled(&mut pump.client, last).await, expected);
    assert_eq!(cluster.calls("KvCheckTxnStatus"), 0, "a write record says it all");
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_lock_is_waited_for_and_a_dead_one_rolled_back() {
    let cluster = FakeCluster::start().unwrap();
    let mut pump = replay::start(&cluster, 0).await;
    let (dead, dead_key, dead_ts) = orphan(&cluster, &mut pump.client).await;
    cluster.set_txn(dead_key.clone(), dead_ts, Outcome::Locked { ttl_ms: 4_000 });
    let (live, live_key, live_ts) = orphan(&cluster, &mut pump.client).await;
    cluster.set_txn(live_key.clone(), live_ts, Outcome::Locked { ttl_ms: 3_600_000 });
    let rolled_back = async {
        while cluster.txn(&dead_key, dead_ts) != Some(Outcome::RolledBack) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, rolled_back).await.expect("the dead lock stands");
    assert!(cluster.calls("KvCheckTxnStatus") >= 2);
    assert_eq!(cluster.txn(&live_key, live_ts), Some(Outcome::Locked { ttl_ms: 3_600_000 }));
    // While there are orphans, TiKV keeps their outcomes; old ones hold the safe point.
    let held = async {
        while cluster.service_safe_points().values().next().copied() != Some(live_ts.ts().prev()) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, held).await.expect("no safe point is held");
    let commit_ts = cluster.now().as_i64();
    cluster.set_txn(live_key, live_ts, Outcome::Committed(CommitTs::new(commit_ts as u64)));
    assert_eq!(pulled(&mut pump.client, commit_ts).await, [(live.start_ts, commit_ts)]);
    let let_go = async {
        while !cluster.service_safe_points().is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, let_go).await.expect("the safe point is held for nobody");
    // A commit that TiDB sends late for what was rolled back by then would be news; the rollback of it is none.
    let late = Binlog { tp: BinlogType::Rollback as i32, ..commit(&dead, 0) };
    pump.client.send(&late).await.unwrap();
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_can_be_looked_at_with_what_tikv_knows() {
    let cluster = FakeCluster::start().unwrap();
    let mut pump = replay::start(&cluster, 0).await;
    let (p, key, start_ts) = orphan(&cluster, &mut pump.client).await;
    cluster.set_txn(key, start_ts, Outcome::Locked { ttl_ms: 60_000 });
    let reply = request(&pump.addr, "GET", &format!("/debug/binlog/{}", p.start_ts)).await;
    assert!(reply.contains("PrewriteValue: \nschema_version:3"), "{reply}");
    let expected = format!("GetMvccByEncodedKey: \ninfo:<lock:<start_ts:{start_ts} primary:");
    assert!(reply.contains(&expected), "{reply}");
    pump.client.send(&commit(&p, cluster.now().as_i64())).await.unwrap();
    pump.stop().await;
}

/// PD and its etcd go away under a pump that serves: it goes on serving, and comes back into the registry by itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_pd_costs_nothing_but_time() {
    let mut cluster = FakeCluster::start().unwrap();
    let mut pump = replay::start(&cluster, 0).await;
    let start = |cluster: &FakeCluster| prewrite(cluster.now().as_i64(), 1, 10);
    let p = start(&cluster);
    pump.client.send(&p).await.unwrap();
    cluster.etcd().unwrap().kill9();
    cluster.fail_pd(5);
    let c = commit(&p, cluster.now().as_i64());
    pump.client.send(&c).await.unwrap();
    let during = start(&cluster);
    pump.client.send(&during).await.unwrap();
    cluster.etcd().unwrap().restart().unwrap();
    let done = commit(&during, cluster.now().as_i64());
    pump.client.send(&done).await.unwrap();
    let expected = [(p.start_ts, c.commit_ts), (during.start_ts, done.commit_ts)];
    assert_eq!(pulled(&mut pump.client, done.commit_ts).await, expected);
    let registry = binlog_cluster::Registry::etcd(&[cluster.url()], None).await.unwrap();
    let back = async {
        loop {
            let nodes = registry.list(binlog_cluster::NodeKind::Pump).await;
            if nodes.is_ok_and(|nodes| nodes[0].max_commit_ts >= done.commit_ts)
                && registry.lives(binlog_cluster::NodeKind::Pump).await.is_ok_and(|lives| lives.len() == 1)
            {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, back).await.expect("the registry does not hear of it again");
    pump.stop().await;
}

/// PD's leader changes, and the member that the pump was given goes away: writes, timestamps and the registry go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_pds_leader_is_not_noticed() {
    let mut cluster = FakeCluster::start().unwrap();
    let (first, second) = (cluster.url(), cluster.add_member().unwrap());
    let third = cluster.add_member().unwrap();
    let mut pump = replay::start(&cluster, 0).await;
    for leader in [&second, &third] {
        cluster.elect(leader);
        if *leader == third {
            cluster.stop_member(&first);
            cluster.stop_member(&second);
        }
        let (p, key, start_ts) = orphan(&cluster, &mut pump.client).await;
        let commit_ts = cluster.now().as_i64();
        if *leader == second {
            cluster.set_txn(key, start_ts, Outcome::Committed(CommitTs::new(commit_ts as u64)));
        } else {
            // TiKV went away with the first member.
            pump.client.send(&commit(&p, commit_ts)).await.unwrap();
        }
        let found = pulled(&mut pump.client, commit_ts).await;
        assert_eq!(found.last(), Some(&(p.start_ts, commit_ts)));
    }
    let registry = binlog_cluster::Registry::etcd(&[third], None).await.unwrap();
    pump.stop().await;
    let nodes = registry.list(binlog_cluster::NodeKind::Pump).await.unwrap();
    assert_eq!(nodes[0].state, binlog_cluster::NodeState::Paused);
}

/// A clock that jumps, PD's here, makes nobody old: how long a prewrite is open is measured by this machine's steady clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_jump_of_pds_clock_rolls_nothing_back() {
    let cluster = FakeCluster::start().unwrap();
    let mut pump = replay::start(&cluster, 0).await;
    let (p, key, start_ts) = orphan(&cluster, &mut pump.client).await;
    let before = cluster.now();
    cluster.set_tso_floor(Ts::compose(before.physical() + 7_200_000, 0));
    assert!(cluster.now().physical() > before.physical() + 7_000_000);
    // TiDB has not locked its key yet, and is asked about more than once meanwhile.
    let asked = async {
        while cluster.calls("MvccGetByKey") < 3 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, asked).await.expect("nobody asks");
    assert_eq!(cluster.calls("KvCheckTxnStatus"), 0);
    assert_eq!(cluster.txn(&key, start_ts), None);
    let commit_ts = cluster.now().as_i64();
    pump.client.send(&commit(&p, commit_ts)).await.unwrap();
    assert_eq!(pulled(&mut pump.client, commit_ts).await, [(p.start_ts, commit_ts)]);
    pump.stop().await;
}
