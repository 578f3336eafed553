//! What a damaged store can still be asked for, when it is opened for reading only.
//!
//! Where the bytes of a marker cannot be read, a record is missing whose commit_ts is not known. It lies above its start_ts, and above
//! everything that is in files of `log`, since those hold the stream in order and whole. So all below can be read, and the watermark
//! stops there. Where a prewrite cannot be read, its record is damaged, or will be once it commits.

use binlog_types::{CommitTs, Range, StartTs};

use crate::Error;
use crate::format::keys::LogKey;
use crate::format::record;
use crate::rocks::{Cf, Db};
use crate::verify::Damage;

/// What it is that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A marker, or several.
    Marker,
    /// Prewrites, nobody knows which.
    Prewrites,
    /// Prewrites and markers, nobody knows which.
    Bundle,
    /// A piece of a prewrite.
    Prewrite,
    /// A piece of a prewrite that has committed: who reads the record finds it.
    Joined,
}

/// Something in `bundle`, `pending` or `commit` that is not what was written.
pub(crate) struct Unreadable {
    /// [`StartTs::ZERO`] if not even that is known.
    pub(crate) start_ts: StartTs,
    pub(crate) part: Part,
    error: Error,
}

impl Unreadable {
    /// One that is damaged; any other error stays one.
    pub(crate) fn of(start_ts: StartTs, part: Part, error: Error) -> Result<Self, Error> {
        match error {
            // A flipped bit may look like a later format; that of the store as a whole has been checked.
            Error::Corrupt { .. } | Error::NewerFormat { .. } => Ok(Unreadable { start_ts, part, error }),
            other => Err(other),
        }
    }

    /// As [`Unreadable::of`], where its transaction is not known.
    pub(crate) fn somewhere(part: Part, error: Error) -> Result<Self, Error> {
        Self::of(StartTs::ZERO, part, error)
    }
}

/// Called for what cannot be read: an error ends the recovery.
pub(crate) type OnUnreadable<'a> = &'a mut dyn FnMut(Unreadable) -> Result<(), Error>;

/// For a store that will be written to.
pub(crate) fn refuse(found: Unreadable) -> Result<(), Error> {
    Err(found.error)
}

/// Up to where the files of `log` hold everything: it has no write-ahead log, and records enter it in order. At least the safe point.
pub(crate) fn whole_in_files(db: &Db, safe_point: CommitTs) -> Result<CommitTs, Error> {
    let Some((key, value)) = db.last_entry(Cf::Log)? else { return Ok(safe_point) };
    let Some(commit_ts) = LogKey::commit_ts_of(&key) else { return Ok(safe_point) };
    // A file may end within a record that is not over.
    let over = record::split(&value).is_ok_and(|(header, ..)| header.last);
    let whole = if over { commit_ts } else { CommitTs::from(commit_ts.ts().prev()) };
    Ok(whole.max(safe_point))
}

/// How far a damaged store can be read: `whole` in files, with `stored` as its watermark when it was written last, and
/// `recovered` if nothing were damaged. And what is damaged.
pub(crate) fn reach(
    unreadable: Vec<Unreadable>,
    whole: CommitTs,
    stored: CommitTs,
    recovered: CommitTs,
) -> (CommitTs, Vec<Damage>) {
    let stop = |found: &Unreadable| match found.part {
        Part::Marker | Part::Bundle => whole.max(found.start_ts.ts().into()),
        // The watermark never passed one that was undecided.
        Part::Prewrites => whole.max(stored),
        Part::Prewrite | Part::Joined => CommitTs::MAX,
    };
    let reach = unreadable.iter().map(stop).min().map_or(recovered, |stop| stop.min(recovered));
    let damage = |found: Unreadable| {
        let (after, consequence) = match found.part {
            Part::Marker => (stop(&found), "where it committed is not known"),
            Part::Prewrites | Part::Bundle => (stop(&found), "which transactions it held is not known"),
            Part::Prewrite => {
                (recovered.max(found.start_ts.ts().into()), "whether it committed is not known")
            }
            Part::Joined => return None,
        };
        let what = format!("{}; {consequence}, so the store ends at {reach}", found.error);
        Some(Damage { range: Range { after, through: CommitTs::MAX }, what })
    };
    (reach, unreadable.into_iter().filter_map(damage).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::Header;
    use crate::rocks::{Durability, Setup};

    fn put(db: &Db, commit_ts: u64, fragment: u32, last: bool) {
        let header = Header { last, sequence: fragment, ..crate::settle::fake_header() };
        let mut value = Vec::new();
        record::encode(&header, &[], &[], &mut value);
        let key = LogKey { commit_ts: CommitTs::new(commit_ts), start_ts: StartTs::new(1), fragment };
        let mut batch = db.batch(64);
        batch.put(Cf::Log, &key.encode(), &value);
        db.write(batch, Durability::Memory).unwrap();
    }

    #[test]
    fn files_are_whole_up_to_the_last_record_that_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), &Setup::small()).unwrap();
        let whole = |safe_point| whole_in_files(&db, CommitTs::new(safe_point)).unwrap().raw();
        assert_eq!(whole(5), 5, "nothing is left of what was dropped");
        put(&db, 10, 0, true);
        assert_eq!((whole(5), whole(11)), (10, 11));
        put(&db, 20, 0, false);
        assert_eq!(whole(5), 19);
        put(&db, 20, 1, true);
        assert_eq!(whole(5), 20);
    }
}
