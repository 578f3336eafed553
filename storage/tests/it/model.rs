//! A store against a model in memory: writes in any honest order, repeated writes, collections, restarts, crashes.

use std::collections::{BTreeMap, BTreeSet};

use binlog_storage::{Store, Write};
use binlog_types::CommitTs;
use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use crate::support::*;

#[derive(Clone, Debug)]
enum Step {
    /// A transaction begins and is prewritten.
    Prewrite,
    /// One gets its commit_ts; its commit is on the way.
    TakeCommitTs(Index),
    Commit(Index),
    Rollback(Index),
    /// Anything that was sent before is sent again.
    Repeat(Index),
    Fake,
    Offer,
    Gc(Index),
    Flush,
    Reopen,
    Crash,
    /// Another process looks at what a crash would leave.
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<Index>;
    prop_oneof![
        8 => Just(Step::Prewrite),
        8 => at().prop_map(Step::TakeCommitTs),
        8 => at().prop_map(Step::Commit),
        2 => at().prop_map(Step::Rollback),
        3 => at().prop_map(Step::Repeat),
        1 => Just(Step::Fake),
        1 => Just(Step::Offer),
        1 => at().prop_map(Step::Gc),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
        1 => Just(Step::Look),
    ]
}

struct World {
    dir: TempDir,
    store: Store,
    tso: u64,
    undecided: Vec<u64>,
    committing: Vec<(u64, u64)>,
    /// Every record that was acknowledged, by commit_ts.
    records: BTreeMap<u64, Row>,
    rolled_back: BTreeSet<u64>,
    watermark: u64,
}

impl World {
    fn new() -> Self {
        let dir = quick_dir();
        let store = Store::open(dir.path(), unsynced()).unwrap();
        World {
            dir,
            store,
            tso: 10,
            undecided: Vec::new(),
            committing: Vec::new(),
            records: BTreeMap::new(),
            rolled_back: BTreeSet::new(),
            watermark: 0,
        }
    }

    fn next_ts(&mut self) -> u64 {
        self.tso += 1;
        self.tso
    }

    fn play(&mut self, step: &Step) {
        let pick = |at: &Index, of: usize| (of > 0).then(|| at.index(of));
        match step {
            Step::Prewrite => {
                let ts = self.next_ts();
                self.store.write(prewrite(ts)).unwrap();
                self.undecided.push(ts);
            }
            Step::TakeCommitTs(at) => {
                if let Some(at) = pick(at, self.undecided.len()) {
                    let start = self.undecided.remove(at);
                    let commit = self.next_ts();
                    self.committing.push((start, commit));
                }
            }
            Step::Commit(at) => {
                if let Some(at) = pick(at, self.committing.len()) {
                    let (start, at) = self.committing.remove(at);
                    self.store.write(commit(start, at)).unwrap();
                    self.records.insert(at, Row::of(start, at));
                }
            }
            Step::Rollback(at) => {
                if let Some(at) = pick(at, self.undecided.len()) {
                    let start = self.undecided.remove(at);
                    self.store.write(rollback(start)).unwrap();
                    self.rolled_back.insert(start);
                }
            }
            Step::Repeat(at) => {
                if let Some(at) = pick(at, self.undecided.len() + self.records.len()) {
                    if let Some(start) = self.undecided.get(at) {
                        self.store.write(prewrite(*start)).unwrap();
                        return;
                    }
                    let row = self.records.values().nth(at - self.undecided.len()).unwrap().clone();
                    if row.fake {
                        self.store.write(Write::Fake(CommitTs::new(row.commit))).unwrap();
                    } else {
                        // A repeated prewrite that was forgotten stands until its outcome is repeated too.
                        self.store.write(prewrite(row.start)).unwrap();
                        self.store.write(commit(row.start, row.commit)).unwrap();
                    }
                }
            }
            Step::Fake => {
                let ts = self.next_ts();
                self.store.write(Write::Fake(CommitTs::new(ts))).unwrap();
                self.records.insert(ts, Row::fake(ts));
            }
            Step::Offer => {
                let ts = self.next_ts();
                self.store.offer_idle_ts(CommitTs::new(ts));
            }
            Step::Gc(at) => {
                let target = at.index(self.tso as usize) as u64;
                let before = self.store.safe_point().raw();
                let after = self.store.gc(CommitTs::new(target)).unwrap().raw();
                assert!(
                    after >= before && after <= before.max(target) && after <= self.store.watermark().raw()
                );
            }
            Step::Flush => self.store.flush().unwrap(),
            Step::Reopen => {
                barrier(&self.store);
                let before = self.store.watermark();
                self.store.close().unwrap();
                self.store = Store::open(self.dir.path(), unsynced()).unwrap();
                assert!(self.store.watermark() >= before, "a close stores the watermark");
            }
            Step::Crash => {
                let image = crash_image(self.dir.path());
                self.store.close().unwrap();
                self.store = Store::open(image.path(), unsynced()).unwrap();
                self.dir = image;
                // What was shown may be hidden again for a while, never changed: `check` compares it.
                self.watermark = 0;
            }
            Step::Look => {
                barrier(&self.store);
                let image = crash_image(self.dir.path());
                let dead = Store::open_read_only(image.path()).unwrap();
                let seen = rows(&dead);
                let shown: Vec<_> = self.shown(dead.safe_point().raw(), dead.watermark().raw());
                assert_eq!(seen, shown);
                assert_eq!(dead.pending_count(), self.undecided.len() + self.committing.len());
            }
        }
    }

    fn shown(&self, after: u64, through: u64) -> Vec<Row> {
        if through <= after {
            return Vec::new();
        }
        self.records.range(after + 1..=through).map(|(_, row)| row.clone()).collect()
    }

    fn check(&mut self) {
        barrier(&self.store);
        let watermark = self.store.watermark().raw();
        assert!(watermark >= self.watermark, "the watermark fell");
        self.watermark = watermark;
        let on_the_way = self.committing.iter().find(|(_, at)| *at <= watermark);
        assert_eq!(on_the_way, None, "the watermark passed a commit");
        assert_eq!(rows(&self.store), self.shown(self.store.safe_point().raw(), watermark));
        let open: BTreeSet<_> = self.store.unresolved(usize::MAX).iter().map(|u| u.start_ts.raw()).collect();
        let expected: BTreeSet<_> =
            self.undecided.iter().copied().chain(self.committing.iter().map(|(start, _)| *start)).collect();
        assert_eq!(open, expected);
        if open.is_empty() {
            let last = self.records.last_key_value().map_or(0, |(at, _)| *at);
            assert!(watermark >= last, "nothing holds it back");
        }
        assert_eq!(self.store.gaps(), []);
        assert_eq!(self.store.poisoned(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn a_store_does_what_the_model_does(steps in proptest::collection::vec(step(), 20..120)) {
        let mut world = World::new();
        for (n, step) in steps.iter().enumerate() {
            world.play(step);
            if n % 7 == 0 {
                world.check();
            }
        }
        for (start, at) in std::mem::take(&mut world.committing) {
            world.store.write(commit(start, at)).unwrap();
            world.records.insert(at, Row::of(start, at));
        }
        for start in std::mem::take(&mut world.undecided) {
            world.store.write(rollback(start)).unwrap();
        }
        world.check();
    }
}
