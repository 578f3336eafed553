//! Bytes on the disk that are not what was written.

use std::path::{Path, PathBuf};

use binlog_storage::{Commit, Error, ErrorKind, SchemaEntry, Store, Write};
use binlog_types::{CommitTs, SchemaVersion, StartTs};
use bytes::Bytes;

use crate::support::*;

fn filled(dir: &Path) -> Store {
    // Nothing is flushed unless asked for: all in one file of the write-ahead log.
    let mut large = options();
    (large.tuning.log_file_bytes, large.tuning.spill_bytes) = (1 << 20, 1 << 20);
    let store = Store::open(dir, large).unwrap();
    for n in 0..20 {
        store.write(prewrite(10 + 2 * n)).unwrap();
        store.write(commit(10 + 2 * n, 11 + 2 * n)).unwrap();
    }
    barrier(&store);
    store
}

fn newest(dir: &Path, extension: &str) -> PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == extension));
    files.sort();
    files.pop().unwrap()
}

/// One byte in the middle of the write-ahead log.
fn damage_the_newest_log(dir: &Path) {
    let log = newest(dir, "log");
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(&log, bytes).unwrap();
}

fn edit(dir: &Path, edit: impl FnOnce(&rocksdb::DB)) {
    let options = rocksdb::Options::default();
    let db = rocksdb::DB::open_cf(&options, dir, ["bundle", "pending", "commit", "log", "schema", "meta"])
        .unwrap();
    edit(&db);
    db.flush().unwrap();
}

#[test]
fn a_torn_tail_of_the_write_ahead_log_was_never_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let image = crash_image(dir.path());
    let log = newest(image.path(), "log");
    let whole = std::fs::read(&log).unwrap();
    assert!(whole.len() > 1000);
    for cut in [1, 7, 40] {
        let torn = crash_image(image.path());
        std::fs::write(newest(torn.path(), "log"), &whole[..whole.len() - cut]).unwrap();
        let found = rows(&open(torn.path()));
        let all = rows(&store);
        assert!(found.len() + 1 >= all.len() && all.starts_with(&found), "{} of {}", found.len(), all.len());
    }
}

#[test]
fn damage_in_the_middle_of_the_write_ahead_log_refuses_to_open() {
    let dir = tempfile::tempdir().unwrap();
    let _store = filled(dir.path());
    let image = crash_image(dir.path());
    damage_the_newest_log(image.path());
    for refused in
        [Store::open(image.path(), options()).unwrap_err(), Store::open_read_only(image.path()).unwrap_err()]
    {
        assert_eq!(refused.kind(), ErrorKind::Corrupted, "{refused}");
        // Nothing was in files yet.
        let Error::DamagedWal { after, seen, .. } = &refused else { panic!("{refused}") };
        assert!(after.raw() == 0 && (11..=49).contains(&seen.raw()), "{refused}");
    }
}

