//! A crash at every step of the write path, and steps that fail.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use binlog_storage::{CompletionSink, Error, FailPoint, FailPoints, Store, Write, WriteResult};
use binlog_types::CommitTs;
use tempfile::TempDir;

use crate::support::*;

pub(crate) const POINTS: [FailPoint; 9] = [
    FailPoint::BeforeBatch,
    FailPoint::AfterBatch,
    FailPoint::BeforeSettle,
    FailPoint::AfterSettle,
    FailPoint::BeforeLogFlush,
    FailPoint::AfterLogFlush,
    FailPoint::BeforePendingFlush,
    FailPoint::AfterPendingFlush,
    FailPoint::AfterSafePoint,
];

/// What had been acknowledged: (start, commit).
type Acknowledged = Arc<Mutex<BTreeSet<(u64, u64)>>>;
/// A directory as a crash left it, and what had been acknowledged before.
type Image = (TempDir, BTreeSet<(u64, u64)>);

/// Writes until `done`, with a few prewrites left open, out of order, and a collection on the way.
fn work(store: &Store, acknowledged: &Acknowledged, mut done: impl FnMut() -> bool) -> Result<(), Error> {
    for n in 0..300 {
        if done() {
            return Ok(());
        }
        let base = 100 + 10 * n;
        store.write(prewrite(base))?;
        store.write(prewrite(base + 1))?;
        store.write(prewrite(base + 2))?;
        store.write(rollback(base + 2))?;
        store.write(commit(base + 1, base + 6))?;
        acknowledged.lock().unwrap().insert((base + 1, base + 6));
        store.write(commit(base, base + 5))?;
        acknowledged.lock().unwrap().insert((base, base + 5));
        if n % 40 == 39 {
            store.gc(CommitTs::new(base - 300))?;
        }
    }
    Ok(())
}

pub(crate) fn check(store: &Store, acknowledged: &BTreeSet<(u64, u64)>, point: FailPoint) {
    for undecided in store.unresolved(usize::MAX) {
        store.write(Write::Rollback(undecided.start_ts)).unwrap();
    }
    barrier(store);
    let found: BTreeSet<_> = rows(store)
        .into_iter()
        .map(|row| {
            assert_eq!(row, Row::of(row.start, row.commit));
            (row.start, row.commit)
        })
        .collect();
    let safe_point = store.safe_point().raw();
    let lost: Vec<_> = acknowledged.iter().filter(|r| r.1 > safe_point && !found.contains(*r)).collect();
    assert!(lost.is_empty(), "{point:?}: lost {lost:?}, safe point {safe_point}");
    assert!(found.iter().all(|(start, _)| start % 10 != 2), "{point:?}: a rolled-back transaction");
    assert_eq!(store.gaps(), [], "{point:?}");
}

#[test]
fn a_crash_at_any_step_loses_nothing() {
    for point in POINTS {
        let dir = quick_dir();
        let acknowledged = Acknowledged::default();
        // The directory as it stood at some passes of the point, with what had been acknowledged before.
        let images: Arc<Mutex<Vec<Image>>> = Arc::default();
        let passes = Arc::new(Mutex::new(0));
        let mut hooked = unsynced();
        hooked.tuning.failpoints = FailPoints::new({
            let (dir, acknowledged) = (dir.path().to_owned(), Arc::clone(&acknowledged));
            let (images, passes) = (Arc::clone(&images), Arc::clone(&passes));
            move |at| {
                if at == point {
                    let mut passes = passes.lock().unwrap();
                    *passes += 1;
                    let often = matches!(
                        point,
                        FailPoint::BeforeBatch
                            | FailPoint::AfterBatch
                            | FailPoint::BeforeSettle
                            | FailPoint::AfterSettle
                    );
                    if *passes % if often { 97 } else { 3 } == 1 {
                        let before = acknowledged.lock().unwrap().clone();
                        images.lock().unwrap().push((crash_image(&dir), before));
                    }
                }
                None
            }
        });
        let store = Store::open(dir.path(), hooked).unwrap();
        work(&store, &acknowledged, || images.lock().unwrap().len() >= 2).unwrap();
        drop(store);
        let images = std::mem::take(&mut *images.lock().unwrap());
        assert!(!images.is_empty(), "{point:?} was never passed");
        for (image, before) in images {
            let dead = Store::open_read_only(image.path()).unwrap();
            let seen = rows(&dead);
            drop(dead);
            let store = open(image.path());
            assert!(store.watermark().raw() == 0 || rows(&store).starts_with(&seen[..seen.len().min(1)]));
            check(&store, &before, point);
            drop(store);
            // And once more, from what the recovery itself left.
            check(&open(image.path()), &before, point);
        }
    }
}

#[test]
fn the_first_failed_step_stops_all_writes_and_no_reads() {
    for point in POINTS.into_iter().filter(|point| *point != FailPoint::AfterSafePoint) {
        let dir = quick_dir();
        let acknowledged = Acknowledged::default();
        let passes = Arc::new(Mutex::new(0));
        let mut hooked = unsynced();
        hooked.tuning.failpoints = FailPoints::new(move |at| {
            let mut passes = passes.lock().unwrap();
            *passes += u32::from(at == point);
            (at == point && *passes == 2).then(|| format!("disk on fire at {point:?}"))
        });
        let store = Store::open(dir.path(), hooked).unwrap();
        let error = work(&store, &acknowledged, || false).unwrap_err();
        assert!(
            matches!(&error, Error::Poisoned { reason } if reason.contains("disk on fire")),
            "{point:?}: {error}"
        );
        assert!(store.poisoned().unwrap().contains("disk on fire"));
        assert!(matches!(store.write(prewrite(9000)), Err(Error::Poisoned { .. })));
        assert!(matches!(store.put_meta("a", b"b"), Err(Error::Poisoned { .. })));
        assert!(matches!(store.gc(CommitTs::MAX), Err(Error::Poisoned { .. })));
        let before = rows(&store);
        assert!(before.iter().all(|row| *row == Row::of(row.start, row.commit)));
        assert!(store.close().is_err());
        let store = open(dir.path());
        assert!(rows(&store).starts_with(&before), "{point:?}: what was served is served again");
        let acknowledged = acknowledged.lock().unwrap().clone();
        check(&store, &acknowledged, point);
    }
}

#[test]
fn a_sink_that_panics_stops_the_store_and_leaves_nobody_waiting() {
    struct Bomb;
    impl CompletionSink for Bomb {
        fn completed(&self, _: Vec<(u64, WriteResult)>) {
            panic!("a bug in the layer above");
        }
    }
    let dir = quick_dir();
    let store = open(dir.path());
    let bomb: Arc<dyn CompletionSink> = Arc::new(Bomb);
    store.submit(vec![(1, prewrite(10))], &bomb);
    eventually("the store notices", || store.poisoned().is_some());
    assert!(matches!(store.write(prewrite(11)), Err(Error::Poisoned { .. })));
    assert!(matches!(store.flush(), Err(Error::Poisoned { .. })));
    assert!(matches!(store.close(), Err(Error::Poisoned { .. })));
    assert_eq!(open(dir.path()).pending_count(), 1, "it was durable before the sink was told");
}
