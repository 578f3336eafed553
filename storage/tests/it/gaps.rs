//! What is missing, and stays known as missing: commits without prewrite, lost outcomes, late commits.

use std::sync::{Arc, Mutex};

use binlog_storage::{Error, ErrorKind, FailPoint, FailPoints, RawRecord, Store, Write};
use binlog_types::{CommitTs, GapReason, StartTs, Ts};
use tempfile::TempDir;

use crate::basics::number;
use crate::support::*;

#[test]
fn a_commit_without_prewrite_is_a_gap_over_restarts_until_it_is_purged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(prewrite(5)).unwrap();
    store.write(commit(10, 20)).unwrap();
    store.write(commit(11, 21)).unwrap();
    barrier(&store);
    assert_eq!(store.gaps(), [], "not yet: it may still come");
    store.write(prewrite(11)).unwrap();
    store.write(rollback(5)).unwrap();
    barrier(&store);
    let check = |store: &Store| {
        assert_eq!(store.watermark().raw(), 21);
        assert_eq!(rows(store), [Row::of(11, 21)]);
        let gaps = store.gaps();
        assert_eq!(gaps.len(), 1);
        assert_eq!((gaps[0].range, gaps[0].reason), (range(19, 20), GapReason::MissingPrewrite));
        for ts in [10, 20] {
            let raw = store.raw(Ts::new(ts)).unwrap().unwrap();
            assert!(
                matches!(&raw, RawRecord::Commit(c) if c.commit_ts.raw() == 20 && c.start_ts.raw() == 10)
            );
        }
    };
    check(&store);
    let image = crash_image(dir.path());
    check(&Store::open_read_only(image.path()).unwrap());
    store.close().unwrap();
    let store = open(dir.path());
    check(&store);
    assert!(matches!(store.write(prewrite(10)), Err(Error::Late { .. })));
    assert_eq!(store.gc(CommitTs::new(20)).unwrap().raw(), 20);
    barrier(&store);
    assert_eq!(store.gaps(), []);
    assert_eq!(rows(&store), [Row::of(11, 21)]);
}

#[test]
fn a_gap_does_not_keep_what_came_with_its_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // One bundle: a prewrite, the commit of nobody, and one more whose own prewrite is still under way.
    write_together(&store, vec![prewrite(10), commit(5, 20), commit(6, 21)]).unwrap();
    write_together(&store, vec![prewrite(6), commit(10, 22)]).unwrap();
    barrier(&store);
    let check = |store: &Store| {
        assert_eq!(rows(store), [Row::of(6, 21), Row::of(10, 22)]);
        assert_eq!(store.gaps().iter().map(|gap| gap.range).collect::<Vec<_>>(), [range(19, 20)]);
        let raw = store.raw(Ts::new(5)).unwrap().unwrap();
        assert!(matches!(&raw, RawRecord::Commit(c) if c.commit_ts.raw() == 20), "{raw}");
    };
    check(&store);
    // Where it lies twice, and once.
    check(&open(crash_image(dir.path()).path()));
    store.flush().unwrap();
    assert_eq!(number(&store, "bundles"), 0);
    check(&store);
    let image = crash_image(dir.path());
    check(&Store::open_read_only(image.path()).unwrap());
    let store = open(image.path());
    check(&store);
    assert_eq!(number(&store, "bundles"), 0);
}

