//! What the tests share.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use binlog_storage::{
    Commit, CompletionSink, Error, Fragment, Options, Prewrite, Store, Tuning, Write, WriteResult,
};
use binlog_types::{ClusterId, CommitTs, NodeId, Range, SchemaVersion, StartTs, SystemClock};
use bytes::Bytes;
use tempfile::TempDir;

/// Sizes so small that every test goes through several files.
pub(crate) fn options() -> Options {
    let mut options = Options::new(ClusterId(7), NodeId::new("pump-1").unwrap(), SystemClock::handle());
    options.tuning = Tuning {
        log_file_bytes: 8 << 10,
        spill_bytes: 32 << 10,
        held_bytes: 2 << 10,
        fragment_bytes: 1 << 10,
        batch_bytes: 16 << 10,
        ..Tuning::default()
    };
    options
}

/// A directory for tests that make many files: in memory where the system offers it, since they test what the process
/// leaves, not what the disk does.
pub(crate) fn quick_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// For many writes: a copy of the directory, or a killed process, leaves what the system has, synced or not.
pub(crate) fn unsynced() -> Options {
    Options { sync: false, ..options() }
}

pub(crate) fn open(dir: &Path) -> Store {
    Store::open(dir, options()).unwrap()
}

/// A body that can be told from every other.
pub(crate) fn payload(start: u64) -> Bytes {
    let length = (start.wrapping_mul(2_654_435_761) % 700) as usize;
    Bytes::from(format!("{start}:").into_bytes().into_iter().cycle().take(length + 8).collect::<Vec<_>>())
}

pub(crate) fn prewrite(start: u64) -> Write {
    prewrite_of(start, payload(start))
}

/// A body that is written piece by piece.
pub(crate) fn large_payload(start: u64) -> Bytes {
    Bytes::from((0..20_000).map(|n| (n * 7 + start) as u8).collect::<Vec<_>>())
}

pub(crate) fn prewrite_of(start: u64, payload: Bytes) -> Write {
    Write::Prewrite(Prewrite {
        start_ts: StartTs::new(start),
        schema_version: SchemaVersion(53),
        ddl: start.is_multiple_of(5),
        key: Bytes::from(format!("key-{start}")),
        payload,
    })
}

/// Writes that stand in one batch; the first error.
pub(crate) fn write_together(store: &Store, writes: Vec<Write>) -> WriteResult {
    struct Answers(std::sync::mpsc::Sender<(u64, WriteResult)>);
    impl CompletionSink for Answers {
        fn completed(&self, results: Vec<(u64, WriteResult)>) {
            results.into_iter().for_each(|result| self.0.send(result).unwrap());
        }
    }
    let (sender, answers) = std::sync::mpsc::channel();
    let sink: Arc<dyn CompletionSink> = Arc::new(Answers(sender));
    let count = writes.len();
    store.submit((0..).zip(writes).collect(), &sink);
    drop(sink);
    let answers: Vec<_> = answers.iter().collect();
    assert_eq!(answers.len(), count);
    answers.into_iter().try_for_each(|(_, result)| result)
}

pub(crate) fn commit(start: u64, at: u64) -> Write {
    Write::Commit(Commit {
        start_ts: StartTs::new(start),
        commit_ts: CommitTs::new(at),
        extra: Bytes::from(format!("extra-{at}")),
    })
}

pub(crate) fn rollback(start: u64) -> Write {
    Write::Rollback(StartTs::new(start))
}

/// Returns once the watermark stands as high as all earlier writes allow.
pub(crate) fn barrier(store: &Store) {
    // Unknown rollbacks change nothing. The second is answered in a later turn of the writer than the first, and that one
    // in the turn of the last offer at the earliest.
    store.write(rollback(1)).unwrap();
    store.write(rollback(1)).unwrap();
}

pub(crate) fn range(after: u64, through: u64) -> Range {
    Range { after: CommitTs::new(after), through: CommitTs::new(through) }
}

