//! Reads a range of `log`.

use std::collections::VecDeque;
use std::sync::Arc;

use binlog_types::{CommitTs, Range, StartTs};

use crate::Error;
use crate::arena::Arena;
use crate::format::keys::LogKey;
use crate::format::record;
use crate::record::Fragment;
use crate::rocks::{Cf, Db, Pass};
use crate::shared::Shared;

/// How much is taken from RocksDB at a time, at least: less than that and positioning would show.
const LEAST: usize = 1 << 20;

/// A bounded read, in (commit_ts, fragment) order. It ends at the watermark of its beginning at the latest; what lies at
/// or below a watermark never changes, so a scan sees one state however long it takes.
#[derive(Debug)]
pub struct Scan {
    shared: Arc<Shared>,
    through: CommitTs,
    /// Everything at or below was returned.
    complete: CommitTs,
    /// The next key to read.
    next: LogKey,
    /// Read, not yet returned.
    ahead: VecDeque<Fragment>,
    arena: Arena,
    drained: bool,
}

// Servers move scans between the threads of a blocking pool.
static_assertions::assert_impl_all!(Scan: Send);

impl Scan {
    pub(crate) fn new(shared: Arc<Shared>, range: Range) -> Result<Self, Error> {
        shared.db()?;
        let through = range.through.min(shared.watermark());
        let safe_point = shared.safe_point();
        if range.after < safe_point {
            return Err(Error::Purged { safe_point });
        }
        let next = LogKey {
            commit_ts: CommitTs::from(range.after.ts().next()),
            start_ts: StartTs::ZERO,
            fragment: 0,
        };
        let drained = through <= range.after;
        Ok(Scan {
            shared,
            through,
            complete: range.after,
            next,
            ahead: VecDeque::new(),
            arena: Arena::default(),
            drained,
        })
    }

    /// The next fragments, up to about `max_bytes` of them, at least one. Empty: the range is done.
    ///
    /// # Errors
    /// [`Error::Purged`] when garbage collection overtook the scan, [`Error::Corrupt`] with the position of a record that
    /// is not what was written, [`Error::Closed`].
    pub fn next_batch(&mut self, max_bytes: usize) -> Result<Vec<Fragment>, Error> {
        if self.ahead.is_empty()
            && !self.drained
            && let Err(error) = self.read_ahead(max_bytes.max(LEAST))
            && self.ahead.is_empty()
        {
            // Behind good records, the error comes again when those are taken.
            return Err(error);
        }
        let safe_point = self.shared.safe_point();
        if safe_point > self.complete && self.complete < self.through {
            return Err(Error::Purged { safe_point });
        }
        let batch = self.take(max_bytes);
        if let Some(last) = batch.last() {
            // A transaction that is not over yet is not covered yet.
            let done = if last.last { last.commit_ts.ts() } else { last.commit_ts.ts().prev() };
            self.complete = self.complete.max(CommitTs::from(done));
        }
        if self.drained && self.ahead.is_empty() {
            self.complete = self.complete.max(self.through);
        }
        Ok(batch)
    }

    /// Everything at or below this was returned so far.
    pub fn complete_through(&self) -> CommitTs {
        self.complete
    }

    /// Where the scan ends: the range's end or the watermark, whichever was lower when it began.
    pub fn through(&self) -> CommitTs {
        self.through
    }

    /// What was read ahead, up to `max_bytes`, at least one.
    fn take(&mut self, max_bytes: usize) -> Vec<Fragment> {
        let mut bytes = 0;
        let fits = |fragment: &Fragment| {
            let first = bytes == 0;
            bytes += fragment.size();
            first || bytes <= max_bytes
        };
        let count = self.ahead.iter().map(fits).take_while(|fits| *fits).count();
        if count == self.ahead.len() {
            return Vec::from(std::mem::take(&mut self.ahead));
        }
        self.ahead.drain(..count).collect()
    }

    fn read_ahead(&mut self, max_bytes: usize) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let db = shared.db()?;
        let upper = LogKey::above(self.through);
        let mut cursor = db.cursor(Cf::Log, &self.next.encode(), Some(&upper), Pass::Piece);
        let mut bytes = 0;
        while bytes < max_bytes {
            let found = match cursor.entry()? {
                Some((key, value)) => Some((decode_key(key)?, value)),
                None => None,
            };
            if let Some(overlay) = &shared.overlay {
                let last = found.as_ref().map_or(self.through, |(key, _)| key.commit_ts);
                let after = CommitTs::from(self.next.commit_ts.ts().prev());
                if let Some(ready) = overlay.next(after, last) {
                    for fragment in overlay.fragments(&db, ready)? {
                        bytes += fragment.size();
                        self.ahead.push_back(fragment);
                    }
                    self.step_over(ready.commit_ts);
                    cursor.seek(&self.next.encode());
                    continue;
                }
            }
            let Some((key, value)) = found else {
                self.check_whole()?;
                self.drained = true;
                return Ok(());
            };
            // Not less than its size in memory: what is read is what a batch takes.
            bytes += record::HEADER_LEN + value.len();
            if bytes > max_bytes && !self.ahead.is_empty() {
                return Ok(());
            }
            let fragment = decode(&db, key, value, &mut self.arena)?;
            self.check_follows(&key)?;
            if fragment.last {
                self.step_over(key.commit_ts);
            } else {
                self.next = LogKey { fragment: key.fragment + 1, ..key };
            }
            self.ahead.push_back(fragment);
            cursor.advance();
        }
        Ok(())
    }

    fn step_over(&mut self, commit_ts: CommitTs) {
        let beyond = CommitTs::new(commit_ts.raw().saturating_add(1));
        self.next = LogKey { commit_ts: beyond, start_ts: StartTs::ZERO, fragment: 0 };
    }

    /// A piece that is missing is corruption, not an end.
    fn check_follows(&self, key: &LogKey) -> Result<(), Error> {
        let expected = if self.next.fragment > 0 { *key == self.next } else { key.fragment == 0 };
        if expected {
            return Ok(());
        }
        Err(self.missing(if self.next.fragment > 0 { &self.next } else { key }))
    }

    fn check_whole(&self) -> Result<(), Error> {
        if self.next.fragment > 0 { Err(self.missing(&self.next)) } else { Ok(()) }
    }

    fn missing(&self, key: &LogKey) -> Error {
        // Garbage collection may have taken a part of a record while it was read.
        let safe_point = self.shared.safe_point();
        if key.commit_ts <= safe_point {
            return Error::Purged { safe_point };
        }
        let LogKey { commit_ts, start_ts, fragment } = key;
        Error::Corrupt {
            position: format!("log commit_ts {commit_ts} start_ts {start_ts} piece {fragment}"),
            what: "this piece or one before it is missing".to_owned(),
        }
    }
}

fn decode_key(key: &[u8]) -> Result<LogKey, Error> {
    LogKey::decode(key).map_err(|error| error.at(|| format!("log key {key:02x?}")))
}

fn decode(db: &Db, key: LogKey, value: &[u8], arena: &mut Arena) -> Result<Fragment, Error> {
    let (header, extra, payload) = record::verify(value).map_err(|error| {
        error.at(|| {
            let file = db.file_of(Cf::Log, &key.encode());
            let LogKey { commit_ts, start_ts, fragment } = key;
            format!(
                "log commit_ts {commit_ts} start_ts {start_ts} piece {fragment} ({})",
                file.as_deref().unwrap_or("in memory")
            )
        })
    })?;
    Ok(Fragment::new(key.commit_ts, key.start_ts, header, arena.copy(extra), arena.copy(payload)))
}
