//! `tools verify` over the directories of dead pumps.

use std::path::Path;

use binlog_storage::{Commit, Options, Prewrite, Store, Write};
use binlog_types::{ClusterId, CommitTs, NodeId, SchemaVersion, StartTs, SystemClock};

use crate::{text, tools};

const RECORDS: u64 = 40;
const PAYLOAD: usize = 5000;

/// A store with records at 11, 21, …, and a commit at 1001 whose prewrite never came, if `gap` says so.
fn fill(dir: &Path, gap: bool) {
    let options = Options::new(ClusterId(7), NodeId::new("pump-1").unwrap(), SystemClock::handle());
    let store = Store::open(dir, options).unwrap();
    let mut random = 1_u64;
    let mut noise = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 56) as u8
    };
    let commit = |start: u64| {
        let (start_ts, commit_ts) = (StartTs::new(start), CommitTs::new(start + 1));
        store.write(Write::Commit(Commit { start_ts, commit_ts, extra: Default::default() })).unwrap();
    };
    for n in 1..=RECORDS {
        let payload: Vec<u8> = (0..PAYLOAD).map(|_| noise()).collect();
        let prewrite = Prewrite {
            start_ts: StartTs::new(10 * n),
            schema_version: SchemaVersion(1),
            ddl: false,
            key: Default::default(),
            payload: payload.into(),
        };
        store.write(Write::Prewrite(prewrite)).unwrap();
        commit(10 * n);
    }
    if gap {
        commit(1000);
    }
    store.close().unwrap();
}

/// Exit code, standard output and standard error.
fn verify(dir: &Path) -> (Option<i32>, String, String) {
    let output = tools().arg("verify").arg("--store").arg(dir).output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_whole_store_is_told_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), false);
    let line =
        format!("{}: pump pump-1, (0, 401]: 40 records, 200000 bytes of payload\n", dir.path().display());
    let (code, out, err) = verify(dir.path());
    assert_eq!((code, out.as_str()), (Some(0), line.as_str()), "{err}");
}

#[test]
fn a_gap_is_told_with_its_place_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), true);
    let expected = format!(
        "{}: pump pump-1, (0, 1001]: 40 records, 200000 bytes of payload\nGAP (1000, 1001] commit without prewrite\n",
        dir.path().display()
    );
    let (code, out, err) = verify(dir.path());
    assert_eq!((code, out), (Some(1), expected));
    assert!(
        err.contains("1 stretch(es) damaged or missing: restore them from another pump or a replica"),
        "{err}"
    );
}

#[test]
fn a_damaged_stretch_is_told_with_its_place_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), false);
    let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|extension| extension == "sst"));
    let largest = tables.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(&largest, bytes).unwrap();
    let (code, out, err) = verify(dir.path());
    assert_eq!(code, Some(1), "{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    let (place, what) = lines[1].strip_prefix("DAMAGED (").unwrap().split_once("]: ").unwrap();
    let (after, through) = place.split_once(", ").unwrap();
    let (after, through): (u64, u64) = (after.parse().unwrap(), through.parse().unwrap());
    // A block of 32 KiB holds seven of them.
    assert!(after % 10 == 1 && through > after && through - after < 100, "{place}");
    assert!(what.contains(dir.path().to_str().unwrap()) && what.contains(".sst"), "{what}");
    assert!(err.contains("1 stretch(es) damaged or missing"), "{err}");
}

#[test]
fn what_is_no_store_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, err) = verify(dir.path());
    assert_eq!(code, Some(1));
    assert!(err.contains(dir.path().to_str().unwrap()), "{err}");
}