#[test]
fn damage_of_the_write_ahead_log_names_what_is_whole_in_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.flush().unwrap();
    // Several blocks of the log, of which the damage makes one unreadable.
    let mut random = 1_u64;
    let mut noise = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 56) as u8
    };
    for n in 0..100 {
        let payload: Vec<u8> = (0..2000).map(|_| noise()).collect();
        store.write(prewrite_of(110 + 2 * n, payload.into())).unwrap();
        store.write(commit(110 + 2 * n, 111 + 2 * n)).unwrap();
    }
    let image = crash_image(dir.path());
    damage_the_newest_log(image.path());
    let before: Vec<_> = std::fs::read_dir(image.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    let refused = Store::open_read_only(image.path()).unwrap_err();
    let Error::DamagedWal { after, seen, .. } = &refused else { panic!("{refused}") };
    assert!((49..=seen.raw()).contains(&after.raw()) && seen.raw() <= 309, "{refused}");
    let left: Vec<_> = std::fs::read_dir(image.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(before, left, "looking changes nothing");
    // What it calls whole is there without any write-ahead log.
    for file in left.iter().filter(|name| name.to_string_lossy().ends_with(".log")) {
        std::fs::remove_file(image.path().join(file)).unwrap();
    }
    let expected = (10_u64..49).step_by(2).chain((110..309).step_by(2)).filter(|start| *start < after.raw());
    edit(image.path(), |db| {
        let log = db.cf_handle("log").unwrap();
        for start in expected {
            let key = [&(start + 1).to_be_bytes()[..], &start.to_be_bytes()[..], &[0; 4]].concat();
            assert!(db.get_cf(log, &key).unwrap().is_some(), "commit {} is gone", start + 1);
        }
    });
}

#[test]
fn a_damaged_record_is_named_and_those_before_it_are_served() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).close().unwrap();
    let key = [&19_u64.to_be_bytes()[..], &18_u64.to_be_bytes()[..], &0_u32.to_be_bytes()[..]].concat();
    edit(dir.path(), |db| {
        let log = db.cf_handle("log").unwrap();
        let mut value = db.get_cf(log, &key).unwrap().unwrap();
        *value.last_mut().unwrap() ^= 1;
        db.put_cf(log, &key, value).unwrap();
    });
    let store = open(dir.path());
    let mut scan = store.scan(range(0, 100)).unwrap();
    assert_eq!(rows_of(&scan.next_batch(usize::MAX).unwrap()).last().unwrap().commit, 17);
    assert_eq!(scan.complete_through().raw(), 17);
    let error = scan.next_batch(usize::MAX).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { position, .. } if position.contains("commit_ts 19 start_ts 18 piece 0")
        && position.contains(".sst")),
        "{error}"
    );
    assert_eq!(rows_of(&try_scan(&store, 19, 100).unwrap())[0].commit, 21, "what lies behind it can be read");
}

#[test]
fn a_record_from_the_future_is_named() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).close().unwrap();
    let key = [&11_u64.to_be_bytes()[..], &10_u64.to_be_bytes()[..], &0_u32.to_be_bytes()[..]].concat();
    edit(dir.path(), |db| {
        let log = db.cf_handle("log").unwrap();
        let mut value = db.get_cf(log, &key).unwrap().unwrap();
        value[0] = 9;
        db.put_cf(log, &key, value).unwrap();
    });
    let error = try_scan(&open(dir.path()), 0, 100).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 9, supported: 1, .. }), "{error}");
}

#[test]
fn a_missing_piece_is_corruption() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(prewrite_of(10, vec![7; 5000].into())).unwrap();
    store.write(commit(10, 11)).unwrap();
    store.close().unwrap();
    for piece in [0_u32, 2, 4] {
        let copy = crash_image(dir.path());
        let key = [&11_u64.to_be_bytes()[..], &10_u64.to_be_bytes()[..], &piece.to_be_bytes()[..]].concat();
        edit(copy.path(), |db| db.delete_cf(db.cf_handle("log").unwrap(), &key).unwrap());
        let error = open(copy.path()).scan(range(0, 100)).unwrap().next_batch(0).err();
        let error = error.or_else(|| try_scan(&open(copy.path()), 0, 100).err()).unwrap();
        assert!(
            matches!(&error, Error::Corrupt { position, .. } if position.contains("commit_ts 11")),
            "{error}"
        );
    }
}

#[test]
fn a_damaged_marker_or_stamp_refuses_to_open_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.write(commit(500, 501)).unwrap();
    drop(store);
    for (cf, key, named) in
        [("commit", &500_u64.to_be_bytes()[..], "start_ts 500"), ("meta", b"stamp", "stamp")]
    {
        let copy = crash_image(dir.path());
        edit(copy.path(), |db| {
            let family = db.cf_handle(cf).unwrap();
            let mut value = db.get_cf(family, key).unwrap().unwrap();
            *value.last_mut().unwrap() ^= 1;
            db.put_cf(family, key, value).unwrap();
        });
        let error = Store::open(copy.path(), options()).unwrap_err();
        assert!(matches!(&error, Error::Corrupt { position, .. } if position.contains(named)), "{error}");
    }
}

