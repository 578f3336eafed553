//! What a restart finds.
//!
//! `log` may lack what was in its memory, never anything else: the prewrite and marker of each such record are still
//! there, because they are deleted only after a flush of `log` that covers them. (A marker is in a bundle, or in `commit`, which counts where
//! both have one.) So:
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
//! A marker without prewrite is a gap, or will be one when W passes it, unless `log` has its record: a commit stays in its
//! bundle until that goes. A marker that says *late* is a gap whose prewrite, if any, stays beside it as evidence; one that says *lost* is a gap whose prewrite has no known outcome.

mod markers;
mod prewrites;

use std::collections::BTreeMap;
use std::path::Path;

use binlog_types::CommitTs;

use crate::bundles::{self, Bundles, Place};
use crate::format::marker::{Kind, Marker};
use crate::format::meta;
use crate::pairing::{Outcome, Pairing, Ready};
use crate::rocks::{Batch, Db, Setup};
use crate::salvage::{self, OnUnreadable, Part, Unreadable};
use crate::{Error, identity};

/// Says what a database that does not open has lost, if it is the write-ahead log that is damaged: RocksDB replays it when it opens.
pub(crate) fn explain(error: Error, dir: &Path, setup: &Setup) -> Error {
    let Error::Corrupt { what: message, .. } = &error else { return error };
    let reach = || {
        let db = Db::open_damaged(dir, setup).ok()?;
        let safe_point = identity::stored_ts(&db, meta::SAFE_POINT).unwrap_or(CommitTs::ZERO);
        let after = salvage::whole_in_files(&db, safe_point).ok()?;
        let mut prewrites = BTreeMap::new();
        let (_, markers) = markers::read(&db, &mut prewrites, &mut db.batch(0), &mut |_| Ok(())).ok()?;
        let seen = markers.values().map(|(marker, _)| marker.commit_ts).max().unwrap_or(after).max(after);
        Some((after, seen))
    };
    match reach() {
        Some((after, seen)) => Error::DamagedWal { message: message.clone(), after, seen },
        None => error,
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
    let mut prewrites = prewrites::read(db, on_unreadable)?;
    let (mut bundles, markers) = markers::read(db, &mut prewrites, batch, on_unreadable)?;
    let mut pairing = Pairing::new(watermark.max(safe_point), held_bytes);
    let mut commits = Vec::new();
    for (start_ts, (marker, mark)) in markers {
        let prewrite = prewrites.remove(&start_ts);
        if marker.commit_ts <= safe_point {
            let place = prewrite.map_or(Place::NONE, |found| found.body.place);
            bundles::delete(&mut bundles, start_ts, place, batch);
            bundles::delete_marker(&mut bundles, start_ts, mark, batch);
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
            pairing.recover_late(start_ts, marker.commit_ts, marker.extra, place);
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
            let Marker { commit_ts, extra, .. } = marker;
            commits.push(Ready { commit_ts, start_ts, extra, mark, outcome });
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
