//! Reads a range of `log`.

use std::collections::VecDeque;
use std::sync::Arc;

use binlog_types::{CommitTs, Range, StartTs};

use crate::Error;
use crate::format::keys::LogKey;
use crate::format::record;
use crate::overlay::Overlay;
use crate::record::Fragment;
use crate::rocks::{Cf, Db};
use crate::shared::Shared;

/// How much is read from RocksDB at a time, at least.
const READ_AHEAD: usize = 2 << 20;

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
        Ok(Scan { shared, through, complete: range.after, next, ahead: VecDeque::new(), drained })
    }

    /// The next fragments, up to about `max_bytes` of them, at least one. Empty: the range is done.
    ///
    /// # Errors
    /// [`Error::Purged`] when garbage collection overtook the scan, [`Error::Corrupt`] with the position of a record that
    /// is not what was written, [`Error::Closed`].
    pub fn next_batch(&mut self, max_bytes: usize) -> Result<Vec<Fragment>, Error> {
        if self.ahead.is_empty()
            && !self.drained
            && let Err(error) = self.read_ahead(max_bytes.max(READ_AHEAD))
            && self.ahead.is_empty()
        {
            // Behind good records, the error comes again when those are taken.
            return Err(error);
        }
        let safe_point = self.shared.safe_point();
        if safe_point > self.complete && self.complete < self.through {
            return Err(Error::Purged { safe_point });
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(fragment) = self.ahead.front() {
            if !batch.is_empty() && bytes + fragment.size() > max_bytes {
                break;
            }
            bytes += fragment.size();
            // A transaction that is not over yet is not covered yet.
            let done = if fragment.last { fragment.commit_ts.ts() } else { fragment.commit_ts.ts().prev() };
            self.complete = self.complete.max(CommitTs::from(done));
            batch.extend(self.ahead.pop_front());
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

    fn read_ahead(&mut self, max_bytes: usize) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let db = shared.db()?;
        let upper = LogKey::above(self.through);
        let mut cursor = db.cursor(Cf::Log, &self.next.encode(), Some(&upper), max_bytes.min(READ_AHEAD));
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
                    for fragment in Overlay::fragments(&db, ready)? {
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
            let fragment = decode(&db, key, value)?;
            self.check_follows(&key)?;
            bytes += fragment.size();
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

fn decode(db: &Db, key: LogKey, value: &[u8]) -> Result<Fragment, Error> {
    let record = record::decode(value).map_err(|error| {
        error.at(|| {
            let file = db.file_of(Cf::Log, &key.encode());
            let LogKey { commit_ts, start_ts, fragment } = key;
            format!(
                "log commit_ts {commit_ts} start_ts {start_ts} piece {fragment} ({})",
                file.as_deref().unwrap_or("in memory")
            )
        })
    })?;
    Ok(Fragment::new(key.commit_ts, key.start_ts, record.header, record.attachment, record.payload))
}
