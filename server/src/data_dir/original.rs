//! What an original pump left in the data directory, and whether anybody still needs it.
//!
//! Its value log (`value/*.vlog`) is a row of records, all numbers little-endian:
//!
//! ```text
//! magic 0x823a56e8 u32 | length u64 | crc32c u32 | payload: a Binlog message
//! ```
//!
//! and a finished file ends with `max ts i64 | magic 0x123ab922 u32`. The types and timestamps come first in a payload, so that the
//! rows need not be read. A commit that some drainer has not read yet, or a prewrite whose outcome the original had not settled,
//! would be lost by going on without it. What has passed once is not looked at again: see [`super::passed`].

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use binlog_cluster::{NodeState, NodeStatus};
use binlog_proto::binlog::BinlogType;

use super::passed::Passed;
use crate::Error;

const MAGIC: u32 = 0x823a_56e8;
const HEADER: u64 = 16;
/// Type and timestamps take at most 33 bytes.
const HEAD: u64 = 64;

/// What the registry says about the pump and those who read it.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    /// The original's own entry.
    pub(crate) own: Option<NodeStatus>,
    /// All drainers.
    pub(crate) drainers: Vec<NodeStatus>,
}

/// A file of the original's value log.
#[derive(Debug)]
pub(super) struct ValueLog {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) size: u64,
}

/// Whether there is nothing, or nothing that an earlier start has not checked.
///
/// # Errors
/// What keeps the directory from being read.
pub(crate) fn has_passed(dir: &Path) -> Result<bool, Error> {
    let passed = Passed::load(dir)?;
    Ok(value_logs(&dir.join("value"))?.iter().all(|file| passed.of(file) == file.size))
}

/// Refuses a directory whose binlogs somebody still needs; says so where they are left behind.
///
/// # Errors
/// [`Error::ForeignDirectory`], or what keeps the files from being read.
pub(crate) fn check(dir: &Path, readers: &Readers) -> Result<(), Error> {
    let files = value_logs(&dir.join("value"))?;
    let passed = Passed::load(dir)?;
    let unread = match readers.own.as_ref().map(|own| own.state) {
        // The original goes offline only after every drainer has everything.
        Some(NodeState::Offline) => None,
        _ => unread(&files, &passed, readers)?,
    };
    match unread {
        None => {
            tracing::info!(dir = %dir.display(), "the original pump's files are all read; they are left alone, and kv/ and value/ may be deleted");
            Passed::save(dir, &files)
        }
        Some(found) => Err(Error::ForeignDirectory { dir: dir.to_owned(), found }),
    }
}

