//! Reads across regions that move, and the outcome of transactions.

use std::time::{Duration, Instant};

use binlog_cluster::{CheckTxnStatus, KeyValue, TikvClient, TxnStatus};
use binlog_testkit::{FakeCluster, Outcome, RegionFault, fixtures};
use binlog_types::{CommitTs, StartTs, Ts};
use bytes::Bytes;

use crate::connect;

/// A cluster that shows all of a capture's schema.
async fn with_seed() -> (FakeCluster, TikvClient, Vec<(Bytes, Bytes)>) {
    let cluster = FakeCluster::without_etcd().unwrap();
    cluster.load_meta("seed").unwrap();
    cluster.show_all();
    let tikv = TikvClient::new(connect(&cluster).await);
    (cluster, tikv, fixtures::meta("seed").unwrap())
}

fn pairs(found: Vec<KeyValue>) -> Vec<(Bytes, Bytes)> {
    found.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

#[tokio::test]
async fn pages_over_all_regions_make_up_the_whole() {
    let (cluster, tikv, expected) = with_seed().await;
    assert_eq!(pairs(tikv.scan(b"m", b"n", u32::MAX, Ts::MAX).await.unwrap()), expected);
    assert!(cluster.calls("GetRegion") >= 5);
    let known = cluster.calls("GetRegion");

    let mut found = Vec::new();
    let mut from = b"m".to_vec();
    loop {
        let page = pairs(tikv.scan(&from, b"n", 7, Ts::MAX).await.unwrap());
        let is_last = page.len() < 7;
        from = page.last().map(|(key, _)| [key, &[0][..]].concat()).unwrap_or(from);
        found.extend(page);
        if is_last {
            break;
        }
    }
    assert_eq!(found, expected);
    assert_eq!(cluster.calls("GetRegion"), known, "regions are remembered");
    assert!(tikv.scan(b"x", b"", 5, Ts::MAX).await.unwrap().is_empty());
    assert!(tikv.scan(b"n", b"m", 5, Ts::MAX).await.unwrap().is_empty());
    assert!(tikv.scan(b"m", b"n", 0, Ts::MAX).await.unwrap().is_empty());
}

#[tokio::test]
async fn reads_are_of_their_timestamp() {
    let (cluster, tikv, expected) = with_seed().await;
    let (key, value) = &expected[0];
    assert_eq!(tikv.get(key, Ts::MAX).await.unwrap().as_ref(), Some(value));
    assert_eq!(tikv.get(b"m none", Ts::MAX).await.unwrap(), None);
    cluster.answer_as_unistore();
    assert_eq!(tikv.get(b"m none", Ts::MAX).await.unwrap(), None);
    let later = Ts::MAX.prev();
    cluster.put(key.clone(), later, Some(b"new"));
    assert_eq!(tikv.get(key, later.prev()).await.unwrap().as_ref(), Some(value));
    assert_eq!(tikv.get(key, later).await.unwrap().as_deref(), Some(&b"new"[..]));
    assert!(tikv.scan(b"m", b"n", 100, Ts::ZERO).await.unwrap().is_empty());
}

#[tokio::test]
async fn every_region_error_is_got_over() {
    let (cluster, tikv, expected) = with_seed().await;
    let faults = [
        RegionFault::NotLeader { hint: true },
        RegionFault::NotLeader { hint: false },
        RegionFault::EpochNotMatch,
        RegionFault::RegionNotFound,
        RegionFault::ServerIsBusy,
        RegionFault::Unknown,
        RegionFault::Unavailable,
    ];
    for fault in faults {
        cluster.fail_regions([fault, fault]);
        let before = cluster.calls("KvGet");
        let (key, value) = &expected[expected.len() / 2];
        assert_eq!(tikv.get(key, Ts::MAX).await.unwrap().as_ref(), Some(value), "{fault:?}");
        assert_eq!(cluster.calls("KvGet") - before, 3, "{fault:?}");
    }
    cluster.fail_regions(faults);
    assert_eq!(pairs(tikv.scan(b"m", b"n", u32::MAX, Ts::MAX).await.unwrap()), expected);
}

#[tokio::test]
async fn regions_may_split_and_their_leaders_move_under_a_reader() {
    let (cluster, tikv, expected) = with_seed().await;
    for round in 0..6 {
        let cuts: Vec<&[u8]> =
            expected.iter().skip(round).step_by(3 + round).map(|(key, _)| key.as_ref()).collect();
        cluster.cut_regions(&cuts);
        if round % 2 == 1 {
            cluster.move_leaders();
        }
        assert_eq!(pairs(tikv.scan(b"m", b"n", u32::MAX, Ts::MAX).await.unwrap()), expected, "round {round}");
    }
}

#[tokio::test]
async fn a_lock_is_waited_for() {
    let (cluster, tikv, expected) = with_seed().await;
    let (key, value) = &expected[10];
    cluster.lock(key.clone(), StartTs::new(5), Some(3));
    assert_eq!(tikv.get(key, Ts::MAX).await.unwrap().as_ref(), Some(value));
    cluster.lock(key.clone(), StartTs::new(5), Some(2));
    assert_eq!(pairs(tikv.scan(b"m", b"n", u32::MAX, Ts::MAX).await.unwrap()), expected);
    // A lock of a later transaction is none of our business.
    cluster.lock(key.clone(), StartTs::new(500), None);
    tikv.get(key, Ts::new(400)).await.unwrap();
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up_and_asked_again() {
    let (cluster, tikv, expected) = with_seed().await;
    cluster.delay_store(Duration::from_secs(30));
    let start = Instant::now();
    assert_eq!(tikv.get(&expected[0].0, Ts::MAX).await.unwrap().as_ref(), Some(&expected[0].1));
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn outcomes_are_told_and_changed_as_asked() {
    let cluster = FakeCluster::without_etcd().unwrap();
    cluster.cut_regions(&[b"t3", b"t6"]);
    let tikv = TikvClient::new(connect(&cluster).await);
    let start_ts = StartTs::from(Ts::compose(1_000_000, 0));
    let status = async |key: &'static [u8], now: Ts, rollback_if_not_exist: bool| {
        let primary = key.to_vec();
        tikv.check_txn_status(&CheckTxnStatus { primary, start_ts, now, rollback_if_not_exist })
            .await
            .unwrap()
    };
    cluster.set_txn(&b"t1"[..], start_ts, Outcome::Committed(CommitTs::new(9)));
    cluster.set_txn(&b"t4"[..], start_ts, Outcome::RolledBack);
    cluster.set_txn(&b"t7"[..], start_ts, Outcome::Locked { ttl_ms: 3000 });
    let (young, old) = (Ts::compose(1_002_000, 0), Ts::compose(1_004_000, 0));

    assert_eq!(status(b"t1", young, false).await, TxnStatus::Committed(CommitTs::new(9)));
    assert_eq!(status(b"t4", young, false).await, TxnStatus::RolledBack);
    assert_eq!(status(b"t7", young, false).await, TxnStatus::Locked { ttl_ms: 3000 });
    assert_eq!(tikv.mvcc_get_by_key(b"t7").await.unwrap().lock.unwrap().start_ts, start_ts.raw());
    assert_eq!(status(b"t7", old, false).await, TxnStatus::RolledBack);
    assert_eq!(status(b"t9", old, false).await, TxnStatus::NotFound);
    assert_eq!(cluster.txn(b"t9", start_ts), None);
    assert_eq!(status(b"t9", old, true).await, TxnStatus::RolledBackUnseen);
    assert_eq!(status(b"t9", old, false).await, TxnStatus::RolledBack);
    assert_eq!(cluster.txn(b"t9", start_ts), Some(Outcome::RolledBack));

    cluster.fail_regions([RegionFault::EpochNotMatch]);
    let info = tikv.mvcc_get_by_key(b"t1").await.unwrap();
    assert_eq!((info.writes[0].start_ts, info.writes[0].commit_ts), (start_ts.raw(), 9));
}

#[tokio::test]
async fn a_capture_shows_its_schema_as_time_goes_by() {
    let cluster = FakeCluster::without_etcd().unwrap();
    cluster.load_meta("ddl").unwrap();
    let tikv = TikvClient::new(connect(&cluster).await);
    let mark = &fixtures::marks("ddl").unwrap()["s080"];
    assert!(tikv.scan(b"m", b"n", 100, Ts::MAX).await.unwrap().is_empty());
    cluster.advance(mark.tso);
    let then = tikv.scan(b"m", b"n", u32::MAX, Ts::MAX).await.unwrap();
    cluster.show_all();
    assert_eq!(tikv.scan(b"m", b"n", u32::MAX, mark.tso).await.unwrap(), then);
    let end = tikv.scan(b"m", b"n", u32::MAX, Ts::MAX).await.unwrap();
    assert!(then.len() > 100 && then.len() < end.len());
    assert_eq!(pairs(end), fixtures::meta("ddl").unwrap());
}
