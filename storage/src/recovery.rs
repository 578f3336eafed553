//! What a restart finds.
//!
//! `log` may lack what was in its memory, never anything else: the prewrite and marker of each such record are still
//! there, because they are deleted only after a flush of `log` that covers them. So:
//!
//! 1. markers at or below the safe point go, with their prewrites;
//! 2. all other markers go back into the pairing state, wherever W stood; those at or below W come out of it first and
//!    enter `log` again under the same keys with the same values;
//! 3. prewrites without a marker are undecided. They count as older than everything that arrives from now on, and than the
//!    recovered commits above W: W passes those only once all recovered prewrites are settled.
//!
//! A prewrite in a bundle that has a note is as good as deleted. A transaction that stands in two bundles has come again after what became
//! of it was settled: the later one counts.
//!
//! A prewrite that has its first pieces but not its last one was being written when the process ended: it goes.
//!
//! A marker without prewrite is a gap, or will be one when W passes it. A marker that says *late* is a gap whose prewrite,
//! if any, stays beside it as evidence; one that says *lost* is a gap whose prewrite has no known outcome.

use std::collections::BTreeMap;
use std::path::Path;

use binlog_types::{CommitTs, SchemaVersion, StartTs};
use bytes::Bytes;

use crate::bundles::{self, Bundles, Place};
use crate::format::keys::{BundleId, BundleKey, PendingKey, commit_key, decode_commit_key};
use crate::format::marker::{self, Kind, Marker};
use crate::format::record::Header;
use crate::format::{FormatError, bundle, meta, packed, record};
use crate::pairing::{Body, Outcome, Pairing, Ready};
use crate::rocks::{Batch, Cf, Db, Pass, Setup};
use crate::salvage::{self, OnUnreadable, Part, Unreadable};
use crate::{Error, identity, stored};

/// Says what a database that does not open has lost, if it is the write-ahead log that is damaged: RocksDB replays it when it opens.
pub(crate) fn explain(error: Error, dir: &Path, setup: &Setup) -> Error {
    let Error::Corrupt { what: message, .. } = &error else { return error };
    let reach = || {
        let db = Db::open_damaged(dir, setup).ok()?;
        let safe_point = identity::stored_ts(&db, meta::SAFE_POINT).unwrap_or(CommitTs::ZERO);
        let after = salvage::whole_in_files(&db, safe_point).ok()?;
        let markers = read_markers(&db, &mut |_| Ok(())).ok()?;
        let seen = markers.iter().map(|(_, marker)| marker.commit_ts).max().unwrap_or(after).max(after);
        Some((after, seen))
    };
    match reach() {
        Some((after, seen)) => Error::DamagedWal { message: message.clone(), after, seen },
        None => error,
    }
}

/// A prewrite as it stands in `pending`.
struct Found {
    key: Bytes,
    body: Body,
    complete: bool,
    /// Something of it cannot be read, and somebody knows.
    damaged: bool,
}

