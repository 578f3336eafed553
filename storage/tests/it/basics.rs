//! One behaviour a test.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use binlog_storage::{
    Behind, CompletionSink, Error, ErrorKind, RawRecord, SchemaEntry, Store, Write, WriteResult,
};
use binlog_types::{ClusterId, CommitTs, ManualClock, NodeId, SchemaVersion, Ts};
use bytes::Bytes;

use crate::support::*;

#[test]
fn a_store_knows_itself_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let uuid = first.uuid();
    assert_eq!((first.cluster_id(), first.incarnation()), (ClusterId(7), 1));
    assert!(matches!(Store::open(dir.path(), options()), Err(Error::Locked { .. })));
    first.close().unwrap();

    let mut other = options();
    other.cluster_id = ClusterId(8);
    let refused = Store::open(dir.path(), other).unwrap_err();
    assert_eq!(refused, Error::WrongCluster { stored: ClusterId(7), given: ClusterId(8) });

    let mut renamed = options();
    renamed.node_id = NodeId::new("pump-2").unwrap();
    let second = Store::open(dir.path(), renamed).unwrap();
    assert_eq!((second.uuid(), second.incarnation()), (uuid, 2));
    assert_eq!(second.node_id().as_str(), "pump-2");
    drop(second);

    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open_read_only(empty.path()), Err(Error::NotAStore { .. })));
    assert_ne!(open(empty.path()).uuid(), uuid);
}

#[test]
fn records_come_out_in_commit_order_up_to_the_watermark() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for start in [10, 11, 12] {
        store.write(prewrite(start)).unwrap();
    }
    store.write(commit(12, 22)).unwrap();
    store.write(commit(11, 21)).unwrap();
    barrier(&store);
    assert_eq!((store.watermark().raw(), store.max_commit_ts().raw()), (0, 22));
    assert_eq!(rows(&store), []);
    store.write(commit(10, 20)).unwrap();
    barrier(&store);
    assert_eq!(store.watermark().raw(), 22);
    assert_eq!(rows(&store), [Row::of(10, 20), Row::of(11, 21), Row::of(12, 22)]);
    // Exclusive below, inclusive above.
    assert_eq!(rows_of(&try_scan(&store, 20, 21).unwrap()), [Row::of(11, 21)]);
    assert_eq!(try_scan(&store, 21, 21).unwrap(), []);
    assert_eq!(try_scan(&store, 22, 99).unwrap(), []);
}

#[test]
fn waiters_are_woken_until_they_leave() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let seen = Arc::new(AtomicU64::new(0));
    let guard = store.on_watermark({
        let seen = Arc::clone(&seen);
        Box::new(move |w| seen.store(w.raw(), Ordering::SeqCst))
    });
    store.offer_idle_ts(CommitTs::new(50));
    barrier(&store);
    assert_eq!((seen.load(Ordering::SeqCst), store.watermark().raw()), (50, 50));
    drop(guard);
    store.offer_idle_ts(CommitTs::new(60));
    barrier(&store);
    assert_eq!((seen.load(Ordering::SeqCst), store.watermark().raw()), (50, 60));
}