#[test]
fn a_gap_outlives_a_crash_at_any_step_of_making_files() {
    let dir = quick_dir();
    let images: Arc<Mutex<Vec<(FailPoint, TempDir)>>> = Arc::default();
    let mut hooked = options();
    hooked.tuning.failpoints = FailPoints::new({
        let (dir, images) = (dir.path().to_owned(), Arc::clone(&images));
        move |at| {
            if !matches!(at, FailPoint::BeforeBatch | FailPoint::AfterBatch | FailPoint::BeforeSettle) {
                images.lock().unwrap().push((at, crash_image(&dir)));
            }
            None
        }
    });
    let store = Store::open(dir.path(), hooked).unwrap();
    write_together(&store, vec![prewrite(10), commit(5, 20)]).unwrap();
    store.write(commit(10, 21)).unwrap();
    store.flush().unwrap();
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(images.len() > 6, "{} steps", images.len());
    for (point, image) in images {
        let check = |store: &Store| {
            assert_eq!(store.watermark().raw(), 21, "{point:?}");
            assert_eq!(rows(store), [Row::of(10, 21)], "{point:?}");
            let gaps: Vec<_> = store.gaps().iter().map(|gap| gap.range).collect();
            assert_eq!(gaps, [range(19, 20)], "{point:?}");
        };
        check(&Store::open_read_only(image.path()).unwrap());
        check(&open(image.path()));
        check(&open(image.path()));
    }
}

#[test]
fn a_commit_that_stays_in_its_bundle_is_found_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(prewrite(10)).unwrap();
    store.write(prewrite(15)).unwrap();
    // The bundle of the commits stays, with a prewrite that has no outcome.
    write_together(&store, vec![commit(10, 20), commit(15, 21), prewrite(30)]).unwrap();
    store.flush().unwrap();
    assert_eq!(number(&store, "bundles"), 1);
    let check = |store: &Store| {
        assert_eq!((store.watermark().raw(), store.pending_count()), (21, 1));
        assert_eq!(rows(store), [Row::of(10, 20), Row::of(15, 21)]);
        assert_eq!(store.gaps(), []);
    };
    check(&store);
    let image = crash_image(dir.path());
    check(&Store::open_read_only(image.path()).unwrap());
    drop(store);
    let store = open(dir.path());
    check(&store);
    assert_eq!(number(&store, "missing_prewrites"), 0, "nothing is said to be missing");
    // They come again, to a store that looks them up.
    for (start, at) in [(10, 20), (15, 21)] {
        store.write(prewrite(start)).unwrap();
        store.write(commit(start, at)).unwrap();
    }
    check(&store);
    store.write(commit(30, 40)).unwrap();
    barrier(&store);
    store.flush().unwrap();
    assert_eq!(number(&store, "bundles"), 0);
    assert_eq!(rows(&store).len(), 3);
}

#[test]
fn a_lost_outcome_is_a_gap_over_restarts_and_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for ts in [10, 11] {
        store.write(prewrite(ts)).unwrap();
    }
    assert!(store.unresolved(9).iter().all(|open| !open.recovered));
    store.close().unwrap();
    let store = open(dir.path());
    store.write(prewrite(40)).unwrap();
    let open_now: Vec<_> = store.unresolved(9).iter().map(|o| (o.start_ts.raw(), o.recovered)).collect();
    assert_eq!(open_now, [(10, true), (11, true), (40, false)]);
    store.write(commit(40, 50)).unwrap();
    for ts in [10, 11] {
        store.write(Write::Lost { start_ts: StartTs::new(ts), through: CommitTs::new(30) }).unwrap();
    }
    barrier(&store);
    let check = |store: &Store, lost: &[u64]| {
        assert_eq!(store.watermark().raw(), 50);
        assert_eq!(rows(store), [Row::of(40, 50)]);
        let gaps: Vec<_> = store.gaps().iter().map(|gap| (gap.range, gap.reason)).collect();
        let expected: Vec<_> = lost.iter().map(|ts| (range(*ts, 30), GapReason::LostOutcome)).collect();
        assert_eq!(gaps, expected);
        assert_eq!(store.pending_count(), 0);
        for ts in lost {
            let raw = store.raw(Ts::new(*ts)).unwrap().unwrap();
            assert!(matches!(raw, RawRecord::Prewrite { commit_ts: None, .. }), "{raw}");
        }
    };
    check(&store, &[10, 11]);
    check(&Store::open_read_only(crash_image(dir.path()).path()).unwrap(), &[10, 11]);
    store.close().unwrap();
    let store = open(dir.path());
    check(&store, &[10, 11]);
    store.write(rollback(11)).unwrap();
    store.close().unwrap();
    let store = open(dir.path());
    check(&store, &[10]);
    assert_eq!(store.raw(Ts::new(11)).unwrap(), None);
    store.gc(CommitTs::new(30)).unwrap();
    barrier(&store);
    assert_eq!(store.gaps(), []);
    assert_eq!(store.raw(Ts::new(10)).unwrap(), None);
}

