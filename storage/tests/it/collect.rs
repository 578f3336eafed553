//! What a collection costs, and that space really comes back.

use std::time::{Duration, Instant};

use binlog_storage::Store;
use binlog_types::{CommitTs, Gap, GapReason};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use crate::support::*;

fn figure(store: &Store, name: &str) -> u64 {
    store.numbers().into_iter().find(|(known, _)| known == name).map(|(_, value)| value).unwrap()
}

#[test]
fn files_are_dropped_whole_and_never_rewritten_before() {
    const KEPT: Duration = Duration::from_secs(3);
    const EVERY: Duration = Duration::from_millis(1500);
    let dir = quick_dir();
    let mut settings = unsynced();
    settings.tuning.log_file_bytes = 64 << 10;
    settings.tuning.spill_bytes = 1 << 20;
    settings.tuning.rewrite_after = Some(2 * KEPT);
    let store = Store::open(dir.path(), settings).unwrap();
    let mut random = StdRng::seed_from_u64(1);
    let begun = Instant::now();
    // One timestamp a microsecond.
    let now = || 10 + begun.elapsed().as_micros() as u64;
    let mut next = EVERY;
    let mut written = 0;
    while begun.elapsed() < 3 * KEPT {
        let mut payload = vec![0; 4 << 10];
        random.fill_bytes(&mut payload);
        written += payload.len() as u64;
        let start = now();
        store.write(prewrite_of(start, payload.into())).unwrap();
        store.write(commit(start, now().max(start + 1))).unwrap();
        if begun.elapsed() >= next {
            next += EVERY;
            store.gc(CommitTs::new(now().saturating_sub(KEPT.as_micros() as u64))).unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let rewritten = figure(&store, "rocksdb_compact_write_bytes");
    assert!(rewritten < written / 20, "{rewritten} of {written} were written again");
    let left = store.file_bytes(CommitTs::MAX).unwrap();
    assert!(left < written * 2 / 3, "{left} of {written} are left");
}

#[test]
fn the_last_file_goes_too() {
    let dir = quick_dir();
    let store = Store::open(dir.path(), unsynced()).unwrap();
    for n in 0..20 {
        store.write(prewrite(10 + 2 * n)).unwrap();
        store.write(commit(10 + 2 * n, 11 + 2 * n)).unwrap();
        if n % 7 == 0 {
            store.flush().unwrap();
        }
    }
    store.flush().unwrap();
    assert!(store.file_bytes(CommitTs::MAX).unwrap() > 0);
    store.gc(store.watermark()).unwrap();
    assert_eq!(store.file_bytes(CommitTs::MAX).unwrap(), 0);
    assert_eq!(rows(&store), []);
}

#[test]
fn what_nobody_had_read_stays_on_record_as_a_gap() {
    let dir = quick_dir();
    let store = Store::open(dir.path(), unsynced()).unwrap();
    store.offer_idle_ts(CommitTs::new(1000));
    barrier(&store);
    let gap = |after, through| Gap { range: range(after, through), reason: GapReason::Purged };
    let collect = |target, read| store.gc_past(CommitTs::new(target), CommitTs::new(read)).unwrap();
    collect(100, 100);
    assert_eq!(store.gaps(), []);
    collect(200, 150);
    collect(300, 150);
    store.gc(CommitTs::new(400)).unwrap();
    collect(2000, 500);
    let expected = [gap(150, 300), gap(500, 1000)];
    assert_eq!(store.gaps(), expected, "never above the watermark");
    assert_eq!(collect(2000, 0).raw(), 1000);
    assert_eq!(store.gaps(), expected, "nothing went");
    let dead = Store::open_read_only(crash_image(dir.path()).path()).unwrap();
    assert_eq!((dead.gaps(), dead.verify().unwrap().gaps), (expected.to_vec(), expected.to_vec()));
    store.close().unwrap();
    assert_eq!(open(dir.path()).gaps(), expected);
}

#[test]
fn what_only_grows_is_told_apart_and_the_lag_counts_on_while_nothing_is_written() {
    const MS: u64 = 1 << 18;
    let dir = quick_dir();
    let store = Store::open(dir.path(), unsynced()).unwrap();
    store.write(prewrite(10 * MS)).unwrap();
    store.offer_idle_ts(CommitTs::new(5000 * MS));
    barrier(&store);
    assert_eq!(figure(&store, "watermark_lag_ms"), 5000, "an undecided prewrite holds it");
    store.write(rollback(10 * MS)).unwrap();
    barrier(&store);
    assert_eq!(figure(&store, "watermark_lag_ms"), 0);
    let counts = store.counts();
    for (name, value) in &counts {
        assert!(figure(&store, name) >= *value, "{name}");
    }
    assert!(counts.iter().any(|(name, _)| name == "writes"));
    assert!(counts.iter().all(|(name, _)| name != "pending_prewrites" && name != "log_file_bytes"));
}