#[test]
fn a_sink_gets_each_token_once_and_by_the_batch() {
    #[derive(Default)]
    struct Sink {
        results: Mutex<Vec<(u64, WriteResult)>>,
        calls: AtomicUsize,
    }
    impl CompletionSink for Sink {
        fn completed(&self, results: Vec<(u64, WriteResult)>) {
            self.results.lock().unwrap().extend(results);
            self.calls.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let sink = Arc::new(Sink::default());
    let writes = vec![
        (1, prewrite(10)),
        (2, commit(10, 20)),
        (3, commit(10, 21)),
        (4, commit(30, 30)),
        (5, Write::Fake(CommitTs::new(40))),
    ];
    store.submit(writes, &(Arc::clone(&sink) as Arc<dyn CompletionSink>));
    barrier(&store);
    let results = std::mem::take(&mut *sink.results.lock().unwrap());
    let kinds: Vec<_> =
        results.iter().map(|(token, r)| (*token, r.as_ref().err().map(Error::kind))).collect();
    assert_eq!(
        kinds,
        [(1, None), (2, None), (3, Some(ErrorKind::Corrupted)), (4, Some(ErrorKind::Invalid)), (5, None)]
    );
    assert_eq!(sink.calls.load(Ordering::SeqCst), 1);
    store.close().unwrap();
    store.submit(vec![(6, prewrite(50))], &(Arc::clone(&sink) as Arc<dyn CompletionSink>));
    assert_eq!(*sink.results.lock().unwrap(), [(6, Err(Error::Closed))]);
    assert_eq!(store.scan(range(0, 9)).unwrap_err(), Error::Closed);
    assert_eq!(store.put_meta("x", b"y"), Err(Error::Closed));
    assert_eq!(store.close(), Ok(()));
}

#[test]
fn nonsense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for write in
        [prewrite(0), prewrite(u64::MAX), commit(9, 8), commit(9, u64::MAX), Write::Fake(CommitTs::ZERO)]
    {
        assert_eq!(store.write(write).unwrap_err().kind(), ErrorKind::Invalid);
    }
    barrier(&store);
    assert_eq!((store.pending_count(), store.max_commit_ts().raw()), (0, 0));
}

#[test]
fn undecided_prewrites_are_told_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(0);
    let mut with_clock = options();
    with_clock.clock = clock.clone();
    let store = Store::open(dir.path(), with_clock).unwrap();
    for start in [30, 10, 20] {
        store.write(prewrite(start)).unwrap();
        clock.advance(Duration::from_secs(1));
    }
    store.write(rollback(10)).unwrap();
    let told: Vec<_> =
        store.unresolved(9).into_iter().map(|u| (u.start_ts.raw(), u.key, u.age.as_secs())).collect();
    assert_eq!(told, [(30, Bytes::from("key-30"), 3), (20, Bytes::from("key-20"), 1)]);
    assert_eq!(store.unresolved(1).len(), 1);
    drop(store);
    let store = open(dir.path());
    let told: Vec<_> = store.unresolved(9).into_iter().map(|u| (u.start_ts.raw(), u.key)).collect();
    assert_eq!(told, [(20, Bytes::from("key-20")), (30, Bytes::from("key-30"))]);
}

#[test]
fn a_large_transaction_is_cut_and_put_together() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let body = Bytes::from((0..100_000_u32).flat_map(u32::to_be_bytes).collect::<Vec<_>>());
    store.write(prewrite_of(11, body.clone())).unwrap();
    store.write(commit(11, 12)).unwrap();
    barrier(&store);
    let expected = Row { payload: body.clone(), ..Row::of(11, 12) };
    assert_eq!(rows(&store), std::slice::from_ref(&expected));
    assert_eq!(try_scan(&store, 0, 12).unwrap().len(), body.len().div_ceil(1 << 10));
    // Again undecided, over a restart, and read back from its pieces.
    store.write(prewrite_of(13, body.clone())).unwrap();
    drop(store);
    let store = open(dir.path());
    store.write(commit(13, 14)).unwrap();
    barrier(&store);
    assert_eq!(rows(&store), [expected, Row { payload: body, ..Row::of(13, 14) }]);
    store.flush().unwrap();
    assert_eq!(number(&store, "pending_keys"), 0);
}

pub(crate) fn number(store: &Store, name: &str) -> u64 {
    let numbers = store.numbers();
    numbers.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("{name} in {numbers:?}")).1
}

#[test]
fn duplicates_are_harmless_even_when_long_settled() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(prewrite(10)).unwrap();
    store.write(commit(10, 20)).unwrap();
    barrier(&store);
    for _ in 0..3 {
        store.write(prewrite(10)).unwrap();
        store.write(commit(10, 20)).unwrap();
        barrier(&store);
        assert_eq!((store.pending_count(), rows(&store)), (0, vec![Row::of(10, 20)]));
        store.flush().unwrap();
    }
    assert_eq!(store.gaps(), []);
    let conflict = store.write(prewrite_of(10, Bytes::from("other")));
    // Its first life is forgotten by now: an undecided prewrite, settled by its outcome.
    assert_eq!(conflict, Ok(()));
    store.write(commit(10, 20)).unwrap();
    assert_eq!(rows(&store), [Row::of(10, 20)]);
}