fn value_logs(dir: &Path) -> Result<Vec<ValueLog>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::file("list", dir)(e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::file("list", dir))?.path();
        if path.extension().is_some_and(|extension| extension == "vlog") {
            let size = path.metadata().map_err(Error::file("read", &path))?.len();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push(ValueLog { name, path, size });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// What would be lost, in words; None where nothing would be.
fn unread(files: &[ValueLog], passed: &Passed, readers: &Readers) -> Result<Option<String>, Error> {
    let reading = readers.drainers.iter().filter(|node| node.state != NodeState::Offline);
    let slowest = reading.min_by_key(|node| node.max_commit_ts);
    let mut log = Log {
        read: slowest.map_or(0, |node| node.max_commit_ts),
        settled_at: readers.own.as_ref().map_or(0, |own| own.max_commit_ts),
        ..Log::default()
    };
    for file in files {
        let read = File::open(&file.path).and_then(|open| log.read(open, passed.of(file), file.size));
        read.map_err(Error::file("read", &file.path))?;
    }
    let reader = match slowest {
        Some(node) => format!("drainer {} ({}) has read up to {}", node.node_id, node.state, log.read),
        None => "no drainer is there to have read them".to_owned(),
    };
    Ok(match (log.unread, log.first_unread, log.open.first()) {
        (0, _, None) => None,
        (0, _, Some(start_ts)) => Some(format!(
            "{} transactions without a known outcome, the first with start_ts {start_ts}",
            log.open.len()
        )),
        (unread, first, _) => Some(format!("{unread} transactions from commit_ts {first} on; {reader}")),
    })
}

/// What was found in the files so far.
#[derive(Debug, Default)]
struct Log {
    /// Everything at or below was read by all.
    read: i64,
    /// The original had settled every prewrite before the record of this commit_ts.
    settled_at: i64,
    unread: u64,
    first_unread: i64,
    /// start_ts of prewrites without outcome.
    open: BTreeSet<i64>,
}

impl Log {
    /// Reads from `at` to `size`.
    fn read(&mut self, file: File, mut at: u64, size: u64) -> io::Result<()> {
        let mut file = BufReader::with_capacity(256 << 10, file);
        file.seek(SeekFrom::Start(at))?;
        let mut last: Option<Record> = None;
        loop {
            let header = if at + HEADER <= size { Some(Header::read(&mut file)?) } else { None };
            let here = header.as_ref().filter(|header| header.magic == MAGIC && header.end(at) <= size);
            if let Some(&header) = here {
                // It begins where the one before ends: so that one is whole.
                last.take().into_iter().for_each(|record| self.take(&record));
                let mut head = Vec::new();
                file.by_ref().take(header.length.min(HEAD)).read_to_end(&mut head)?;
                last = Some(Record { at, header, head });
                // What is in the buffer already is not read again.
                let rest = i64::try_from(header.length.saturating_sub(HEAD)).map_err(io::Error::other)?;
                file.seek_relative(rest)?;
                at = header.end(at);
                continue;
            }
            // The end, the footer, or what a crash left of a record: the next one begins somewhere behind, as the original looks for it.
            if let Some(record) = last.take() {
                if record.is_whole(&mut file)? {
                    self.take(&record);
                } else {
                    at = record.at + 1;
                }
                file.seek(SeekFrom::Start(at))?;
            } else if header.is_some() {
                at += 1;
                file.seek_relative(1 - HEADER as i64)?;
            } else {
                return Ok(());
            }
        }
    }

    fn take(&mut self, record: &Record) {
        let (tp, start_ts, commit_ts) = positions(&record.head);
        if tp == BinlogType::Prewrite as i64 {
            if start_ts != 0 {
                self.open.insert(start_ts);
            }
            return;
        }
        self.open.remove(&start_ts);
        if commit_ts == self.settled_at && commit_ts != 0 {
            self.open.clear();
        }
        let is_transaction = tp != BinlogType::Rollback as i64 && commit_ts != start_ts;
        if is_transaction && commit_ts > self.read {
            self.first_unread = if self.unread == 0 { commit_ts } else { self.first_unread.min(commit_ts) };
            self.unread += 1;
        }
    }
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug)]
struct Header {
    magic: u32,
    length: u64,
    check: u32,
}

impl Header {
    fn read(file: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; HEADER as usize];
        file.read_exact(&mut bytes)?;
        let [m0, m1, m2, m3, l0, l1, l2, l3, l4, l5, l6, l7, c0, c1, c2, c3] = bytes;
        Ok(Header {
            magic: u32::from_le_bytes([m0, m1, m2, m3]),
            length: u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]),
            check: u32::from_le_bytes([c0, c1, c2, c3]),
        })
    }

    /// Where the record ends that begins at `at`.
    fn end(self, at: u64) -> u64 {
        at.saturating_add(HEADER).saturating_add(self.length)
    }
}

/// A record as its header tells: if a crash cut it short, others lie in what it claims.
#[derive(Debug)]
struct Record {
    at: u64,
    header: Header,
    head: Vec<u8>,
}

impl Record {
    /// Reads the payload, wherever the file stands.
    fn is_whole(&self, file: &mut (impl Read + Seek)) -> io::Result<bool> {
        file.seek(SeekFrom::Start(self.at + HEADER))?;
        let (mut check, mut left) = (!0_u32, self.header.length);
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            let count = file.read(&mut buffer[..left.min(64 << 10) as usize])?;
            if count == 0 {
                return Ok(false);
            }
            check = castagnoli(check, &buffer[..count]);
            left -= count as u64;
        }
        Ok(!check == self.header.check)
    }
}