#[test]
fn verify_names_each_damaged_stretch_exactly() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).close().unwrap();
    let whole = Store::open_read_only(dir.path()).unwrap().verify().unwrap();
    assert_eq!((whole.records, whole.damage.len(), whole.range), (20, 0, range(0, 49)));
    edit(dir.path(), |db| {
        let log = db.cf_handle("log").unwrap();
        for start in [18_u64, 30] {
            let key = [&(start + 1).to_be_bytes()[..], &start.to_be_bytes()[..], &[0; 4]].concat();
            let mut value = db.get_cf(log, &key).unwrap().unwrap();
            *value.last_mut().unwrap() ^= 1;
            db.put_cf(log, &key, value).unwrap();
        }
    });
    let found = Store::open_read_only(dir.path()).unwrap().verify().unwrap();
    let ranges: Vec<_> = found.damage.iter().map(|damage| damage.range).collect();
    assert_eq!((found.records, ranges), (18, vec![range(18, 19), range(30, 31)]));
    assert!(found.damage[0].what.contains(".sst"), "{:?}", found.damage);
}

#[test]
fn verify_finds_its_way_around_a_damaged_block() {
    let dir = tempfile::tempdir().unwrap();
    let mut large = options();
    large.tuning.log_file_bytes = 8 << 20;
    let store = Store::open(dir.path(), large).unwrap();
    let body = |n: u64| {
        let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(n);
        let mut bytes = vec![0; 900];
        rand::RngCore::fill_bytes(&mut random, &mut bytes);
        bytes.into()
    };
    for n in 0..400 {
        store.write(prewrite_of(10 + 2 * n, body(n))).unwrap();
        store.write(commit(10 + 2 * n, 11 + 2 * n)).unwrap();
    }
    store.close().unwrap();
    let files = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path());
    let largest = files.filter(|p| p.extension().is_some_and(|e| e == "sst"));
    let file = largest.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(&file, bytes).unwrap();
    let store = Store::open_read_only(dir.path()).unwrap();
    let found = store.verify().unwrap();
    assert_eq!(found.damage.len(), 1, "{:?}", found.damage);
    let damaged = found.damage[0].range;
    assert!(damaged.through.raw() - damaged.after.raw() < 100, "one block, not {damaged}");
    // Commits have odd timestamps, from 11 on.
    let lost = damaged.through.raw().div_ceil(2) - damaged.after.raw().max(10).div_ceil(2);
    assert!(found.records + lost == 400, "{} read, {lost} lost in {damaged}", found.records);
    let through = damaged.through.raw();
    let behind = rows_of(&try_scan(&store, through, 900).unwrap());
    assert!(behind.first().is_none_or(|row| row.commit == through + 1 + through % 2));
}

/// Flips a bit of the last byte of a value.
fn spoil(dir: &Path, cf: &str, key: &[u8]) {
    edit(dir, |db| {
        let family = db.cf_handle(cf).unwrap();
        let mut value = db.get_cf(family, key).unwrap().unwrap();
        *value.last_mut().unwrap() ^= 1;
        db.put_cf(family, key, value).unwrap();
    });
}

/// Commits 11, 21, …, 91 are in files, 111 … 191 only under the write-ahead log, and 200 is undecided.
fn half_in_files(dir: &Path) -> Store {
    let store = filled_to(dir, 10, 100);
    store.flush().unwrap();
    for start in (110..200).step_by(10) {
        store.write(prewrite(start)).unwrap();
        store.write(commit(start, start + 1)).unwrap();
    }
    store.write(prewrite(200)).unwrap();
    barrier(&store);
    store
}

fn filled_to(dir: &Path, first: u64, end: u64) -> Store {
    let mut large = options();
    (large.tuning.log_file_bytes, large.tuning.spill_bytes) = (1 << 20, 1 << 20);
    let store = Store::open(dir, large).unwrap();
    for start in (first..end).step_by(10) {
        store.write(prewrite(start)).unwrap();
        store.write(commit(start, start + 1)).unwrap();
    }
    barrier(&store);
    store
}

