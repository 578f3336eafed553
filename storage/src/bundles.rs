//! Which bundles are in use: each holds several small prewrites, and goes with the last of them.
//!
//! A prewrite of a bundle that is of no more use, while others in it are, gets a *note* beside the bundle. To recovery a prewrite with a
//! note is as good as deleted. A note belongs to one bundle: the same transaction may come again and stand in a later one.

use std::collections::BTreeMap;

use binlog_types::StartTs;

use crate::format::keys::{BundleId, PendingKey, bundle_key, note_key};
use crate::format::sealed;
use crate::rocks::{Batch, Cf};

/// Where a prewrite lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In `pending`, in so many pieces.
    Pieces(u32),
    /// In a bundle.
    Bundle(BundleId),
}

impl Place {
    /// Nowhere.
    pub(crate) const NONE: Place = Place::Pieces(0);

    /// How many pieces its record has.
    pub(crate) fn fragments(self) -> u32 {
        match self {
            Place::Pieces(fragments) => fragments,
            Place::Bundle(_) => 1,
        }
    }
}

#[derive(Debug, Default)]
struct Bundle {
    /// Prewrites that are in use.
    live: usize,
    /// Those that have a note.
    noted: Vec<StartTs>,
    /// Whether it is still being filled.
    open: bool,
}

/// Prewrites in bundles that are of no more use.
#[derive(Debug, Default)]
pub(crate) struct Released(BTreeMap<BundleId, Vec<StartTs>>);

impl FromIterator<(StartTs, BundleId)> for Released {
    fn from_iter<I: IntoIterator<Item = (StartTs, BundleId)>>(released: I) -> Self {
        let mut by_bundle: BTreeMap<BundleId, Vec<StartTs>> = BTreeMap::new();
        for (start_ts, id) in released {
            by_bundle.entry(id).or_default().push(start_ts);
        }
        Released(by_bundle)
    }
}

/// The bundles that are in use. Memory only; recovery builds it anew.
#[derive(Debug, Default)]
pub(crate) struct Bundles {
    bundles: BTreeMap<BundleId, Bundle>,
    next: BundleId,
}

impl Bundles {
    /// Begins a bundle.
    pub(crate) fn begin(&mut self) -> BundleId {
        let id = self.next;
        self.next = id.next();
        self.bundles.insert(id, Bundle { open: true, ..Bundle::default() });
        id
    }

    /// One more prewrite is in it.
    pub(crate) fn add(&mut self, id: BundleId) {
        self.bundles.entry(id).or_default().live += 1;
    }

    /// It is filled. Whether it is to be stored; if not, its notes go.
    pub(crate) fn end(&mut self, id: BundleId, batch: &mut Batch<'_>) -> bool {
        let Some(bundle) = self.bundles.get_mut(&id) else { return false };
        bundle.open = false;
        if bundle.live > 0 {
            return true;
        }
        self.forget(id, batch);
        false
    }

    /// Puts a bundle back that a restart found, with a note for each of `noted`.
    pub(crate) fn recover(&mut self, id: BundleId, live: usize, noted: Vec<StartTs>, batch: &mut Batch<'_>) {
        self.not_again(id);
        self.bundles.insert(id, Bundle { live, noted, open: false });
        if live == 0 {
            self.forget(id, batch);
        }
    }

    /// Numbers up to `id` were in use.
    pub(crate) fn not_again(&mut self, id: BundleId) {
        self.next = self.next.max(id.next());
    }

