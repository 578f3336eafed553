//! Bundles, with the prewrites and commits in them, and `commit`.

use std::collections::BTreeMap;

use binlog_types::StartTs;
use bytes::Bytes;

use super::prewrites::Found;
use crate::bundles::{self, Bundles, Mark, Place};
use crate::format::bundle::{self, Committed, Unpacked};
use crate::format::keys::{BundleId, BundleKey, decode_commit_key};
use crate::format::marker::{self, Kind, Marker};
use crate::format::{FormatError, record};
use crate::rocks::{Batch, Cf, Db, Pass};
use crate::salvage::{OnUnreadable, Part, Unreadable};
use crate::{Error, stored};

/// Markers, and where they lie.
pub(super) type Markers = BTreeMap<StartTs, (Marker, Mark)>;

/// Adds the prewrites of bundles; gives which bundles are in use, and all markers. What is of no more use is deleted with `batch`.
pub(super) fn read(
    db: &Db,
    prewrites: &mut BTreeMap<StartTs, Found>,
    batch: &mut Batch<'_>,
    on_unreadable: OnUnreadable<'_>,
) -> Result<(Bundles, Markers), Error> {
    let bundles = Bundles::default();
    let mut reader = Reader { bundles, markers: Markers::new(), prewrites, batch, on_unreadable };
    if db.has(Cf::Bundle) {
        reader.read_bundles(db)?;
    }
    reader.read_commit(db)?;
    Ok((reader.bundles, reader.markers))
}

struct Reader<'a, 'b, 'db> {
    bundles: Bundles,
    markers: Markers,
    prewrites: &'a mut BTreeMap<StartTs, Found>,
    batch: &'a mut Batch<'db>,
    on_unreadable: OnUnreadable<'b>,
}

/// A bundle whose notes are still being read.
struct Current {
    id: BundleId,
    prewrites: Vec<StartTs>,
    commits: Vec<Committed>,
    unpacked: Result<Unpacked, FormatError>,
    noted: Vec<StartTs>,
}

