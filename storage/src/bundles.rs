//! Which bundles are in use: each holds several small prewrites and commits, and goes with the last of them.
//!
//! A prewrite of a bundle that is of no more use, while something else in it is, gets a *note* beside the bundle. To recovery a prewrite with
//! a note is as good as deleted. A note belongs to one bundle: the same transaction may come again and stand in a later one. A commit needs
//! none: one that is left without its prewrite is looked up in `log`.

use std::collections::BTreeMap;

use binlog_types::StartTs;

use crate::format::keys::{BundleId, PendingKey, bundle_key, commit_key, note_key};
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

/// Where the marker of a commit lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// In `commit`.
    Key,
    /// In a bundle.
    Bundle(BundleId),
}

#[derive(Debug, Default)]
struct Bundle {
    /// Prewrites and commits that are in use.
    live: usize,
    /// Prewrites that have a note, ascending.
    noted: Vec<StartTs>,
    /// Commits that are of no more use, ascending.
    passed: Vec<StartTs>,
    /// Whether it is still being filled.
    open: bool,
}

/// What is in a bundle and of no more use.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    prewrites: Vec<StartTs>,
    commits: Vec<StartTs>,
}

/// What is of no more use, by bundle.
#[derive(Debug, Default)]
pub(crate) struct Released(BTreeMap<BundleId, Parts>);

impl Released {
    /// A prewrite, if a bundle has it.
    pub(crate) fn prewrite(&mut self, start_ts: StartTs, place: Place) {
        if let Place::Bundle(id) = place {
            self.0.entry(id).or_default().prewrites.push(start_ts);
        }
    }

    /// A commit, if a bundle has it.
    pub(crate) fn commit(&mut self, start_ts: StartTs, mark: Mark) {
        if let Mark::Bundle(id) = mark {
            self.0.entry(id).or_default().commits.push(start_ts);
        }
    }

    /// For [`Bundles::release`].
    pub(crate) fn into_parts(self) -> impl Iterator<Item = (BundleId, Parts)> {
        self.0.into_iter()
    }
}