/// CRC-32C, bit by bit: a few records a file are checked.
fn castagnoli(mut check: u32, bytes: &[u8]) -> u32 {
    for byte in bytes {
        check ^= u32::from(*byte);
        for _ in 0..8 {
            check = (check >> 1) ^ (0x82f6_3b78 & (check & 1).wrapping_neg());
        }
    }
    check
}

/// Type, start_ts and commit_ts: fields 1 to 3, which stand first and are always there.
fn positions(mut head: &[u8]) -> (i64, i64, i64) {
    let mut values = [0_i64; 3];
    for (tag, value) in [0x08, 0x10, 0x18].into_iter().zip(&mut values) {
        match head.split_first() {
            Some((found, rest)) if *found == tag => head = rest,
            _ => continue,
        }
        match prost::encoding::decode_varint(&mut head) {
            Ok(number) => *value = number as i64,
            Err(_) => break,
        }
    }
    let [tp, start_ts, commit_ts] = values;
    (tp, start_ts, commit_ts)
}

#[cfg(test)]
mod tests {
    use binlog_proto::binlog::Binlog;
    use binlog_types::NodeId;
    use prost::Message;

    use super::*;

    fn record(tp: BinlogType, start_ts: i64, commit_ts: i64) -> Vec<u8> {
        let value = (tp == BinlogType::Prewrite).then(|| vec![7_u8; 3000].into());
        let binlog =
            Binlog { tp: tp as i32, start_ts, commit_ts, prewrite_value: value, ..Binlog::default() };
        let payload = binlog.encode_to_vec();
        let mut out = MAGIC.to_le_bytes().to_vec();
        out.extend((payload.len() as u64).to_le_bytes());
        out.extend((!castagnoli(!0, &payload)).to_le_bytes());
        out.extend(payload);
        out
    }

    #[test]
    fn the_checksum_is_the_originals() {
        assert_eq!(!castagnoli(!0, b"123456789"), 0xe306_9283);
    }

    /// The original goes on behind what a crash left: that must not hide what comes then.
    #[test]
    fn a_torn_record_hides_nothing() {
        use BinlogType::{Commit, Prewrite};
        let torn = record(Prewrite, 3, 0)[..100].to_vec();
        let own = || node("pump", NodeState::Paused, 10);
        let drainer = |ts| vec![node("d", NodeState::Online, ts)];
        let log = || {
            let mut log = vec![torn.clone()];
            for n in 1..100 {
                log.extend([record(Prewrite, 4 * n, 0), record(Commit, 4 * n, 4 * n + 2)]);
            }
            log
        };
        check_with(&log(), own(), drainer(398)).unwrap();
        let late = check_with(&log(), own(), drainer(0)).unwrap_err();
        assert!(late.contains("99 transactions from commit_ts 6 on"), "{late}");
    }

    fn node(name: &str, state: NodeState, max_commit_ts: i64) -> NodeStatus {
        NodeStatus { max_commit_ts, ..NodeStatus::new(NodeId::new(name).unwrap(), "h:1", state) }
    }

    fn check_with(records: &[Vec<u8>], own: NodeStatus, drainers: Vec<NodeStatus>) -> Result<(), String> {
        check_in(tempfile::tempdir().unwrap().path(), records, own, drainers)
    }

    fn check_in(
        dir: &Path,
        records: &[Vec<u8>],
        own: NodeStatus,
        drainers: Vec<NodeStatus>,
    ) -> Result<(), String> {
        fs::create_dir_all(dir.join("value")).unwrap();
        let (first, second) = records.split_at(records.len() / 2);
        // A finished file, and one that ends in a torn record.
        let footer = [9_i64.to_le_bytes().to_vec(), 0x123a_b922_u32.to_le_bytes().to_vec()].concat();
        fs::write(dir.join("value/000000.vlog"), [first.concat(), footer].concat()).unwrap();
        let torn = record(BinlogType::Prewrite, 999, 0)[..200].to_vec();
        fs::write(dir.join("value/000001.vlog"), [second.concat(), torn].concat()).unwrap();
        check(dir, &Readers { own: Some(own), drainers }).map_err(|e| e.to_string())
    }