fn commits(store: &Store) -> Vec<u64> {
    rows(store).iter().map(|row| row.commit).collect()
}

#[test]
fn a_damaged_marker_ends_a_dead_store_where_something_may_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let store = half_in_files(dir.path());
    let image = crash_image(dir.path());
    drop(store);
    assert_eq!(Store::open_read_only(image.path()).unwrap().watermark().raw(), 191);
    edit(image.path(), |db| {
        // As one that stands alone lies there, but for its checksum.
        let marker = [[1, 0, 0, 0, 0, 0, 0, 0], 151_u64.to_be_bytes()].concat();
        db.put_cf(db.cf_handle("commit").unwrap(), 150_u64.to_be_bytes(), marker).unwrap();
    });
    let dead = Store::open_read_only(image.path()).unwrap();
    // The record of 150 lies somewhere above.
    assert_eq!(dead.watermark().raw(), 150);
    let all: Vec<u64> = (11..=91).step_by(10).chain((111..=141).step_by(10)).collect();
    assert_eq!(commits(&dead), all);
    let found = dead.verify().unwrap();
    assert_eq!((found.records, found.range), (13, range(0, 150)));
    let what = "corrupt data at commit start_ts 150: the marker's checksum does not match; where it committed is not known, \
                so the store ends at 150";
    assert_eq!(found.damage.len(), 1, "{:?}", found.damage);
    assert_eq!((found.damage[0].what.as_str(), found.damage[0].range.after.raw()), (what, 150));
    assert_eq!(dead.damage(), found.damage);
    let refused = Store::open(image.path(), options()).unwrap_err();
    assert!(
        matches!(&refused, Error::Corrupt { position, .. } if position.contains("start_ts 150")),
        "{refused}"
    );
}

#[test]
fn a_damaged_marker_of_what_is_in_files_spoils_only_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = half_in_files(dir.path());
    // Of what was settled and deleted long ago.
    let image = crash_image(dir.path());
    drop(store);
    edit(image.path(), |db| {
        db.put_cf(db.cf_handle("commit").unwrap(), 30_u64.to_be_bytes(), b"nonsense").unwrap();
    });
    let dead = Store::open_read_only(image.path()).unwrap();
    assert_eq!((dead.watermark().raw(), commits(&dead)), (91, (11..=91).step_by(10).collect()));
}

/// Changes the bundle that begins with a prewrite: a byte counted from its beginning, or from its end.
fn spoil_bundle(dir: &Path, start: u64, at: isize) {
    edit(dir, |db| {
        let family = db.cf_handle("bundle").unwrap();
        let mut all = db.iterator_cf(family, rocksdb::IteratorMode::Start).map(Result::unwrap);
        // Behind the header and the two numbers comes the first start_ts, twice its value in groups of seven bits.
        let first = [((2 * start) as u8) | 0x80, (start >> 6) as u8];
        let (key, value) = all.find(|(_, value)| value[12] > 0 && value[14..].starts_with(&first)).unwrap();
        let mut value = value.into_vec();
        let at = if at < 0 { value.len() - at.unsigned_abs() } else { at.unsigned_abs() };
        value[at] ^= 1;
        db.put_cf(family, key, value).unwrap();
    });
}

