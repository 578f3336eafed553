//! Directories as released versions wrote them, which every later version must read: `storage/tests/fixtures/format-N`.
//!
//! They are never changed. A version with a new format adds its own, by
//! `cargo test -p binlog-storage --test it fixture::write -- --ignored`, which refuses to replace one.

use std::path::{Path, PathBuf};

use binlog_storage::{SchemaEntry, Store};
use binlog_types::{CommitTs, GapReason, SchemaVersion, Ts};
use bytes::Bytes;

use crate::support::*;

/// The newest format, whose directory [`write`] makes.
const NEWEST: u32 = 3;
const SAFE_POINT: u64 = 60;
const LARGE: u64 = 300;
const FILLER: u64 = 320;
const MISSING: u64 = 330;
const LATE: u64 = 351;
const OPEN: u64 = 500;
const LAST: u64 = 455;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn schema() -> Vec<SchemaEntry> {
    let entry = |id, version| SchemaEntry {
        kind: 2,
        id,
        schema_version: SchemaVersion(version),
        value: Bytes::from(format!("object {id} of version {version}")),
    };
    vec![entry(-7, 50), entry(7, 52), entry(7, 53)]
}

fn large() -> Bytes {
    Bytes::from((0..5000_u32).map(|n| (n % 253) as u8).collect::<Vec<_>>())
}

/// Start and commit timestamps of the ordinary transactions, in order of arrival.
fn pairs(from: u64, count: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..count).flat_map(move |n| {
        let base = from + 10 * n;
        [(base, base + 5), (base + 1, base + 4)]
    })
}

fn write_pairs(store: &Store, from: u64, count: u64) {
    for (start, at) in pairs(from, count) {
        if start % 10 == 0 {
            store.write(prewrite(start)).unwrap();
            store.write(prewrite(start + 1)).unwrap();
            store.write(prewrite(start + 2)).unwrap();
            store.write(rollback(start + 2)).unwrap();
        }
        store.write(commit(start, at)).unwrap();
    }
}

/// Everything that must be read from a fixture.
fn check(store: &Store, format: &str) {
    let mut expected: Vec<Row> = pairs(10, 25).map(|(start, at)| Row::of(start, at)).collect();
    expected.push(Row { payload: large(), ..Row::of(LARGE, LARGE + 5) });
    expected.push(Row::fake(FILLER));
    expected.extend(pairs(400, 6).map(|(start, at)| Row::of(start, at)));
    expected.retain(|row| row.commit > SAFE_POINT);
    expected.sort_by_key(|row| row.commit);
    assert_eq!(rows(store), expected, "{format}");
    assert_eq!((store.cluster_id().0, store.node_id().as_str()), (7, "pump-1"), "{format}");
    assert_eq!((store.safe_point().raw(), store.watermark().raw()), (SAFE_POINT, LAST), "{format}");
    let gaps: Vec<_> = store.gaps().iter().map(|gap| (gap.range.through.raw(), gap.reason)).collect();
    let known = [(MISSING + 5, GapReason::MissingPrewrite), (LATE, GapReason::LateCommit)];
    assert_eq!(gaps, known, "{format}");
    let open: Vec<_> = store.unresolved(9).into_iter().map(|open| (open.start_ts.raw(), open.key)).collect();
    assert_eq!(open, [(OPEN, Bytes::from(format!("key-{OPEN}")))], "{format}");
    assert_eq!(store.schema(SchemaVersion(-1)).unwrap(), schema(), "{format}");
    assert_eq!(store.schema_version(), SchemaVersion(53), "{format}");
    assert_eq!(store.get_meta("oracle").unwrap().unwrap(), "a value", "{format}");
    assert!(store.raw(Ts::new(OPEN)).unwrap().is_some(), "{format}");
    let verified = store.verify().unwrap();
    assert_eq!((verified.records, verified.damage), (expected.len() as u64, vec![]), "{format}");
}

/// The files of a store, without what RocksDB makes again.
fn copy(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        if !["LOCK", "LOG", "OPTIONS", "IDENTITY"].iter().any(|other| name.starts_with(other)) {
            std::fs::copy(file.path(), to.join(name)).unwrap();
        }
    }
}

#[test]
fn every_format_that_was_ever_written_is_read() {
    let mut formats = 0;
    for fixture in std::fs::read_dir(fixtures()).unwrap() {
        let fixture = fixture.unwrap();
        let name = fixture.file_name().into_string().unwrap();
        let dir = quick_dir();
        copy(&fixture.path(), dir.path());
        check(&Store::open_read_only(dir.path()).unwrap(), &name);
        let store = open(dir.path());
        barrier(&store);
        check(&store, &name);
        // And written to.
        store.write(rollback(OPEN)).unwrap();
        write_pairs(&store, 600, 3);
        barrier(&store);
        assert_eq!(store.watermark().raw(), 625, "{name}");
        store.close().unwrap();
        assert_eq!(rows(&open(dir.path())).last(), Some(&Row::of(620, 625)), "{name}");
        formats += 1;
    }
    assert_eq!(formats, NEWEST, "a fixture for each format");
}

#[test]
#[ignore = "writes into the source tree, once for each format"]
fn write() {
    let dir = quick_dir();
    let store = open(dir.path());
    store.put_schema(schema(), SchemaVersion(53)).unwrap();
    store.put_meta("oracle", b"a value").unwrap();
    write_pairs(&store, 10, 25);
    store.write(prewrite_of(LARGE, large())).unwrap();
    store.write(commit(LARGE, LARGE + 5)).unwrap();
    store.write(binlog_storage::Write::Fake(CommitTs::new(FILLER))).unwrap();
    store.write(commit(MISSING, MISSING + 5)).unwrap();
    store.write(prewrite(LATE - 1)).unwrap();
    store.write(rollback(LATE - 1)).unwrap();
    barrier(&store);
    store.offer_idle_ts(CommitTs::new(LATE + 5));
    barrier(&store);
    store.write(commit(LATE - 1, LATE)).unwrap_err();
    assert_eq!(store.gc(CommitTs::new(SAFE_POINT)).unwrap().raw(), SAFE_POINT);
    store.flush().unwrap();
    // From here on it is in the write-ahead log only.
    write_pairs(&store, 400, 6);
    // One that stays in a bundle whose other one is gone.
    write_together(&store, vec![prewrite(OPEN), prewrite(OPEN + 1), rollback(OPEN + 1)]).unwrap();
    barrier(&store);
    check(&store, "as it was made");
    let image = crash_image(dir.path());
    let target = fixtures().join(format!("format-{NEWEST}"));
    std::fs::create_dir_all(fixtures()).unwrap();
    std::fs::create_dir(&target).unwrap();
    copy(image.path(), &target);
}