#[test]
fn fillers_are_delivered_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(prewrite(10)).unwrap();
    for ts in [11, 11, 12] {
        store.write(Write::Fake(CommitTs::new(ts))).unwrap();
    }
    barrier(&store);
    assert_eq!(store.watermark().raw(), 0);
    store.write(commit(10, 20)).unwrap();
    store.write(Write::Fake(CommitTs::new(15))).unwrap();
    barrier(&store);
    let expected = [Row::fake(11), Row::fake(12), Row::of(10, 20)];
    // 15 came after W had passed it: it says nothing new.
    assert_eq!(rows(&store)[..2], expected[..2]);
    drop(store);
    assert_eq!(rows(&open(dir.path())).len(), rows(&Store::open_read_only(dir.path()).unwrap()).len());
}

#[test]
fn a_stuck_watermark_spills_and_loses_nothing() {
    let dir = quick_dir();
    let store = open(dir.path());
    store.write(prewrite(2)).unwrap();
    let mut expected = Vec::new();
    for n in 0..300 {
        let start = 10 + 2 * n;
        // What does not compress.
        let payload = Bytes::from_iter((0..400).map(|_| rand::random::<u8>()));
        store.write(prewrite_of(start, payload.clone())).unwrap();
        store.write(commit(start, start + 1)).unwrap();
        expected.push(Row { payload, ..Row::of(start, start + 1) });
    }
    assert!(number(&store, "held_payload_bytes") <= 2 << 10);
    eventually("bundles go to files", || number(&store, "bundle_file_bytes") > 0);
    assert_eq!(rows(&store), []);
    let image = crash_image(dir.path());
    for store in [store, open(image.path())] {
        store.write(rollback(2)).unwrap();
        barrier(&store);
        assert_eq!(rows(&store), expected);
        assert!(number(&store, "read_back_records") > 0);
    }
}

#[test]
fn small_files_are_not_made_with_every_log_file() {
    let dir = quick_dir();
    let mut roomy = options();
    roomy.tuning.spill_bytes = 1 << 20;
    let store = Store::open(dir.path(), roomy).unwrap();
    let mut expected = Vec::new();
    for start in (10..2000).step_by(10) {
        write_together(&store, vec![prewrite(start), commit(start, start + 5)]).unwrap();
        expected.push(Row::of(start, start + 5));
    }
    eventually("log files are made", || number(&store, "log_flushes") >= 5);
    assert_eq!(number(&store, "bundle_file_bytes"), 0, "what is written there would be deleted soon after");
    let image = crash_image(dir.path());
    let again = open(image.path());
    assert_eq!(rows(&again), expected);
    drop(again);
    store.close().unwrap();
    assert_eq!(rows(&open(dir.path())), expected);
}

