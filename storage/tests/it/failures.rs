//! A crash at every step of the write path, and steps that fail.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use binlog_storage::{CompletionSink, Error, FailPoint, FailPoints, Store, Write, WriteResult};
use binlog_types::{CommitTs, Ts};
use tempfile::TempDir;

use crate::support::*;

pub(crate) const POINTS: [FailPoint; 12] = [
    FailPoint::AfterPiece,
    FailPoint::BeforeBatch,
    FailPoint::AfterBatch,
    FailPoint::BeforeSettle,
    FailPoint::AfterSettle,
    FailPoint::BeforeLogFlush,
    FailPoint::AfterLogFlush,
    FailPoint::BeforeRelease,
    FailPoint::AfterRelease,
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
    let mut last = None;
    for n in 0..300 {
        if done() {
            return Ok(());
        }
        let base = 100 + 10 * n;
        let undone =
            if n % 20 == 3 { prewrite_of(base + 2, large_payload(base)) } else { prewrite(base + 2) };
        // One bundle, which goes with the last of them; the commit is of a transaction in an earlier one.
        let committed = last.map(|(start, at)| commit(start, at));
        write_together(
            store,
            [prewrite(base), prewrite(base + 1), undone].into_iter().chain(committed).collect(),
        )?;
        acknowledged.lock().unwrap().extend(last);
        store.write(rollback(base + 2))?;
        store.write(commit(base + 1, base + 6))?;
        acknowledged.lock().unwrap().insert((base + 1, base + 6));
        last = Some((base, base + 5));
        if n % 40 == 39 {
            store.gc(CommitTs::new(base - 300))?;
        }
    }
    Ok(())
}

pub(crate) fn check(store: &Store, acknowledged: &BTreeSet<(u64, u64)>, point: FailPoint) {
    for undecided in store.unresolved(usize::MAX) {
        let start = undecided.start_ts.raw();
        // In one go: 0 and 1 are committed after 2 is rolled back.
        let over =
            acknowledged.iter().any(|(known, _)| *known == start || known + 1 == start && start % 10 == 2);
        assert!(!over, "{point:?}: {start} is undecided again");
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
        let acknowledged = acknowledged.lock().unwrap().clone();
        check(&store, &acknowledged, point);
        assert!(rows(&store).starts_with(&before), "{point:?}: what was served is served again");
    }
}

#[test]
fn a_crash_between_the_pieces_of_a_large_prewrite_leaves_nothing_of_it() {
    let dir = quick_dir();
    let images: Arc<Mutex<Vec<TempDir>>> = Arc::default();
    let mut hooked = unsynced();
    hooked.tuning.failpoints = FailPoints::new({
        let (dir, images, passes) = (dir.path().to_owned(), Arc::clone(&images), AtomicUsize::new(0));
        move |at| {
            if at == FailPoint::AfterPiece && [0, 7, 18].contains(&passes.fetch_add(1, Ordering::SeqCst)) {
                images.lock().unwrap().push(crash_image(&dir));
            }
            None
        }
    });
    let store = Store::open(dir.path(), hooked).unwrap();
    store.write(prewrite(20)).unwrap();
    store.write(prewrite_of(10, large_payload(10))).unwrap();
    store.write(commit(20, 21)).unwrap();
    store.write(commit(10, 22)).unwrap();
    barrier(&store);
    let expected = [Row::of(20, 21), Row { payload: large_payload(10), ..Row::of(10, 22) }];
    assert_eq!(rows(&store), expected);
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert_eq!(images.len(), 3);
    for image in images {
        assert_eq!(Store::open_read_only(image.path()).unwrap().pending_count(), 1);
        let store = open(image.path());
        assert_eq!(store.pending_count(), 1, "only the small one was acknowledged");
        assert_eq!(store.raw(Ts::new(10)).unwrap(), None, "no piece is left");
        store.write(prewrite_of(10, large_payload(10))).unwrap();
        store.write(commit(20, 21)).unwrap();
        store.write(commit(10, 22)).unwrap();
        drop(store);
        assert_eq!(rows(&open(image.path())), expected);
    }
}