impl Reader<'_, '_, '_> {
    fn read_bundles(&mut self, db: &Db) -> Result<(), Error> {
        let mut current: Option<Current> = None;
        let mut cursor = db.cursor(Cf::Bundle, &[], None, Pass::Whole);
        loop {
            let (key, value) = match cursor.entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(error) => {
                    (self.on_unreadable)(Unreadable::somewhere(Part::Bundle, error)?)?;
                    break;
                }
            };
            match BundleKey::decode(key) {
                Err(error) => {
                    let error = error.at(|| format!("bundle key {key:02x?}"));
                    (self.on_unreadable)(Unreadable::somewhere(Part::Bundle, error)?)?;
                }
                Ok(BundleKey::Bundle(id)) => {
                    self.end(current.take())?;
                    current = self.begin(id, value)?;
                }
                Ok(BundleKey::Note(id, start_ts)) => match &mut current {
                    Some(current) if current.id == id => current.noted.push(start_ts),
                    // It was on its way when its bundle went.
                    _ => {
                        self.bundles.not_again(id);
                        self.batch.delete(Cf::Bundle, key);
                    }
                },
            }
            cursor.advance();
        }
        self.end(current)
    }

    fn begin(&mut self, id: BundleId, value: &[u8]) -> Result<Option<Current>, Error> {
        match bundle::split(value) {
            Ok(contents) => {
                let unpacked = contents.unpack();
                let bundle::Contents { prewrites, commits, .. } = contents;
                Ok(Some(Current { id, prewrites, commits, unpacked, noted: Vec::new() }))
            }
            Err(error) => {
                let error = error.at(|| format!("bundle {}", id.0));
                self.bundles.not_again(id);
                (self.on_unreadable)(Unreadable::somewhere(Part::Bundle, error)?)?;
                Ok(None)
            }
        }
    }

    /// All notes of the bundle are known.
    fn end(&mut self, current: Option<Current>) -> Result<(), Error> {
        let Some(Current { id, mut prewrites, commits, unpacked, noted }) = current else { return Ok(()) };
        prewrites.retain(|start_ts| !noted.contains(start_ts));
        self.bundles.recover(id, prewrites.len() + commits.len(), noted, self.batch);
        for start_ts in prewrites {
            self.prewrite(id, start_ts, &unpacked)?;
        }
        for (n, committed) in commits.into_iter().enumerate() {
            self.commit(id, n, committed, &unpacked)?;
        }
        Ok(())
    }

    fn prewrite(
        &mut self,
        id: BundleId,
        start_ts: StartTs,
        unpacked: &Result<Unpacked, FormatError>,
    ) -> Result<(), Error> {
        let place = Place::Bundle(id);
        let records = unpacked.as_ref().map(|unpacked| &unpacked.records).map_err(Clone::clone);
        let record = records.and_then(|records| {
            let at = records.binary_search_by_key(&start_ts, |(start_ts, _)| *start_ts);
            at.map(|at| &records[at].1).map_err(|_| FormatError::Corrupt("it is missing"))
        });
        let found = match record.and_then(|record| record::verify(record)) {
            Ok((header, attachment, payload)) => Found::new(place, &header, attachment, payload),
            Err(error) => {
                let error = error.at(|| stored::position(start_ts, place, 0));
                (self.on_unreadable)(Unreadable::of(start_ts, Part::Prewrite, error)?)?;
                Found::unreadable(place)
            }
        };
        if let Some(earlier) = self.prewrites.insert(start_ts, found) {
            bundles::delete(&mut self.bundles, start_ts, earlier.body.place, self.batch);
        }
        Ok(())
    }

    /// The commit at place `n` of its bundle.
    fn commit(
        &mut self,
        id: BundleId,
        n: usize,
        committed: Committed,
        unpacked: &Result<Unpacked, FormatError>,
    ) -> Result<(), Error> {
        let Committed { start_ts, commit_ts, extra } = committed;
        let extra = match unpacked {
            _ if extra == 0 => Bytes::new(),
            Ok(unpacked) => unpacked.extras.get(n).cloned().unwrap_or_default(),
            Err(error) => {
                let position = || stored::position(start_ts, Place::Bundle(id), 0);
                let error = error.clone().at(position);
                return (self.on_unreadable)(Unreadable::of(start_ts, Part::Marker, error)?);
            }
        };
        self.add(start_ts, Marker { commit_ts, kind: Kind::Commit, extra }, Mark::Bundle(id));
        Ok(())
    }

    fn add(&mut self, start_ts: StartTs, marker: Marker, mark: Mark) {
        if let Some((_, earlier)) = self.markers.insert(start_ts, (marker, mark)) {
            bundles::delete_marker(&mut self.bundles, start_ts, earlier, self.batch);
        }
    }

    fn read_commit(&mut self, db: &Db) -> Result<(), Error> {
        let mut cursor = db.cursor(Cf::Commit, &[], None, Pass::Whole);
        loop {
            let (key, value) = match cursor.entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => return Ok(()),
                Err(error) => {
                    return (self.on_unreadable)(Unreadable::somewhere(Part::Marker, error)?);
                }
            };
            match decode_commit_key(key) {
                Err(error) => {
                    let error = error.at(|| format!("commit key {key:02x?}"));
                    (self.on_unreadable)(Unreadable::somewhere(Part::Marker, error)?)?;
                }
                Ok(start_ts) => match marker::decode(value) {
                    Ok(marker) => self.add(start_ts, marker, Mark::Key),
                    Err(error) => {
                        let error = error.at(|| format!("commit start_ts {start_ts}"));
                        (self.on_unreadable)(Unreadable::of(start_ts, Part::Marker, error)?)?;
                    }
                },
            }
            cursor.advance();
        }
    }
}