impl Found {
    /// One of which no piece was read.
    fn unreadable(place: Place) -> Self {
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
    fn grow(&mut self) {
        if let Place::Pieces(fragments) = &mut self.body.place {
            *fragments += 1;
        }
    }
}

/// Rebuilds the pairing state, and which bundles are in use. Deletions go into `batch`; what cannot be read, to `on_unreadable`.
pub(crate) fn recover(
    db: &Db,
    watermark: CommitTs,
    safe_point: CommitTs,
    held_bytes: usize,
    now: std::time::Duration,
    batch: &mut Batch<'_>,
    on_unreadable: OnUnreadable<'_>,
) -> Result<(Pairing, Bundles), Error> {
    let mut prewrites = read_prewrites(db, on_unreadable)?;
    let mut bundles = read_bundles(db, &mut prewrites, batch, on_unreadable)?;
    let mut pairing = Pairing::new(watermark.max(safe_point), held_bytes);
    let mut commits = Vec::new();
    for (start_ts, marker) in read_markers(db, on_unreadable)? {
        let prewrite = prewrites.remove(&start_ts);
        if marker.commit_ts <= safe_point {
            let place = prewrite.map_or(Place::NONE, |found| found.body.place);
            bundles::delete(&mut bundles, start_ts, place, batch);
            batch.delete(Cf::Commit, &commit_key(start_ts));
        } else if marker.kind == Kind::Lost {
            let position = || format!("commit start_ts {start_ts}");
            let body = match prewrite {
                Some(found) => found.body,
                None => {
                    let what = "the prewrite that it stands for is missing".to_owned();
                    let error = Error::Corrupt { position: position(), what };
                    on_unreadable(Unreadable::of(start_ts, Part::Marker, error)?)?;
                    continue;
                }
            };
            match marker.lost_range() {
                Ok(range) => pairing.recover_lost(start_ts, range, body),
                Err(error) => on_unreadable(Unreadable::of(start_ts, Part::Marker, error.at(position))?)?,
            }
        } else if marker.kind == Kind::Late {
            let place = prewrite.map_or(Place::NONE, |found| found.body.place);
            pairing.recover_late(start_ts, marker.commit_ts, place);
        } else {
            let outcome = match prewrite {
                _ if marker.kind == Kind::Fake => Outcome::Fake,
                Some(mut found) => {
                    if !found.complete {
                        let position = format!("pending start_ts {start_ts}");
                        let error = Error::Corrupt { position, what: "its last piece is missing".to_owned() };
                        // Whoever reads the record will miss that piece, and needs no other word.
                        on_unreadable(Unreadable::of(start_ts, Part::Joined, error)?)?;
                        found.grow();
                    }
                    Outcome::Joined(found.body)
                }
                None => Outcome::Missing,
            };
            commits.push(Ready { commit_ts: marker.commit_ts, start_ts, extra: marker.extra, outcome });
        }
    }
    // Start_ts order is as good as any: all of them are older than what comes.
    for (start_ts, found) in prewrites {
        if !found.complete {
            // The process ended while it was written piece by piece: it was never acknowledged.
            bundles::delete(&mut bundles, start_ts, found.body.place, batch);
            continue;
        }
        pairing.prewrite(start_ts, found.key, found.body, now)?;
    }
    pairing.prewrites_are_recovered();
    commits.sort_unstable_by_key(|ready| ready.commit_ts);
    for ready in commits {
        pairing.recover(ready);
    }
    Ok((pairing, bundles))
}

fn read_markers(db: &Db, on_unreadable: OnUnreadable<'_>) -> Result<Vec<(StartTs, Marker)>, Error> {
    let mut markers = Vec::new();
    let mut cursor = db.cursor(Cf::Commit, &[], None, Pass::Whole);
    loop {
        let (key, value) = match cursor.entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(markers),
            Err(error) => {
                on_unreadable(Unreadable::somewhere(Part::Marker, error)?)?;
                return Ok(markers);
            }
        };
        match decode_commit_key(key) {
            Err(error) => {
                let error = error.at(|| format!("commit key {key:02x?}"));
                on_unreadable(Unreadable::somewhere(Part::Marker, error)?)?;
            }
            Ok(start_ts) => match marker::decode(value) {
                Ok(marker) => markers.push((start_ts, marker)),
                Err(error) => {
                    let error = error.at(|| format!("commit start_ts {start_ts}"));
                    on_unreadable(Unreadable::of(start_ts, Part::Marker, error)?)?;
                }
            },
        }
        cursor.advance();
    }
}