#[test]
fn a_damaged_prewrite_is_its_own_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = half_in_files(dir.path());
    let image = crash_image(dir.path());
    drop(store);
    // The body of a bundle of one that has committed, and of one that has not.
    let joined = crash_image(image.path());
    spoil_bundle(joined.path(), 150, -1);
    let dead = Store::open_read_only(joined.path()).unwrap();
    let found = dead.verify().unwrap();
    let ranges: Vec<_> = found.damage.iter().map(|damage| damage.range).collect();
    assert_eq!((found.records, found.range, ranges), (17, range(0, 191), vec![range(150, 151)]));
    let mut scan = dead.scan(range(0, 191)).unwrap();
    assert_eq!(rows_of(&scan.next_batch(usize::MAX).unwrap()).last().unwrap().commit, 141);
    assert!(matches!(scan.next_batch(usize::MAX), Err(Error::Corrupt { .. })));
    assert_eq!(rows_of(&try_scan(&dead, 151, 191).unwrap()).len(), 4);
    let refused = Store::open(joined.path(), options()).unwrap_err().to_string();
    assert!(refused.contains("start_ts 150"), "{refused}");

    let undecided = crash_image(image.path());
    spoil_bundle(undecided.path(), 200, -1);
    let dead = Store::open_read_only(undecided.path()).unwrap();
    let found = dead.verify().unwrap();
    assert_eq!((found.records, found.range), (18, range(0, 191)));
    assert_eq!(found.damage.len(), 1, "{:?}", found.damage);
    assert_eq!(found.damage[0].range.after.raw(), 200);
    assert!(found.damage[0].what.contains("start_ts 200"), "{:?}", found.damage);
    assert_eq!(dead.pending_count(), 1);

    // Where the directory is damaged too, nobody knows which prewrites and commits it held: the store ends with what is whole in files.
    let nameless = crash_image(image.path());
    spoil_bundle(nameless.path(), 150, 12);
    let dead = Store::open_read_only(nameless.path()).unwrap();
    assert_eq!((dead.watermark().raw(), commits(&dead)), (91, (11..=91).step_by(10).collect()));
    let what = dead.damage()[0].what.clone();
    assert!(what.contains("which transactions it held is not known"), "{what}");
}

#[test]
fn damage_of_several_prewrites_together_names_each() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled_to(dir.path(), 10, 100);
    write_together(&store, [110, 120, 130].map(prewrite).to_vec()).unwrap();
    store.write(commit(120, 121)).unwrap();
    store.write(rollback(130)).unwrap();
    let image = crash_image(dir.path());
    drop(store);
    spoil_bundle(image.path(), 110, -1);
    let dead = Store::open_read_only(image.path()).unwrap();
    // The one that was rolled back is missed by nobody; the other one is not readable before 110 has an outcome.
    let damage: Vec<_> = dead.verify().unwrap().damage.into_iter().map(|damage| damage.what).collect();
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert!(damage[0].contains("start_ts 110"), "{damage:?}");
    assert_eq!((dead.watermark().raw(), dead.pending_count()), (91, 1));
    let dead = Store::open_abandoned(image.path()).unwrap();
    assert_eq!(dead.watermark().raw(), 121);
    assert!(try_scan(&dead, 91, 121).is_err());
}

#[test]
fn damage_of_commits_ends_a_dead_store_in_front_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled_to(dir.path(), 10, 100);
    store.flush().unwrap();
    write_together(&store, [110, 120].map(prewrite).to_vec()).unwrap();
    let with_extra = |start, at, extra: &'static [u8]| {
        let (start_ts, commit_ts) = (StartTs::new(start), CommitTs::new(at));
        Write::Commit(Commit { start_ts, commit_ts, extra: Bytes::from_static(extra) })
    };
    // One of them says something that stands in the body, the other one is whole in the directory.
    let commits_of_both = vec![prewrite(130), with_extra(110, 111, b""), with_extra(120, 121, b"extra")];
    write_together(&store, commits_of_both).unwrap();
    store.write(rollback(130)).unwrap();
    store.write(prewrite(140)).unwrap();
    assert_eq!(store.watermark().raw(), 121);
    let image = crash_image(dir.path());
    drop(store);

    let body = crash_image(image.path());
    spoil_bundle(body.path(), 130, -1);
    let refused = Store::open(body.path(), options()).unwrap_err().to_string();
    assert!(refused.contains("start_ts 120"), "{refused}");
    let dead = Store::open_read_only(body.path()).unwrap();
    assert_eq!(dead.damage().len(), 1, "{:?}", dead.damage());
    // It committed above its start_ts, nobody knows where.
    assert_eq!((dead.watermark().raw(), commits(&dead).last()), (120, Some(&111)));

    let directory = crash_image(image.path());
    spoil_bundle(directory.path(), 130, 12);
    let dead = Store::open_read_only(directory.path()).unwrap();
    // What files hold is whole.
    assert_eq!((dead.watermark().raw(), commits(&dead).last()), (91, Some(&91)));
    assert_eq!(dead.gaps(), []);
    assert!(Store::open(directory.path(), options()).is_err());
}

