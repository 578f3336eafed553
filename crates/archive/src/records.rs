//! The records of an archive, in order.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::vec::IntoIter;

use binlog_proto::pb_binlog;
use binlog_types::{CommitTs, Range};
use prost::Message as _;

use crate::open::{Bytestream, open};
use crate::record::{Failure, RawRecord, RecordReader};
use crate::{Damage, Error};

/// How many records back a copy is known as such: a drainer writes again what it had not yet saved as done, some seconds' worth.
const REMEMBERED: usize = 1 << 18;

/// Where the records ended before the range did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// In which file.
    pub path: PathBuf,
    /// The offset of a record that is not there to its end; None: the files just end.
    pub torn: Option<u64>,
    /// The last record.
    pub last: CommitTs,
}

/// Records in rising commit_ts.
///
/// A drainer that was killed leaves a torn record behind and writes from its savepoint on again: the copies are left out and counted.
/// At the very end of the last file a torn record is the end, for the drainer may be writing it; anywhere else it is an error.
pub struct Records {
    files: IntoIter<PathBuf>,
    current: Option<(PathBuf, RecordReader<Bytestream>)>,
    /// The archive's last file that holds anything.
    tail: Option<PathBuf>,
    range: Range,
    last: CommitTs,
    seen: HashMap<(CommitTs, u32), ()>,
    order: VecDeque<(CommitTs, u32)>,
    copies: u64,
    stop: Option<Stop>,
    ended: bool,
}

impl Records {
    pub(crate) fn new(files: Vec<PathBuf>, range: Range, tail: Option<PathBuf>) -> Self {
        Records {
            files: files.into_iter(),
            current: None,
            tail,
            range,
            last: CommitTs::ZERO,
            seen: HashMap::new(),
            order: VecDeque::new(),
            copies: 0,
            stop: None,
            ended: false,
        }
    }

    /// Records that were left out because they had come before.
    pub fn copies(&self) -> u64 {
        self.copies
    }

    /// Where the files end, if that is before the end of the range.
    pub fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// The greatest commit_ts so far, in the range or before it.
    pub fn last(&self) -> CommitTs {
        self.last
    }

    /// The next record of the range, with its file; None at the end.
    ///
    /// # Errors
    /// [`Error::Damaged`], after which [`Records::skip_damage`] may be called, and the others, after which nothing comes.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would go on after an error")]
    pub fn next(&mut self) -> Result<Option<(PathBuf, RawRecord, pb_binlog::Binlog)>, Error> {
        while !self.ended {
            let Some((path, reader)) = &mut self.current else {
                self.open_next()?;
                continue;
            };
            let record = match reader.read() {
                Ok(Some(record)) => record,
                Ok(None) => {
                    tracing::info!(file = %path.display(), "read file end");
                    self.leave(None);
                    continue;
                }
                Err(Failure::Damage(Damage::Torn { .. })) if self.tail.as_ref() == Some(path) => {
                    let offset = reader.offset();
                    tracing::warn!(file = %path.display(), offset, "the last record is not there to its end");
                    self.leave(Some(offset));
                    self.ended = true;
                    continue;
                }
                Err(failure) => return Err(damaged(path, reader.offset(), self.last, failure)),
            };
            let path = path.clone();
            let binlog = decode(&path, &record)?;
            let commit_ts = commit_ts(&binlog);
            if self.is_copy(&path, &record, commit_ts)? || commit_ts <= self.range.after {
                continue;
            }
            if commit_ts > self.range.through {
                self.stop = None;
                self.ended = true;
                break;
            }
            return Ok(Some((path, record, binlog)));
        }
        Ok(None)
    }

    /// Goes on behind damage, with the next record of a right checksum, be it in the next file. Returns the number of bytes that were passed over.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn skip_damage(&mut self) -> Result<u64, Error> {
        let Some((path, reader)) = &mut self.current else { return Ok(0) };
        let from = reader.offset();
        match reader.resync() {
            Ok(Some(to)) => Ok(to - from),
            Ok(None) => {
                let to = reader.offset();
                self.leave(None);
                Ok(to - from)
            }
            Err(Failure::Damage(_)) => {
                // The rest does not unpack.
                self.leave(None);
                Ok(0)
            }
            Err(failure) => Err(damaged(path, from, self.last, failure)),
        }
    }

    fn open_next(&mut self) -> Result<(), Error> {
        match self.files.next() {
            Some(path) => {
                let bytes = open(&path).map_err(|e| damaged(&path, 0, self.last, e.into()))?;
                self.current = Some((path, RecordReader::new(bytes)));
            }
            None => self.ended = true,
        }
        Ok(())
    }

    fn leave(&mut self, torn: Option<u64>) {
        if let Some((path, _)) = self.current.take() {
            self.stop = Some(Stop { path, torn, last: self.last });
        }
    }

    /// Whether the record came before. One that is older than the last and did not come before is out of order.
    fn is_copy(&mut self, path: &Path, record: &RawRecord, commit_ts: CommitTs) -> Result<bool, Error> {
        let key = (commit_ts, crc32c::crc32c(&record.payload));
        if self.seen.contains_key(&key) {
            self.copies += 1;
            return Ok(true);
        }
        if commit_ts < self.last {
            let oldest = self.order.front().map_or(CommitTs::ZERO, |(ts, _)| *ts);
            if self.order.len() == REMEMBERED && commit_ts < oldest {
                // Too long ago to remember: a savepoint that was set back.
                self.copies += 1;
                return Ok(true);
            }
            let (path, last) = (path.to_owned(), self.last);
            return Err(Error::Disorder { path, offset: record.offset, commit_ts, last });
        }
        self.last = commit_ts;
        self.seen.insert(key, ());
        self.order.push_back(key);
        if self.order.len() > REMEMBERED
            && let Some(old) = self.order.pop_front()
        {
            self.seen.remove(&old);
        }
        Ok(false)
    }
}

fn commit_ts(binlog: &pb_binlog::Binlog) -> CommitTs {
    CommitTs::new(binlog.commit_ts as u64)
}

fn decode(path: &Path, record: &RawRecord) -> Result<pb_binlog::Binlog, Error> {
    pb_binlog::Binlog::decode(record.payload.clone()).map_err(|e| Error::Unreadable {
        path: path.to_owned(),
        offset: record.offset,
        commit_ts: CommitTs::ZERO,
        what: e.to_string(),
    })
}

pub(crate) fn commit_ts_of(path: &Path, record: &RawRecord) -> Result<CommitTs, Error> {
    decode(path, record).map(|binlog| commit_ts(&binlog))
}

pub(crate) fn damaged(path: &Path, offset: u64, last: CommitTs, failure: Failure) -> Error {
    let path = path.to_owned();
    match failure {
        Failure::Io(source) => Error::Io { path, source },
        Failure::Damage(damage) => Error::Damaged { path, offset, damage, last },
    }
}