/// Those of `starts` that are not `known` yet: they are from now on.
fn news(mut starts: Vec<StartTs>, known: &mut Vec<StartTs>) -> Vec<StartTs> {
    starts.sort_unstable();
    starts.dedup();
    starts.retain(|start_ts| known.binary_search(start_ts).is_err());
    known.extend(&starts);
    known.sort_unstable();
    starts
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

    /// One more prewrite or commit is in it.
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
        self.forget_notes(id, batch);
        false
    }

    /// Puts a bundle back that a restart found, with a note for each of `noted`.
    pub(crate) fn recover(
        &mut self,
        id: BundleId,
        live: usize,
        mut noted: Vec<StartTs>,
        batch: &mut Batch<'_>,
    ) {
        self.not_again(id);
        noted.sort_unstable();
        self.bundles.insert(id, Bundle { live, noted, ..Bundle::default() });
        if live == 0 {
            self.forget(id, batch);
        }
    }

    /// Numbers up to `id` were in use.
    pub(crate) fn not_again(&mut self, id: BundleId) {
        self.next = self.next.max(id.next());
    }

    /// What is of no more use: what to write is put into the batch, and has to be written.
    pub(crate) fn release(&mut self, id: BundleId, parts: Parts, batch: &mut Batch<'_>) {
        let Parts { prewrites, commits } = parts;
        let Some(bundle) = self.bundles.get_mut(&id) else {
            tracing::error!(
                bundle = id.0,
                ?prewrites,
                ?commits,
                "what is released stood in a bundle that is gone"
            );
            return;
        };
        // Counted twice, it would take others along that are in use.
        let before = prewrites.len() + commits.len();
        let prewrites = news(prewrites, &mut bundle.noted);
        let new = prewrites.len() + news(commits, &mut bundle.passed).len();
        if new < before {
            tracing::error!(bundle = id.0, times = before - new, "something in a bundle is released twice");
        }
        bundle.live = bundle.live.saturating_sub(new);
        if bundle.live == 0 && !bundle.open {
            return self.forget(id, batch);
        }
        for start_ts in &prewrites {
            batch.put(Cf::Bundle, &note_key(id, *start_ts), &sealed::seal(&[]));
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.bundles.len()
    }

    fn forget(&mut self, id: BundleId, batch: &mut Batch<'_>) {
        batch.delete(Cf::Bundle, &bundle_key(id));
        self.forget_notes(id, batch);
    }

    fn forget_notes(&mut self, id: BundleId, batch: &mut Batch<'_>) {
        for start_ts in self.bundles.remove(&id).into_iter().flat_map(|bundle| bundle.noted) {
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
        Place::Bundle(id) => {
            let parts = Parts { prewrites: vec![start_ts], ..Parts::default() };
            bundles.release(id, parts, batch);
        }
    }
}

/// Deletes a marker wherever it lies.
pub(crate) fn delete_marker(bundles: &mut Bundles, start_ts: StartTs, mark: Mark, batch: &mut Batch<'_>) {
    match mark {
        Mark::Key => batch.delete(Cf::Commit, &commit_key(start_ts)),
        Mark::Bundle(id) => {
            let parts = Parts { commits: vec![start_ts], ..Parts::default() };
            bundles.release(id, parts, batch);
        }
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

    fn database() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), &Setup::small()).unwrap();
        (dir, db)
    }

    fn starts(starts: &[u64]) -> Vec<StartTs> {
        starts.iter().map(|start| StartTs::new(*start)).collect()
    }

    fn prewrites(list: &[u64]) -> Parts {
        Parts { prewrites: starts(list), ..Parts::default() }
    }

    fn commits(list: &[u64]) -> Parts {
        Parts { commits: starts(list), ..Parts::default() }
    }

    #[test]
    fn a_bundle_goes_with_its_last_prewrite_and_takes_its_notes_along() {
        let (_dir, db) = database();
        let mut bundles = Bundles::default();
        let mut batch = db.batch(64);
        let id = bundles.begin();
        (0..4).for_each(|_| bundles.add(id));
        // One that is rolled back in the batch in which it came.
        bundles.release(id, prewrites(&[1]), &mut batch);
        assert!(bundles.end(id, &mut batch));
        batch.put(Cf::Bundle, &bundle_key(id), b"value");
        db.write(batch, Durability::Memory).unwrap();
        assert_eq!(keys(&db), [8, 16]);

        let mut batch = db.batch(64);
        bundles.release(id, prewrites(&[2, 3]), &mut batch);
        db.write(batch, Durability::Memory).unwrap();
        assert_eq!((keys(&db), bundles.len()), (vec![8, 16, 16, 16], 1));

        let mut batch = db.batch(64);
        bundles.release(id, prewrites(&[4]), &mut batch);
        db.write(batch, Durability::Memory).unwrap();
        assert_eq!((keys(&db), bundles.len()), (vec![], 0));
    }

    #[test]
    fn what_is_released_twice_takes_nothing_else_along() {
        let (_dir, db) = database();
        let mut bundles = Bundles::default();
        let mut batch = db.batch(64);
        let id = bundles.begin();
        (0..2).for_each(|_| bundles.add(id));
        assert!(bundles.end(id, &mut batch));
        for _ in 0..2 {
            bundles.release(id, prewrites(&[1, 1]), &mut batch);
        }
        assert_eq!(bundles.len(), 1, "the other one is in use");
        bundles.release(id, prewrites(&[2]), &mut batch);
        bundles.release(id, prewrites(&[2]), &mut batch);
        assert_eq!(bundles.len(), 0);
    }

    #[test]
    fn a_bundle_goes_with_its_last_commit_and_no_commit_needs_a_note() {
        let (_dir, db) = database();
        let mut bundles = Bundles::default();
        let mut batch = db.batch(64);
        let id = bundles.begin();
        // A prewrite and three commits, one of the same transaction.
        (0..4).for_each(|_| bundles.add(id));
        assert!(bundles.end(id, &mut batch));
        batch.put(Cf::Bundle, &bundle_key(id), b"value");
        bundles.release(id, commits(&[3, 1]), &mut batch);
        bundles.release(id, commits(&[1, 3]), &mut batch);
        bundles.release(id, prewrites(&[1]), &mut batch);
        db.write(batch, Durability::Memory).unwrap();
        assert_eq!((keys(&db), bundles.len()), (vec![8, 16], 1));
        let mut batch = db.batch(64);
        bundles.release(id, commits(&[2]), &mut batch);
        db.write(batch, Durability::Memory).unwrap();
        assert_eq!((keys(&db), bundles.len()), (vec![], 0));
    }

    #[test]
    fn a_bundle_of_nothing_is_not_stored_and_no_number_is_used_twice() {
        let (_dir, db) = database();
        let mut bundles = Bundles::default();
        let mut batch = db.batch(64);
        let first = bundles.begin();
        bundles.add(first);
        bundles.release(first, prewrites(&[1]), &mut batch);
        assert!(!bundles.end(first, &mut batch));
        db.write(batch, Durability::Memory).unwrap();
        assert_eq!((keys(&db), bundles.len()), (vec![], 0));
        bundles.not_again(BundleId(7));
        assert_eq!(bundles.begin(), BundleId(8));
        bundles.recover(BundleId(20), 1, Vec::new(), &mut db.batch(64));
        assert_eq!(bundles.begin(), BundleId(21));
    }
}
