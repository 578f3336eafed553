//! The merged stream over connections that break, pumps that come and go, and a budget that is too small.

use std::sync::Arc;
use std::time::Duration;

use binlog_pull::{Batch, Error, Hole, Identity, MergedStream, PumpLedger, StreamOptions};
use binlog_types::{ClusterId, CommitTs, NodeId, StoreUuid};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::fake::Pump;

pub(crate) fn options(after: u64, through: Option<u64>) -> StreamOptions {
    StreamOptions {
        cluster: ClusterId(7),
        after: CommitTs::new(after),
        through: through.map(CommitTs::new),
        budget: 16 << 20,
        ..StreamOptions::default()
    }
}

fn commits(batch: &Batch) -> Vec<u64> {
    batch.records.iter().map(|r| r.commit_ts.raw()).collect()
}

/// Reads until everything through `through` came.
async fn read(stream: &mut MergedStream, through: u64) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let batch =
            timeout(Duration::from_secs(20), stream.next()).await.expect("the stream stands still").unwrap();
        all.extend(commits(&batch));
        if batch.complete_through.raw() >= through {
            return all;
        }
    }
}

async fn stop(stream: &mut MergedStream) -> Error {
    loop {
        match timeout(Duration::from_secs(20), stream.next()).await.expect("the stream stands still") {
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn a_range_of_two_pumps_comes_in_order() {
    let (a, b) = (Pump::start("a").await, Pump::start("b").await);
    a.state.lock().fragment = 5;
    a.add([10, 30, 50, 70]);
    b.add([20, 30, 60]);
    a.set_watermark(80);
    b.set_watermark(65);
    let mut stream = MergedStream::new(options(10, Some(60)), vec![a.member(), b.member()]);
    let mut all = Vec::new();
    loop {
        let batch = stream.next().await.unwrap();
        all.extend(batch.records.iter().map(|r| String::from_utf8(r.payload.to_vec()).unwrap()));
        if batch.end {
            assert_eq!(batch.complete_through.raw(), 60);
            break;
        }
    }
    let expected: Vec<String> = [20, 30, 50, 60].iter().map(|c| format!("payload of {c} ")).collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn a_bounded_range_waits_for_the_watermark() {
    let a = Pump::start("a").await;
    a.add([10, 20]);
    a.set_watermark(15);
    let mut stream = MergedStream::new(options(0, Some(18)), vec![a.member()]);
    let first = stream.next().await.unwrap();
    assert!(!first.end);
    assert!(timeout(Duration::from_millis(200), stream.next()).await.is_err());
    a.set_watermark(30);
    let last = stream.next().await.unwrap();
    assert_eq!((commits(&last), last.complete_through.raw(), last.end), (vec![], 18, true));
}

#[tokio::test]
async fn following_survives_a_restart_of_the_pump() {
    let (a, b) = (Pump::start("a").await, Pump::start("b").await);
    a.add((1..50).map(|n| n * 10));
    a.set_watermark(300);
    b.set_watermark(10_000);
    let mut stream = MergedStream::new(options(0, None), vec![a.member(), b.member()]);
    let mut all = read(&mut stream, 300).await;
    a.down().await;
    let waiting = timeout(Duration::from_millis(300), stream.next()).await;
    assert!(waiting.is_err(), "b alone must not move the stream");
    assert!(stream.waits_for().contains("pump a"), "{}", stream.waits_for());
    let a = a.up().await;
    a.set_watermark(495);
    all.extend(read(&mut stream, 495).await);
    assert_eq!(all, (1..50).map(|n| n * 10).collect::<Vec<u64>>());
}

#[tokio::test]
async fn another_store_at_the_same_place_is_a_typed_stop() {
    let a = Pump::start("a").await;
    a.add([10]);
    a.set_watermark(20);
    let mut stream = MergedStream::new(options(0, None), vec![a.member()]);
    assert_eq!(read(&mut stream, 20).await, [10]);
    a.down().await;
    a.state.lock().uuid = 2;
    let _a = a.up().await;
    let error = stop(&mut stream).await;
    assert!(matches!(error, Error::WrongStore { .. }), "{error}");
}

/// Knows a store, and accepts what it is told to.
#[derive(Debug, Default)]
struct Ledger {
    known: Mutex<Option<Identity>>,
    store: Option<StoreUuid>,
    hole: Option<Hole>,
}

impl PumpLedger for Ledger {
    fn known(&self, _: &NodeId) -> Option<Identity> {
        *self.known.lock()
    }

    fn met(&self, _: &NodeId, identity: Identity) -> Result<(), String> {
        *self.known.lock() = Some(identity);
        Ok(())
    }

    fn accepts_store(&self, _: &NodeId, uuid: StoreUuid) -> bool {
        self.store == Some(uuid)
    }

    fn accepts(&self, hole: &Hole, _: &str) -> Result<bool, String> {
        Ok(self.hole.as_ref() == Some(hole))
    }
}

fn with(after: u64, ledger: Ledger) -> StreamOptions {
    StreamOptions { ledger: Arc::new(ledger), ..options(after, None) }
}

#[tokio::test]
async fn a_store_is_remembered_over_restarts_and_accepted_by_name() {
    let a = Pump::start("a").await;
    a.add([10]);
    a.set_watermark(20);
    let earlier = Identity { uuid: StoreUuid([9; 16]), incarnation: 1, watermark: CommitTs::new(5) };
    let remembers = |store| Ledger { known: Mutex::new(Some(earlier)), store, hole: None };
    let error = stop(&mut MergedStream::new(with(0, remembers(None)), vec![a.member()])).await;
    assert!(matches!(&error, Error::WrongStore { .. }), "{error}");
    let text = error.to_string();
    let uuid = text.rsplit("-accept-store=a:").next().unwrap();
    let bytes: Vec<u8> =
        (0..16).map(|at| u8::from_str_radix(&uuid[2 * at..2 * at + 2], 16).unwrap()).collect();
    let now = StoreUuid(bytes.try_into().unwrap());
    let mut stream = MergedStream::new(with(0, remembers(Some(now))), vec![a.member()]);
    assert_eq!(read(&mut stream, 20).await, [10]);
}

#[tokio::test]
async fn a_hole_is_passed_where_it_was_accepted_exactly() {
    let a = Pump::start("a").await;
    a.state.lock().safe_point = 15;
    a.add([18]);
    a.set_watermark(20);
    let hole = |through| Ledger {
        hole: Some(Hole { pump: a.member().id, after: CommitTs::new(3), through: CommitTs::new(through) }),
        ..Ledger::default()
    };
    let error = stop(&mut MergedStream::new(with(3, hole(14)), vec![a.member()])).await;
    assert!(error.to_string().ends_with("-accept-gap=a:3-15"), "{error}");
    let mut stream = MergedStream::new(with(3, hole(15)), vec![a.member()]);
    assert_eq!(read(&mut stream, 20).await, [18]);
}

/// Only one transaction is missing somewhere in the stretch: what else lies there comes.
#[tokio::test]
async fn a_gap_is_a_typed_stop_and_its_neighbours_come_where_it_was_accepted() {
    let a = Pump::start("a").await;
    a.state.lock().gap = Some((15, 25));
    a.add([10, 15, 20, 30]);
    a.set_watermark(40);
    let hole = |through| Ledger {
        hole: Some(Hole { pump: a.member().id, after: CommitTs::new(15), through: CommitTs::new(through) }),
        ..Ledger::default()
    };
    for after in [0, 17] {
        let mut stream = MergedStream::new(with(after, hole(24)), vec![a.member()]);
        if after == 0 {
            assert_eq!(read(&mut stream, 15).await, [10, 15], "what lies before it comes first");
        }
        let error = stop(&mut stream).await;
        assert!(matches!(error, Error::Gap { .. }), "{error}");
        assert!(error.to_string().contains("-accept-gap=a:15-25"), "{error}");
    }
    let mut stream = MergedStream::new(with(0, hole(25)), vec![a.member()]);
    assert_eq!(read(&mut stream, 40).await, [10, 15, 20, 30]);
    let mut behind = MergedStream::new(with(25, hole(24)), vec![a.member()]);
    assert_eq!(read(&mut behind, 40).await, [30]);
}

#[tokio::test]
async fn an_older_opening_of_the_store_is_a_typed_stop() {
    let a = Pump::start("a").await;
    a.state.lock().incarnation = 5;
    a.set_watermark(20);
    let mut stream = MergedStream::new(options(0, None), vec![a.member()]);
    read(&mut stream, 20).await;
    a.down().await;
    a.state.lock().incarnation = 4;
    let _a = a.up().await;
    assert!(matches!(stop(&mut stream).await, Error::WrongStore { .. }));
}

#[tokio::test]
async fn purged_ranges_and_foreign_clusters_are_typed_stops() {
    let a = Pump::start("a").await;
    a.state.lock().safe_point = 100;
    a.set_watermark(200);
    let error = stop(&mut MergedStream::new(options(50, None), vec![a.member()])).await;
    assert!(
        matches!(error, Error::Purged { after, safe_point, .. } if after.raw() == 50 && safe_point.raw() == 100)
    );
    let mut foreign = options(150, None);
    foreign.cluster = ClusterId(8);
    let error = stop(&mut MergedStream::new(foreign, vec![a.member()])).await;
    assert!(matches!(error, Error::WrongCluster { own: ClusterId(7), .. }));
}

#[tokio::test]
async fn members_come_go_and_move() {
    let (a, b) = (Pump::start("a").await, Pump::start("b").await);
    a.add([10, 20, 30]);
    a.set_watermark(35);
    let mut stream = MergedStream::new(options(0, None), vec![a.member()]);
    assert_eq!(read(&mut stream, 35).await, [10, 20, 30]);

    // b is new: it holds the stream back until it speaks.
    stream.set_members(vec![a.member(), b.member()]);
    a.add([40]);
    a.set_watermark(45);
    assert!(timeout(Duration::from_millis(300), stream.next()).await.is_err());
    b.add([38]);
    b.set_watermark(39);
    assert_eq!(read(&mut stream, 39).await, [38]);

    // b goes: it no longer does.
    stream.set_members(vec![a.member()]);
    assert_eq!(read(&mut stream, 45).await, [40]);

    // a moves to another address, with its store.
    let moved = Pump::start("a").await;
    *moved.state.lock() = a.state.lock().clone();
    moved.add([50]);
    moved.set_watermark(55);
    a.down().await;
    stream.set_members(vec![moved.member()]);
    assert_eq!(read(&mut stream, 55).await, [50]);
}

#[tokio::test]
async fn what_is_not_dropped_holds_the_stream_back() {
    let a = Pump::start("a").await;
    for n in 1..=40 {
        a.add_sized(n * 10, 200 << 10);
    }
    // One of them is larger than the whole budget.
    a.add_sized(205, 5 << 20);
    a.set_watermark(1000);
    let mut small = options(0, None);
    small.budget = 1 << 20;
    let mut stream = MergedStream::new(small, vec![a.member()]);
    let mut kept = Vec::new();
    while let Ok(batch) = timeout(Duration::from_millis(500), stream.next()).await {
        kept.push(batch.unwrap());
    }
    let bytes: usize = kept.iter().flat_map(|b| &b.records).map(|r| r.payload.len()).sum();
    assert!((600 << 10..=1 << 20).contains(&bytes), "{bytes} bytes in flight");
    let mut all: Vec<u64> = kept.iter().flat_map(commits).collect();
    drop(kept);
    all.extend(read(&mut stream, 1000).await);
    assert_eq!(all.len(), 41);
    assert!(all.is_sorted());
}