#[test]
fn what_waits_behind_an_undecided_prewrite_has_a_limit() {
    let dir = quick_dir();
    let mut narrow = unsynced();
    narrow.tuning.open_transactions = 50;
    let store = Store::open(dir.path(), narrow.clone()).unwrap();
    store.write(prewrite(10)).unwrap();
    for start in 100..149 {
        store.write(prewrite(start)).unwrap();
        store.write(commit(start, start + 1000)).unwrap();
    }
    assert_eq!((number(&store, "open_transactions"), number(&store, "open_transactions_limit")), (50, 50));
    assert_eq!(number(&store, "oldest_unresolved_ms") / 60_000, 0);
    assert!(number(&store, "write_amplification_permille") > 0);
    let refused = store.write(prewrite(200)).unwrap_err();
    assert!(matches!(refused, Error::Stuck { records: 50, oldest, .. } if oldest.raw() == 10), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    // Outcomes are always taken.
    assert_eq!(store.write(commit(100, 1100)), Ok(()));
    assert_eq!(store.watermark().raw(), 0);
    drop(store);
    let store = Store::open(dir.path(), narrow).unwrap();
    assert!(matches!(store.write(prewrite(200)), Err(Error::Stuck { .. })), "also after a restart");
    store.write(rollback(10)).unwrap();
    barrier(&store);
    assert_eq!((store.watermark().raw(), number(&store, "open_transactions")), (1148, 0));
    assert_eq!(store.write(prewrite(1200)), Ok(()));
    assert_eq!(rows(&store).len(), 49);
}

#[test]
fn the_safe_point_is_a_named_error_and_takes_whole_files() {
    let dir = quick_dir();
    let store = open(dir.path());
    store.write(prewrite(3)).unwrap();
    store.write(commit(3, 4)).unwrap();
    store.write(prewrite(5)).unwrap();
    for n in 0..400 {
        store.write(prewrite(10 + 2 * n)).unwrap();
        store.write(commit(10 + 2 * n, 11 + 2 * n)).unwrap();
    }
    store.write(rollback(5)).unwrap();
    store.write(prewrite(2000)).unwrap();
    barrier(&store);
    assert_eq!(number(&store, "rocksdb_unplanned_flushes"), 0, "all flushes are ours");
    assert!(number(&store, "log_flushes") > 5);
    let mut scan = store.scan(range(0, 900)).unwrap();
    assert_eq!(scan.next_batch(1).unwrap().len(), 1);
    store.flush().unwrap();
    let before = number(&store, "log_file_bytes");
    assert_eq!(store.gc(CommitTs::new(300)).unwrap().raw(), 300);
    eventually("files are dropped", || number(&store, "log_file_bytes") < before);
    assert_eq!(store.gc(CommitTs::new(200)).unwrap().raw(), 300, "never down");
    assert_eq!(scan.next_batch(1), Err(Error::Purged { safe_point: CommitTs::new(300) }));
    assert_eq!(try_scan(&store, 299, 900), Err(Error::Purged { safe_point: CommitTs::new(300) }));
    assert_eq!(rows(&store).first().unwrap().commit, 301);
    assert_eq!(store.gc(CommitTs::MAX).unwrap(), store.watermark(), "never above the watermark");
    assert_eq!(rows(&store), []);
    assert_eq!(store.unresolved(5)[0].start_ts.raw(), 2000, "an undecided prewrite survives");
    store.write(commit(2000, 2001)).unwrap();
    barrier(&store);
    assert_eq!(rows(&store), [Row::of(2000, 2001)]);
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!(store.safe_point().raw(), 809);
    assert_eq!(rows(&store), [Row::of(2000, 2001)]);
    assert_eq!(store.write(commit(10, 11)), Ok(()), "known once, purged now");
    assert_eq!(store.gaps(), []);
}

#[test]
fn schema_objects_and_names_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let entry = |kind, id, version, value: &'static str| SchemaEntry {
        kind,
        id,
        schema_version: SchemaVersion(version),
        value: Bytes::from(value),
    };
    let first = vec![entry(2, 7, 3, "a"), entry(1, 7, 2, "b"), entry(1, -9, 3, "c"), entry(2, 7, 5, "d")];
    store.put_schema(first.clone(), SchemaVersion(5)).unwrap();
    store.put_schema(first, SchemaVersion(4)).unwrap();
    let conflict = store.put_schema(vec![entry(3, 1, 6, "new"), entry(2, 7, 3, "z")], SchemaVersion(6));
    assert!(matches!(conflict, Err(Error::SchemaConflict { kind: 2, id: 7, .. })));
    store.put_meta("oracle", b"42").unwrap();
    store.put_meta("watermark", b"mine").unwrap();
    drop(store);
    for store in [open(dir.path()), Store::open_read_only(dir.path()).unwrap()] {
        assert_eq!(store.schema_version(), SchemaVersion(5));
        let values = |entries: Vec<SchemaEntry>| entries.into_iter().map(|e| e.value).collect::<Vec<_>>();
        assert_eq!(values(store.schema(SchemaVersion(0)).unwrap()), ["b", "c", "a", "d"]);
        assert_eq!(values(store.schema(SchemaVersion(3)).unwrap()), ["d"]);
        assert_eq!(values(store.schema_object(2, 7).unwrap()), ["a", "d"]);
        assert_eq!(values(store.schema_object(1, 8).unwrap()), Vec::<Bytes>::new());
        assert_eq!(store.get_meta("oracle").unwrap().unwrap(), "42");
        assert_eq!(store.get_meta("watermark").unwrap().unwrap(), "mine");
        assert_eq!(store.get_meta("none").unwrap(), None);
        store.close().unwrap();
    }
}

