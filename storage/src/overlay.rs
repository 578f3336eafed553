//! What a store that is open for reading only adds to `log`: records whose markers are there, but that had been in memory
//! only when the writing process ended.

use std::collections::BTreeMap;

use binlog_types::CommitTs;

use crate::Error;
use crate::format::keys::PendingKey;
use crate::format::record;
use crate::pairing::{Outcome, Pairing, Ready};
use crate::record::Fragment;
use crate::rocks::{Cf, Db};
use crate::settle::fake_header;

/// Records by commit_ts; they take the place of what `log` may hold of them.
#[derive(Debug, Default)]
pub(crate) struct Overlay(BTreeMap<CommitTs, Ready>);

impl Overlay {
    /// Lets the watermark advance in memory.
    pub(crate) fn build(pairing: &mut Pairing) -> Self {
        let mut records = BTreeMap::new();
        while let Some(advance) = pairing.advance(u64::MAX) {
            let kept = advance.ready.into_iter().filter(|ready| ready.outcome != Outcome::Missing);
            records.extend(kept.map(|ready| (ready.commit_ts, ready)));
        }
        Overlay(records)
    }

    /// All of them, in order.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Ready> {
        self.0.values()
    }

    /// The first record in `(after, through]`.
    pub(crate) fn next(&self, after: CommitTs, through: CommitTs) -> Option<&Ready> {
        if through <= after {
            return None;
        }
        let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Included(through));
        self.0.range(range).next().map(|(_, ready)| ready)
    }

    /// The pieces of a record.
    pub(crate) fn fragments(db: &Db, ready: &Ready) -> Result<Vec<Fragment>, Error> {
        let Outcome::Joined(body) = &ready.outcome else {
            return Ok(vec![Fragment::new(
                ready.commit_ts,
                ready.start_ts,
                fake_header(),
                ready.extra.clone(),
                bytes::Bytes::new(),
            )]);
        };
        (0..body.fragments)
            .map(|fragment| {
                let key = PendingKey { start_ts: ready.start_ts, fragment };
                let position = || format!("pending start_ts {} piece {fragment}", ready.start_ts);
                let value = db.get(Cf::Pending, &key.encode())?.ok_or_else(|| Error::Corrupt {
                    position: position(),
                    what: "the piece is missing".to_owned(),
                })?;
                let record = record::decode(value.as_ref()).map_err(|error| error.at(position))?;
                let extra = if fragment == 0 { ready.extra.clone() } else { bytes::Bytes::new() };
                Ok(Fragment::new(ready.commit_ts, ready.start_ts, record.header, extra, record.payload))
            })
            .collect()
    }
}