fn read_prewrites(db: &Db, on_unreadable: OnUnreadable<'_>) -> Result<BTreeMap<StartTs, Found>, Error> {
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
            prewrites.insert(start_ts, found(Place::Pieces(1), &header, attachment, payload));
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

fn found(place: Place, header: &Header, attachment: &[u8], payload: &[u8]) -> Found {
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

/// Adds what is in bundles.
fn read_bundles(
    db: &Db,
    prewrites: &mut BTreeMap<StartTs, Found>,
    batch: &mut Batch<'_>,
    on_unreadable: OnUnreadable<'_>,
) -> Result<Bundles, Error> {
    let mut reader = BundleReader { bundles: Bundles::default(), prewrites, batch, current: None };
    if !db.has(Cf::Bundle) {
        return Ok(reader.bundles);
    }
    let mut cursor = db.cursor(Cf::Bundle, &[], None, Pass::Whole);
    loop {
        let (key, value) = match cursor.entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(error) => {
                on_unreadable(Unreadable::somewhere(Part::Prewrites, error)?)?;
                break;
            }
        };
        match BundleKey::decode(key) {
            Err(error) => {
                let error = error.at(|| format!("bundle key {key:02x?}"));
                on_unreadable(Unreadable::somewhere(Part::Prewrites, error)?)?;
            }
            Ok(BundleKey::Bundle(id)) => {
                reader.end(on_unreadable)?;
                match bundle::split(value) {
                    Ok((starts, body)) => {
                        let records = bundle::records(&starts, body);
                        reader.current = Some(Current { id, starts, records, noted: Vec::new() });
                    }
                    Err(error) => {
                        let error = error.at(|| format!("bundle {}", id.0));
                        reader.bundles.not_again(id);
                        on_unreadable(Unreadable::somewhere(Part::Prewrites, error)?)?;
                    }
                }
            }
            Ok(BundleKey::Note(id, start_ts)) => match &mut reader.current {
                Some(current) if current.id == id => current.noted.push(start_ts),
                // It was on its way when its bundle went.
                _ => {
                    reader.bundles.not_again(id);
                    reader.batch.delete(Cf::Bundle, key);
                }
            },
        }
        cursor.advance();
    }
    reader.end(on_unreadable)?;
    Ok(reader.bundles)
}

/// A bundle whose notes are still being read.
struct Current {
    id: BundleId,
    starts: Vec<StartTs>,
    records: Result<Vec<(StartTs, Bytes)>, FormatError>,
    noted: Vec<StartTs>,
}

struct BundleReader<'a, 'db> {
    bundles: Bundles,
    prewrites: &'a mut BTreeMap<StartTs, Found>,
    batch: &'a mut Batch<'db>,
    current: Option<Current>,
}

impl BundleReader<'_, '_> {
    /// All notes of the bundle under way are known.
    fn end(&mut self, on_unreadable: OnUnreadable<'_>) -> Result<(), Error> {
        let Some(Current { id, starts, records, noted }) = self.current.take() else { return Ok(()) };
        let place = Place::Bundle(id);
        let in_use = |start_ts: &&StartTs| !noted.contains(start_ts);
        let live = starts.iter().filter(in_use).count();
        self.bundles.recover(id, live, noted.clone(), self.batch);
        for start_ts in starts.iter().filter(in_use) {
            let position = || stored::position(*start_ts, place, 0);
            let record = match &records {
                Ok(records) => records
                    .binary_search_by_key(start_ts, |(start_ts, _)| *start_ts)
                    .map_err(|_| FormatError::Corrupt("it is missing"))
                    .and_then(|at| record::verify(&records[at].1)),
                Err(error) => Err(error.clone()),
            };
            let found = match record {
                Ok((header, attachment, payload)) => found(place, &header, attachment, payload),
                Err(error) => {
                    on_unreadable(Unreadable::of(*start_ts, Part::Prewrite, error.at(position))?)?;
                    Found::unreadable(place)
                }
            };
            if let Some(earlier) = self.prewrites.insert(*start_ts, found) {
                bundles::delete(&mut self.bundles, *start_ts, earlier.body.place, self.batch);
            }
        }
        Ok(())
    }
}
