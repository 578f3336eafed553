//! What a store that is open for reading only adds to `log`: records whose markers are there, but that had been in memory
//! only when the writing process ended.

use std::collections::BTreeMap;

use binlog_types::CommitTs;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::Error;
use crate::format::record;
use crate::pairing::{Outcome, Pairing, Ready};
use crate::record::Fragment;
use crate::rocks::Db;
use crate::settle::{fake_header, in_log};
use crate::stored::{self, Stored};
use crate::verify::Damage;

/// Records by commit_ts; they take the place of what `log` may hold of them.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    records: BTreeMap<CommitTs, Ready>,
    /// What was found when the store was opened.
    pub(crate) damage: Vec<Damage>,
    stored: Mutex<Stored>,
}

impl Overlay {
    /// Lets the watermark advance in memory.
    pub(crate) fn build(db: &Db, pairing: &mut Pairing) -> Result<Self, Error> {
        let mut records = BTreeMap::new();
        while let Some(advance) = pairing.advance(u64::MAX) {
            for ready in advance.ready {
                if ready.outcome != Outcome::Missing {
                    records.insert(ready.commit_ts, ready);
                } else if in_log(db, &ready)? {
                    pairing.not_missing(ready.start_ts, ready.commit_ts);
                }
            }
        }
        Ok(Overlay { records, damage: Vec::new(), stored: Mutex::default() })
    }

    /// Leaves to `log` what it has whole.
    pub(crate) fn forget_through(&mut self, whole: CommitTs) {
        self.records.retain(|commit_ts, _| *commit_ts > whole);
    }

    /// Whether a record is here.
    pub(crate) fn has(&self, commit_ts: CommitTs) -> bool {
        self.records.contains_key(&commit_ts)
    }

    /// Those up to `through`, in order.
    pub(crate) fn records(&self, through: CommitTs) -> impl Iterator<Item = &Ready> {
        self.records.range(..=through).map(|(_, ready)| ready)
    }

    /// The first record in `(after, through]`.
    pub(crate) fn next(&self, after: CommitTs, through: CommitTs) -> Option<&Ready> {
        if through <= after {
            return None;
        }
        let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Included(through));
        self.records.range(range).next().map(|(_, ready)| ready)
    }

    /// The pieces of a record.
    pub(crate) fn fragments(&self, db: &Db, ready: &Ready) -> Result<Vec<Fragment>, Error> {
        let Outcome::Joined(body) = &ready.outcome else {
            return Ok(vec![Fragment::new(
                ready.commit_ts,
                ready.start_ts,
                fake_header(),
                ready.extra.clone(),
                Bytes::new(),
            )]);
        };
        let mut stored = self.stored.lock();
        (0..body.place.fragments())
            .map(|fragment| {
                let value = stored.piece(db, ready.start_ts, body.place, fragment)?;
                let position = || stored::position(ready.start_ts, body.place, fragment);
                let (header, _, payload) = record::verify(&value).map_err(|error| error.at(position))?;
                let extra = if fragment == 0 { ready.extra.clone() } else { Bytes::new() };
                Ok(Fragment::new(ready.commit_ts, ready.start_ts, header, extra, value.slice_ref(payload)))
            })
            .collect()
    }
}
