//! The prewrites in `pending`.

use std::collections::BTreeMap;

use binlog_types::{SchemaVersion, StartTs};
use bytes::Bytes;

use crate::bundles::Place;
use crate::format::keys::PendingKey;
use crate::format::packed;
use crate::format::record::{self, Header};
use crate::pairing::Body;
use crate::rocks::{Cf, Db, Pass};
use crate::salvage::{OnUnreadable, Part, Unreadable};
use crate::{Error, stored};

/// A prewrite as it was found.
pub(super) struct Found {
    pub(super) key: Bytes,
    pub(super) body: Body,
    pub(super) complete: bool,
    /// Something of it cannot be read, and somebody knows.
    damaged: bool,
}

impl Found {
    /// A prewrite whose first piece is this.
    pub(super) fn new(place: Place, header: &Header, attachment: &[u8], payload: &[u8]) -> Self {
        let body = Body {
            schema_version: header.schema_version,
            ddl: header.ddl,
            place,
            bytes: payload.len() as u64,
            check: header.payload_check,
            held: None,
        };
        Found { key: Bytes::copy_from_slice(attachment), body, complete: header.last, damaged: false }
    }

    /// One of which no piece was read.
    pub(super) fn unreadable(place: Place) -> Self {
        let body =
            Body { schema_version: SchemaVersion(0), ddl: false, place, bytes: 0, check: 0, held: None };
        Found { key: Bytes::new(), body, complete: true, damaged: true }
    }

    /// A piece of it is not what was written: whoever reads it, finds that.
    fn damaged(&mut self, fragment: u32) {
        if let Place::Pieces(fragments) = &mut self.body.place {
            *fragments = (*fragments).max(fragment.saturating_add(1));
        }
        self.complete = true;
        self.damaged = true;
    }

    /// One more piece.
    pub(super) fn grow(&mut self) {
        if let Place::Pieces(fragments) = &mut self.body.place {
            *fragments += 1;
        }
    }
}

/// Reads them.
pub(super) fn read(db: &Db, on_unreadable: OnUnreadable<'_>) -> Result<BTreeMap<StartTs, Found>, Error> {
    let mut prewrites: BTreeMap<StartTs, Found> = BTreeMap::new();
    let mut cursor = db.cursor(Cf::Pending, &[], None, Pass::Whole);
    loop {
        let (key, value) = match cursor.entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(prewrites),
            Err(error) => {
                on_unreadable(Unreadable::somewhere(Part::Prewrites, error)?)?;
                return Ok(prewrites);
            }
        };
        match PendingKey::decode(key) {
            Err(error) => {
                let error = error.at(|| format!("pending key {key:02x?}"));
                on_unreadable(Unreadable::somewhere(Part::Prewrites, error)?)?;
            }
            Ok(key) => {
                if let Err(error) = piece(&mut prewrites, key, value) {
                    on_unreadable(Unreadable::of(key.start_ts, Part::Prewrite, error)?)?;
                    // Never taken for one that was not finished.
                    prewrites
                        .entry(key.start_ts)
                        .or_insert_with(|| Found::unreadable(Place::NONE))
                        .damaged(key.fragment);
                }
            }
        }
        cursor.advance();
    }
}

/// Adds a piece to its prewrite.
fn piece(prewrites: &mut BTreeMap<StartTs, Found>, key: PendingKey, value: &[u8]) -> Result<(), Error> {
    let PendingKey { start_ts, fragment } = key;
    let position = || stored::position(start_ts, Place::NONE, fragment);
    let value = packed::record_of(value).map_err(|error| error.at(position))?;
    let (header, attachment, payload) = record::split(&value).map_err(|error| error.at(position))?;
    match prewrites.get_mut(&start_ts) {
        None if fragment == 0 => {
            prewrites.insert(start_ts, Found::new(Place::Pieces(1), &header, attachment, payload));
            Ok(())
        }
        Some(found) if found.damaged => {
            found.damaged(fragment);
            Ok(())
        }
        Some(found) if !found.complete && found.body.place == Place::Pieces(fragment) => {
            found.grow();
            found.body.bytes += payload.len() as u64;
            found.complete = header.last;
            Ok(())
        }
        _ => {
            let what = "the piece does not follow the one before it".to_owned();
            Err(Error::Corrupt { position: position(), what })
        }
    }
}