#[test]
fn others_have_their_turn_between_the_pieces_of_a_large_prewrite() {
    #[derive(Default)]
    struct Order(Mutex<Vec<(u64, WriteResult)>>);
    impl CompletionSink for Order {
        fn completed(&self, results: Vec<(u64, WriteResult)>) {
            self.0.lock().unwrap().extend(results);
        }
    }
    let dir = quick_dir();
    let order: Arc<Order> = Arc::default();
    let sink: Arc<dyn CompletionSink> = Arc::clone(&order) as Arc<dyn CompletionSink>;
    let handle: Arc<Mutex<Option<Store>>> = Arc::default();
    let mut hooked = unsynced();
    hooked.tuning.failpoints = FailPoints::new({
        let (sink, handle, passes) = (Arc::clone(&sink), Arc::clone(&handle), AtomicUsize::new(0));
        move |at| {
            if at == FailPoint::AfterPiece {
                let writes = match passes.fetch_add(1, Ordering::SeqCst) {
                    3 => vec![
                        (2, prewrite(20)),
                        (3, prewrite_of(10, large_payload(10))),
                        (4, commit(10, 99)),
                        (5, prewrite_of(30, large_payload(30))),
                        (6, rollback(30)),
                    ],
                    6 => vec![(7, commit(20, 98))],
                    _ => vec![],
                };
                handle.lock().unwrap().as_ref().unwrap().submit(writes, &sink);
            }
            None
        }
    });
    let store = Store::open(dir.path(), hooked).unwrap();
    *handle.lock().unwrap() = Some(store.clone());
    store.submit(vec![(1, prewrite_of(10, large_payload(10)))], &sink);
    eventually("all are answered", || order.0.lock().unwrap().len() == 7);
    handle.lock().unwrap().take();
    let answers = std::mem::take(&mut *order.0.lock().unwrap());
    assert!(answers.iter().all(|(_, result)| result.is_ok()), "{answers:?}");
    let order: Vec<u64> = answers.into_iter().map(|(token, _)| token).collect();
    assert_eq!(
        order,
        [2, 7, 1, 3, 4, 5, 6],
        "small ones between the pieces, the same transaction behind them"
    );
    barrier(&store);
    let large = Row { payload: large_payload(10), ..Row::of(10, 99) };
    assert_eq!(rows(&store), [Row::of(20, 98), large]);
    assert_eq!(store.pending_count(), 0);
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

#[test]
fn a_commit_that_comes_again_after_a_crash_between_files_is_no_gap() {
    let dir = quick_dir();
    let image: Arc<Mutex<Option<TempDir>>> = Arc::default();
    let mut hooked = unsynced();
    hooked.tuning.failpoints = FailPoints::new({
        let (dir, image) = (dir.path().to_owned(), Arc::clone(&image));
        move |at| {
            if at == FailPoint::BeforePendingFlush {
                image.lock().unwrap().get_or_insert_with(|| crash_image(&dir));
            }
            None
        }
    });
    let store = Store::open(dir.path(), hooked).unwrap();
    let mut last = 0;
    for start in (10..10_000).step_by(10) {
        store.write(prewrite(start)).unwrap();
        store.write(commit(start, start + 5)).unwrap();
        last = start;
        barrier(&store);
        std::thread::sleep(std::time::Duration::from_millis(5));
        if image.lock().unwrap().is_some() {
            break;
        }
    }
    let image = image.lock().unwrap().take().unwrap();
    let store = open(image.path());
    for start in (10..=last).step_by(10) {
        store.write(commit(start, start + 5)).unwrap();
    }
    store.offer_idle_ts(CommitTs::new(last + 9));
    barrier(&store);
    assert_eq!((store.gaps(), store.pending_count()), (vec![], 0));
    assert!(rows(&store).into_iter().eq((10..=last).step_by(10).map(|start| Row::of(start, start + 5))));
}

/// Keeps what it is told.
#[derive(Default)]
struct Answers(Mutex<Vec<(u64, WriteResult)>>);

impl CompletionSink for Answers {
    fn completed(&self, results: Vec<(u64, WriteResult)>) {
        self.0.lock().unwrap().extend(results);
    }
}

impl Answers {
    fn sink(self: &Arc<Self>) -> Arc<dyn CompletionSink> {
        Arc::clone(self) as Arc<dyn CompletionSink>
    }

    /// Waits for the answers to the tokens `1..=count`; gives which of them failed.
    fn failed(&self, count: u64) -> Vec<u64> {
        eventually("all are answered", || self.0.lock().unwrap().len() as u64 >= count);
        let mut answers = std::mem::take(&mut *self.0.lock().unwrap());
        answers.sort_by_key(|(token, _)| *token);
        assert!(answers.iter().map(|(token, _)| *token).eq(1..=count), "each once: {answers:?}");
        answers.into_iter().filter(|(_, result)| result.is_err()).map(|(token, _)| token).collect()
    }
}

#[test]
fn a_failure_between_the_pieces_of_a_large_prewrite_leaves_nobody_waiting() {
    let dir = quick_dir();
    let answers: Arc<Answers> = Arc::default();
    let sink = answers.sink();
    let handle: Arc<Mutex<Option<Store>>> = Arc::default();
    let mut hooked = unsynced();
    hooked.tuning.failpoints = FailPoints::new({
        let (handle, pieces, broken) =
            (Arc::clone(&handle), AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        move |at| {
            if at == FailPoint::AfterPiece && pieces.fetch_add(1, Ordering::SeqCst) == 3 {
                // More than a batch, some of it to be put off, and more behind it.
                let mut first = vec![(2, rollback(10)), (3, prewrite_of(200, large_payload(200)))];
                first.extend((4..=63).map(|n| (n, prewrite_of(1000 + n, vec![1; 900].into()))));
                let second = (64..=70).map(|n| (n, prewrite_of(1000 + n, vec![1; 900].into()))).collect();
                let handle = handle.lock().unwrap();
                let store = handle.as_ref().unwrap();
                store.submit(first, &sink);
                store.submit(second, &sink);
                broken.store(1, Ordering::SeqCst);
            }
            (at == FailPoint::BeforeBatch && broken.load(Ordering::SeqCst) == 1).then(|| "no disk".to_owned())
        }
    });
    let store = Store::open(dir.path(), hooked).unwrap();
    *handle.lock().unwrap() = Some(store.clone());
    store.submit(vec![(1, prewrite_of(10, large_payload(10)))], &answers.sink());
    assert_eq!(answers.failed(70), (1..=70).collect::<Vec<_>>());
    handle.lock().unwrap().take();
    assert!(store.poisoned().unwrap().contains("no disk"));
}

#[test]
fn a_panic_with_others_waiting_answers_them_all() {
    struct Bomb;
    impl CompletionSink for Bomb {
        fn completed(&self, _: Vec<(u64, WriteResult)>) {
            panic!("a bug in the layer above");
        }
    }
    let dir = quick_dir();
    let (before, behind): (Arc<Answers>, Arc<Answers>) = Default::default();
    let handle: Arc<Mutex<Option<Store>>> = Arc::default();
    let mut hooked = unsynced();
    hooked.tuning.failpoints = FailPoints::new({
        let (handle, passes) = (Arc::clone(&handle), AtomicUsize::new(0));
        let (bomb, before, behind) = (Arc::new(Bomb), before.sink(), behind.sink());
        move |at| {
            if at == FailPoint::BeforeBatch && passes.fetch_add(1, Ordering::SeqCst) == 0 {
                let bomb = Arc::clone(&bomb) as Arc<dyn CompletionSink>;
                let handle = handle.lock().unwrap();
                let store = handle.as_ref().unwrap();
                // One batch: the bomb is told first.
                store.submit(vec![(1, prewrite(20))], &bomb);
                store.submit(vec![(1, prewrite(21)), (2, prewrite(22))], &before);
                // The next ones.
                let rest = (1..=40).map(|n| (n, prewrite_of(100 + n, vec![1; 900].into()))).collect();
                store.submit(vec![(3, prewrite_of(30, vec![1; 7000].into()))], &before);
                store.submit(vec![(4, prewrite_of(31, vec![1; 7000].into()))], &before);
                store.submit(rest, &behind);
            }
            None
        }
    });
    let store = Store::open(dir.path(), hooked).unwrap();
    *handle.lock().unwrap() = Some(store.clone());
    store.write(prewrite(10)).unwrap();
    assert_eq!(before.failed(4), [], "of the same batch, which is on the disk");
    let failed = behind.failed(40);
    assert!(failed.ends_with(&[39, 40]) && failed.len() >= 30, "{failed:?}");
    handle.lock().unwrap().take();
    assert!(matches!(store.flush(), Err(Error::Poisoned { .. })));
    assert!(store.poisoned().unwrap().contains("panicked"));
}
