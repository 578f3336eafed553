//! Reads prewrites back from where they lie.

use std::collections::VecDeque;

use binlog_types::StartTs;
use bytes::Bytes;

use crate::Error;
use crate::bundles::Place;
use crate::format::keys::{BundleId, PendingKey, bundle_key};
use crate::format::{bundle, packed};
use crate::rocks::{Cf, Db};

/// Transactions that came together are decided, and read, at about the same time.
const REMEMBERED: usize = 8;

/// Remembers the bundles that it read last, unpacked.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    bundles: VecDeque<(BundleId, Vec<(StartTs, Bytes)>)>,
}

impl Stored {
    /// A piece of a prewrite, as a `record`.
    pub(crate) fn piece(
        &mut self,
        db: &Db,
        start_ts: StartTs,
        place: Place,
        fragment: u32,
    ) -> Result<Bytes, Error> {
        let found = match place {
            Place::Bundle(id) => self.of_bundle(db, start_ts, id)?,
            Place::Pieces(_) => {
                let value = db.get(Cf::Pending, &PendingKey { start_ts, fragment }.encode())?;
                let unpack = |value| packed::record_of(value).map(|record| Bytes::from(record.into_owned()));
                let record = value.as_ref().map(|value| unpack(value.as_ref())).transpose();
                record.map_err(|error| error.at(|| position(start_ts, place, fragment)))?
            }
        };
        found.ok_or_else(|| Error::Corrupt {
            position: position(start_ts, place, fragment),
            what: "the piece is missing".to_owned(),
        })
    }

    fn of_bundle(&mut self, db: &Db, start_ts: StartTs, id: BundleId) -> Result<Option<Bytes>, Error> {
        let known = self.bundles.iter().position(|(known, _)| *known == id);
        let at = match known {
            Some(at) => at,
            None => {
                let Some(value) = db.get(Cf::Bundle, &bundle_key(id))? else { return Ok(None) };
                let records = bundle::split(value.as_ref())
                    .and_then(|contents| contents.unpack())
                    .map(|unpacked| unpacked.records)
                    .map_err(|error| error.at(|| position(start_ts, Place::Bundle(id), 0)))?;
                self.bundles.truncate(REMEMBERED - 1);
                self.bundles.push_front((id, records));
                0
            }
        };
        let (_, records) = &self.bundles[at];
        let found = records.binary_search_by_key(&start_ts, |(start_ts, _)| *start_ts).ok();
        Ok(found.map(|found| records[found].1.clone()))
    }
}

/// A place, for messages.
pub(crate) fn position(start_ts: StartTs, place: Place, fragment: u32) -> String {
    match place {
        Place::Pieces(_) => format!("pending start_ts {start_ts} piece {fragment}"),
        Place::Bundle(id) => format!("bundle {} start_ts {start_ts}", id.0),
    }
}