#[test]
fn of_schema_entries_behind_the_oldest_record_only_the_last_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let entry = |kind, id, version| SchemaEntry {
        kind,
        id,
        schema_version: SchemaVersion(version),
        value: Bytes::from(format!("{kind}/{id}/{version}")),
    };
    let all =
        vec![entry(1, 7, 2), entry(1, 7, 4), entry(1, 7, 6), entry(1, 8, 3), entry(3, 1, 2), entry(3, 2, 6)];
    let store = open(dir.path());
    store.put_schema(all.clone(), SchemaVersion(6)).unwrap();
    let behind = |entry: &SchemaEntry| if entry.schema_version.0 <= 5 { Behind::Yes } else { Behind::No };
    let expected = store.schema_above(SchemaVersion(-1), behind, 3).unwrap();
    assert_eq!(store.collect_schema(behind, 3), Ok(2));
    assert_eq!(store.collect_schema(behind, 3), Ok(0));
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.schema(SchemaVersion(-1)).unwrap(), expected);
    assert_eq!(store.schema_version(), SchemaVersion(6));
    // What another pump or the follower brings again is no conflict.
    assert_eq!(store.put_schema(all, SchemaVersion(6)), Ok(()));
    let gone = |entry: &SchemaEntry| if entry.id == 7 { Behind::Gone } else { Behind::No };
    assert_eq!(store.collect_schema(gone, 0), Ok(3));
    assert_eq!(store.schema_object(1, 7).unwrap(), []);
}

#[test]
fn a_read_only_store_shows_what_was_in_memory_only() {
    let dir = quick_dir();
    let store = open(dir.path());
    for n in 0..60 {
        store.write(prewrite(10 + 2 * n)).unwrap();
        store.write(commit(10 + 2 * n, 11 + 2 * n)).unwrap();
    }
    store.write(Write::Fake(CommitTs::new(500))).unwrap();
    barrier(&store);
    let image = crash_image(dir.path());
    let dead = Store::open_read_only(image.path()).unwrap();
    assert_eq!(rows(&dead), rows(&store));
    assert_eq!(dead.watermark(), store.watermark());
    assert_eq!(rows_of(&try_scan(&dead, 100, 120).unwrap()), rows_of(&try_scan(&store, 100, 120).unwrap()));
    assert_eq!(dead.write(prewrite(900)), Err(Error::ReadOnly));
    assert_eq!(dead.gc(CommitTs::MAX), Err(Error::ReadOnly));
    assert_eq!(dead.uuid(), store.uuid());
    let again = Store::open_read_only(image.path()).unwrap();
    assert_eq!(rows(&again), rows(&store), "looking changes nothing");
}

#[test]
fn raw_says_what_stands_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(prewrite(10)).unwrap();
    store.write(commit(10, 20)).unwrap();
    store.write(prewrite(30)).unwrap();
    barrier(&store);
    assert!(
        matches!(store.raw(Ts::new(20)).unwrap(), Some(RawRecord::Record(r)) if r[0].start_ts.raw() == 10)
    );
    let undecided = store.raw(Ts::new(30)).unwrap().unwrap();
    assert!(
        matches!(&undecided, RawRecord::Prewrite { prewrite, commit_ts: None } if prewrite.payload == payload(30))
    );
    assert!(undecided.to_string().contains("undecided"));
    assert_eq!(store.raw(Ts::new(99)).unwrap(), None);
}