/// Every fragment of a range, in small batches, with the scan's own checks.
pub(crate) fn try_scan(store: &Store, after: u64, through: u64) -> Result<Vec<Fragment>, Error> {
    let mut scan = store.scan(range(after, through))?;
    let mut all: Vec<Fragment> = Vec::new();
    loop {
        let batch = scan.next_batch(1500)?;
        if batch.is_empty() {
            break;
        }
        all.extend(batch);
        let last = all.last().unwrap();
        let covered = if last.last { last.commit_ts.raw() } else { last.commit_ts.raw() - 1 };
        assert!(scan.complete_through().raw() >= covered);
    }
    assert_eq!(scan.complete_through(), scan.through().max(CommitTs::new(after)));
    for pair in all.windows(2) {
        let place = |f: &Fragment| (f.commit_ts, f.sequence);
        assert!(place(&pair[0]) < place(&pair[1]), "order");
        assert_eq!(pair[0].last, pair[0].commit_ts != pair[1].commit_ts, "pieces");
        assert_eq!(pair[1].sequence, if pair[0].last { 0 } else { pair[0].sequence + 1 });
    }
    Ok(all)
}

/// A record as a reader puts it together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) commit: u64,
    pub(crate) start: u64,
    pub(crate) fake: bool,
    pub(crate) extra: Bytes,
    pub(crate) payload: Bytes,
}

impl Row {
    /// The row that [`prewrite`] and [`commit`] make.
    pub(crate) fn of(start: u64, commit: u64) -> Self {
        let extra = Bytes::from(format!("extra-{commit}"));
        Row { commit, start, fake: false, extra, payload: payload(start) }
    }

    pub(crate) fn fake(ts: u64) -> Self {
        Row { commit: ts, start: ts, fake: true, extra: Bytes::new(), payload: Bytes::new() }
    }
}

pub(crate) fn rows_of(fragments: &[Fragment]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for f in fragments {
        if f.sequence > 0 {
            let row = rows.last_mut().unwrap();
            row.payload = [&row.payload[..], &f.payload[..]].concat().into();
            assert!(f.extra.is_empty());
            continue;
        }
        if !f.fake {
            assert_eq!((f.schema_version.0, f.ddl), (53, f.start_ts.raw().is_multiple_of(5)));
        }
        rows.push(Row {
            commit: f.commit_ts.raw(),
            start: f.start_ts.raw(),
            fake: f.fake,
            extra: f.extra.clone(),
            payload: f.payload.clone(),
        });
    }
    rows
}

pub(crate) fn rows(store: &Store) -> Vec<Row> {
    rows_of(&try_scan(store, store.safe_point().raw(), u64::MAX >> 1).unwrap())
}

/// A copy of a directory as a crash at this moment would leave it to the next process.
pub(crate) fn crash_image(dir: &Path) -> TempDir {
    let image = tempfile::tempdir_in(dir.parent().unwrap()).unwrap();
    // A file that RocksDB drops or renames meanwhile makes the copy useless: take another.
    for _ in 0..50 {
        if copy_files(dir, image.path()).is_ok() {
            return image;
        }
    }
    panic!("no copy of {}", dir.display());
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    for old in std::fs::read_dir(to)? {
        std::fs::remove_file(old?.path())?;
    }
    let names = || -> std::io::Result<Vec<_>> {
        let mut names: Vec<_> =
            std::fs::read_dir(from)?.map(|e| e.map(|e| e.file_name())).collect::<Result<_, _>>()?;
        // Files that others refer to come last, so that they refer to nothing newer than the copy has.
        names.sort_by_key(|name| {
            let name = name.to_string_lossy();
            (
                !name.starts_with("CURRENT"),
                !name.starts_with("MANIFEST"),
                name.ends_with(".log"),
                name.into_owned(),
            )
        });
        Ok(names)
    };
    let before = names()?;
    for name in &before {
        std::fs::copy(from.join(name), to.join(name))?;
    }
    // A file that was there but not in use yet shows in what the manifest says only.
    let manifests = before.iter().filter(|name| name.to_string_lossy().starts_with("MANIFEST"));
    let mut same = before == names()?;
    for name in manifests {
        same &= std::fs::read(from.join(name))? == std::fs::read(to.join(name))?;
    }
    if same { Ok(()) } else { Err(std::io::Error::other("the directory changed")) }
}

/// Waits for something that another thread does.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