#[test]
fn a_damaged_piece_of_a_large_prewrite_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = half_in_files(dir.path());
    store.write(prewrite_of(210, Bytes::from(vec![7; 3000]))).unwrap();
    let image = crash_image(dir.path());
    drop(store);
    spoil(image.path(), "pending", &[&210_u64.to_be_bytes()[..], &1_u32.to_be_bytes()].concat());
    let dead = Store::open_read_only(image.path()).unwrap();
    let found = dead.verify().unwrap();
    assert_eq!((found.records, found.range, found.damage.len()), (18, range(0, 191), 1));
    assert!(found.damage[0].what.contains("pending start_ts 210 piece 1"), "{:?}", found.damage);
    assert_eq!(dead.pending_count(), 2);
}

#[test]
fn verify_looks_at_the_schema_and_at_what_is_said_about_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled_to(dir.path(), 10, 100);
    let object = |id| SchemaEntry { kind: 2, id, schema_version: SchemaVersion(5), value: "object".into() };
    store.put_schema(vec![object(7), object(8)], SchemaVersion(5)).unwrap();
    store.put_meta("peers", b"some").unwrap();
    store.close().unwrap();
    edit(dir.path(), |db| {
        for (cf, key) in [
            (
                "schema",
                [&[2][..], &(7_u64 ^ 1 << 63).to_be_bytes(), &(5_u64 ^ 1 << 63).to_be_bytes()].concat(),
            ),
            ("meta", b"user/peers".to_vec()),
        ] {
            let family = db.cf_handle(cf).unwrap();
            let mut value = db.get_cf(family, &key).unwrap().unwrap();
            *value.last_mut().unwrap() ^= 1;
            db.put_cf(family, &key, value).unwrap();
        }
    });
    let found = Store::open_read_only(dir.path()).unwrap().verify().unwrap();
    let what: Vec<&str> = found.damage.iter().map(|damage| damage.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "corrupt data at schema kind 2 id 7 version 5: the checksum does not match",
            "corrupt data at meta \"user/peers\": the checksum does not match",
        ]
    );
    assert_eq!(found.records, 9);
}

/// A file of `log` may end within a record that the writer was still settling.
#[test]
fn a_record_that_a_file_cuts_is_whole_to_a_reader_of_the_dead_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled_to(dir.path(), 10, 100);
    let payload = large_payload(500);
    store.write(prewrite_of(500, payload.clone())).unwrap();
    store.write(commit(500, 501)).unwrap();
    barrier(&store);
    let image = crash_image(dir.path());
    store.close().unwrap();
    let key =
        |piece: u32| [&501_u64.to_be_bytes()[..], &500_u64.to_be_bytes(), &piece.to_be_bytes()].concat();
    let mut pieces = Vec::new();
    edit(dir.path(), |db| {
        let log = db.cf_handle("log").unwrap();
        pieces.extend((0..3).map(|piece| (key(piece), db.get_cf(log, key(piece)).unwrap().unwrap())));
    });
    edit(image.path(), |db| {
        let log = db.cf_handle("log").unwrap();
        for (key, value) in pieces {
            db.put_cf(log, key, value).unwrap();
        }
        db.flush_cf(log).unwrap();
    });
    let dead = Store::open_read_only(image.path()).unwrap();
    let found = dead.verify().unwrap();
    assert_eq!((found.records, found.damage, found.range), (10, vec![], range(0, 501)));
    assert_eq!(rows(&dead).last().unwrap().payload, payload);
    drop(dead);
    let store = open(image.path());
    assert_eq!((rows(&store).len(), store.verify().unwrap().damage), (10, vec![]));
}