#[test]
fn what_an_abandoned_store_never_heard_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(prewrite(10)).unwrap();
    store.write(prewrite(20)).unwrap();
    store.write(commit(20, 30)).unwrap();
    store.write(prewrite(40)).unwrap();
    let image = crash_image(dir.path());
    let dead = Store::open_read_only(image.path()).unwrap();
    assert!(dead.watermark().raw() < 30 && rows(&dead).is_empty());
    // It may have committed after its start, up to the last commit; what began after that one has nothing of it.
    for _ in 0..2 {
        let dead = Store::open_abandoned(image.path()).unwrap();
        assert_eq!((dead.watermark().raw(), rows(&dead)), (30, vec![Row::of(20, 30)]));
        let gaps: Vec<_> = dead.gaps().iter().map(|gap| (gap.range, gap.reason)).collect();
        assert_eq!(gaps, [(range(10, 30), GapReason::LostOutcome)]);
    }
    // Nothing of that is written.
    let again = open(image.path());
    assert_eq!((again.pending_count(), again.gaps()), (2, vec![]));
}

#[test]
fn a_late_commit_is_an_error_and_a_gap_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.offer_idle_ts(CommitTs::new(100));
    barrier(&store);
    store.write(prewrite(10)).unwrap();
    assert!(matches!(store.write(commit(10, 20)), Err(Error::Late { .. })));
    let check = |store: &Store| {
        assert_eq!(rows(store), []);
        assert_eq!(store.gaps().iter().map(|gap| gap.reason).collect::<Vec<_>>(), [GapReason::LateCommit]);
        assert_eq!(store.pending_count(), 0);
    };
    check(&store);
    check(&Store::open_read_only(crash_image(dir.path()).path()).unwrap());
    drop(store);
    let store = open(dir.path());
    check(&store);
    assert!(matches!(store.raw(Ts::new(10)).unwrap(), Some(RawRecord::Prewrite { .. })), "kept as evidence");
    store.gc(CommitTs::new(50)).unwrap();
    barrier(&store);
    assert_eq!(store.raw(Ts::new(10)).unwrap(), None);
}

#[test]
fn a_late_commit_below_the_safe_point_is_no_repetition_while_its_prewrite_is_here() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(prewrite(10)).unwrap();
    store.write(commit(10, 11)).unwrap();
    store.offer_idle_ts(CommitTs::new(100));
    barrier(&store);
    assert_eq!(store.gc(CommitTs::new(50)).unwrap().raw(), 50);
    store.write(prewrite(20)).unwrap();
    assert!(matches!(store.write(commit(20, 30)), Err(Error::Late { .. })));
    assert_eq!(store.gaps().len(), 1);
    assert!(matches!(store.raw(Ts::new(20)).unwrap(), Some(RawRecord::Prewrite { .. })), "kept as evidence");
    store.write(commit(10, 11)).unwrap();
    store.gc(CommitTs::new(60)).unwrap();
    barrier(&store);
    assert_eq!((store.gaps(), store.raw(Ts::new(20)).unwrap()), (vec![], None));
}

#[test]
fn gaps_have_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut few = unsynced();
    few.tuning.open_transactions = 10;
    let store = Store::open(dir.path(), few).unwrap();
    store.offer_idle_ts(CommitTs::new(1000));
    barrier(&store);
    for n in 10..20 {
        assert!(matches!(store.write(commit(n, n + 100)), Err(Error::Late { .. })));
    }
    let refused = store.write(prewrite(2000)).unwrap_err();
    assert_eq!((&refused, refused.kind()), (&Error::TooManyGaps { gaps: 10 }, ErrorKind::Unavailable));
    store.gc(CommitTs::new(500)).unwrap();
    barrier(&store);
    store.write(prewrite(2000)).unwrap();
}