    /// These prewrites are of no more use: what to write is put into the batch, and has to be written.
    pub(crate) fn release(&mut self, released: Released, batch: &mut Batch<'_>) {
        for (id, mut starts) in released.0 {
            let Some(bundle) = self.bundles.get_mut(&id) else {
                tracing::error!(bundle = id.0, ?starts, "prewrites are released whose bundle is gone");
                continue;
            };
            // Counted twice, it would take others along that are in use.
            let before = starts.len();
            starts.sort_unstable();
            starts.dedup();
            starts.retain(|start_ts| !bundle.noted.contains(start_ts));
            if starts.len() < before {
                tracing::error!(bundle = id.0, ?starts, "some of a bundle are released twice");
            }
            bundle.live = bundle.live.saturating_sub(starts.len());
            if bundle.live == 0 && !bundle.open {
                self.forget(id, batch);
                continue;
            }
            let note = sealed::seal(&[]);
            for start_ts in &starts {
                batch.put(Cf::Bundle, &note_key(id, *start_ts), &note);
            }
            bundle.noted.extend(starts);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.bundles.len()
    }

    fn forget(&mut self, id: BundleId, batch: &mut Batch<'_>) {
        let Some(bundle) = self.bundles.remove(&id) else { return };
        batch.delete(Cf::Bundle, &bundle_key(id));
        for start_ts in bundle.noted {
            batch.delete(Cf::Bundle, &note_key(id, start_ts));
        }
    }
}

/// Deletes the pieces of a prewrite.
pub(crate) fn delete_pieces(start_ts: StartTs, fragments: u32, batch: &mut Batch<'_>) {
    for fragment in 0..fragments {
        batch.delete(Cf::Pending, &PendingKey { start_ts, fragment }.encode());
    }
}

/// Deletes a prewrite wherever it lies.
pub(crate) fn delete(bundles: &mut Bundles, start_ts: StartTs, place: Place, batch: &mut Batch<'_>) {
    match place {
        Place::Pieces(fragments) => delete_pieces(start_ts, fragments, batch),
        Place::Bundle(id) => bundles.release(Released::from_iter([(start_ts, id)]), batch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rocks::{Db, Durability, Pass, Setup};

    fn keys(db: &Db) -> Vec<usize> {
        let mut cursor = db.cursor(Cf::Bundle, &[], None, Pass::Whole);
        let mut lengths = Vec::new();
        while let Some((key, _)) = cursor.entry().unwrap() {
            lengths.push(key.len());
            cursor.advance();
        }
        lengths
    }

    #[test]
    fn a_bundle_goes_with_its_last_prewrite_and_takes_its_notes_along() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), &Setup::small()).unwrap();
        let mut bundles = Bundles::default();
        let start = StartTs::new;
        let mut batch = db.batch(64);
        let id = bundles.begin();
        (0..4).for_each(|_| bundles.add(id));
        // One that is rolled back in the batch in which it came.
        bundles.release(Released::from_iter([(start(1), id)]), &mut batch);
        assert!(bundles.end(id, &mut batch));
        batch.put(Cf::Bundle, &bundle_key(id), b"value");
        db.write(batch, Durability::Memory).unwrap();
        assert_eq!(keys(&db), [8, 16]);

        let mut batch = db.batch(64);
        bundles.release(Released::from_iter([(start(2), id), (start(3), id)]), &mut batch);
        db.write(batch, Durability::Memory).unwrap();
        assert_eq!((keys(&db), bundles.len()), (vec![8, 16, 16, 16], 1));

        let mut batch = db.batch(64);
        bundles.release(Released::from_iter([(start(4), id)]), &mut batch);
        db.write(batch, Durability::Memory).unwrap();
        assert_eq!((keys(&db), bundles.len()), (vec![], 0));
    }

    #[test]
    fn what_is_released_twice_takes_nothing_else_along() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), &Setup::small()).unwrap();
        let mut bundles = Bundles::default();
        let mut batch = db.batch(64);
        let id = bundles.begin();
        (0..2).for_each(|_| bundles.add(id));
        assert!(bundles.end(id, &mut batch));
        for _ in 0..2 {
            bundles.release(Released::from_iter([(StartTs::new(1), id), (StartTs::new(1), id)]), &mut batch);
        }
        assert_eq!(bundles.len(), 1, "the other one is in use");
        bundles.release(Released::from_iter([(StartTs::new(2), id)]), &mut batch);
        bundles.release(Released::from_iter([(StartTs::new(2), id)]), &mut batch);
        assert_eq!(bundles.len(), 0);
    }

    #[test]
    fn a_bundle_of_nothing_is_not_stored_and_no_number_is_used_twice() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), &Setup::small()).unwrap();
        let mut bundles = Bundles::default();
        let mut batch = db.batch(64);
        let first = bundles.begin();
        bundles.add(first);
        bundles.release(Released::from_iter([(StartTs::new(1), first)]), &mut batch);
        assert!(!bundles.end(first, &mut batch));
        db.write(batch, Durability::Memory).unwrap();
        assert_eq!((keys(&db), bundles.len()), (vec![], 0));
        bundles.not_again(BundleId(7));
        assert_eq!(bundles.begin(), BundleId(8));
        bundles.recover(BundleId(20), 1, Vec::new(), &mut db.batch(64));
        assert_eq!(bundles.begin(), BundleId(21));
    }
}