    #[test]
    fn what_nobody_needs_is_left_behind() {
        use BinlogType::{Commit, Prewrite, Rollback};
        let log = [
            record(Prewrite, 5, 0),
            record(Prewrite, 6, 0),
            record(Commit, 5, 10),
            record(Rollback, 6, 0),
            record(Rollback, 20, 20),
        ];
        let paused = node("pump", NodeState::Paused, 20);
        let drainer = |ts| vec![node("d", NodeState::Paused, ts), node("old", NodeState::Offline, 1)];
        check_with(&log, paused.clone(), drainer(20)).unwrap();
        check_with(&log, paused.clone(), drainer(10)).unwrap();
        let late = check_with(&log, paused.clone(), drainer(9)).unwrap_err();
        assert!(
            late.contains("1 transactions from commit_ts 10 on; drainer d (paused) has read up to 9"),
            "{late}"
        );
        let nobody = check_with(&log, paused, vec![]).unwrap_err();
        assert!(nobody.contains("no drainer is there"), "{nobody}");
        check_with(&log, node("pump", NodeState::Offline, 20), vec![]).unwrap();
    }

    #[test]
    fn an_unsettled_prewrite_is_not_left_behind() {
        use BinlogType::{Commit, Prewrite};
        // The first was rolled back in silence, before the commit that the original had shown; the second may commit yet.
        let log =
            [record(Prewrite, 3, 0), record(Prewrite, 5, 0), record(Commit, 5, 10), record(Prewrite, 12, 0)];
        let drainers = || vec![node("d", NodeState::Online, 10)];
        let open = check_with(&log, node("pump", NodeState::Paused, 10), drainers()).unwrap_err();
        assert!(
            open.contains("1 transactions without a known outcome, the first with start_ts 12"),
            "{open}"
        );
        check_with(&log[..3], node("pump", NodeState::Paused, 10), drainers()).unwrap();
        assert!(check_with(&log[..3], node("pump", NodeState::Paused, 9), drainers()).is_err());
    }

    #[test]
    fn what_has_passed_once_is_not_asked_for_again() {
        use BinlogType::{Commit, Prewrite};
        let dir = tempfile::tempdir().unwrap();
        let log = [record(Prewrite, 3, 0), record(Prewrite, 5, 0), record(Commit, 5, 10)];
        let drainers = || vec![node("d", NodeState::Online, 10)];
        check_in(dir.path(), &log, node("pump", NodeState::Paused, 10), drainers()).unwrap();
        // This program's entry stands in the registry now, and the drainers are gone.
        let ours = || Readers { own: Some(node("pump", NodeState::Paused, 77)), drainers: vec![] };
        assert!(has_passed(dir.path()).unwrap());
        check(dir.path(), &ours()).unwrap();
        // The original ran once more: what it wrote must be read, and only that.
        let append = |record: Vec<u8>| {
            let path = dir.path().join("value/000001.vlog");
            let before = fs::read(&path).unwrap();
            fs::write(&path, [before, record].concat()).unwrap();
        };
        append(record(Commit, 80, 90));
        assert!(!has_passed(dir.path()).unwrap());
        let error = check(dir.path(), &ours()).unwrap_err().to_string();
        assert!(error.contains("1 transactions from commit_ts 90 on"), "{error}");
        let caught_up = Readers { drainers: vec![node("d", NodeState::Online, 90)], ..ours() };
        check(dir.path(), &caught_up).unwrap();
        fs::write(dir.path().join("value/000002.vlog"), record(Prewrite, 95, 0)).unwrap();
        let error = check(dir.path(), &caught_up).unwrap_err().to_string();
        assert!(error.contains("the first with start_ts 95"), "{error}");
    }
}
