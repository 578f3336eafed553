//! A store against a model in memory: writes in any honest order and some dishonest ones, small and in pieces, one by one and by
//! several threads at once; repeated writes, collections, restarts, crashes.

use std::collections::{BTreeMap, BTreeSet};

use std::sync::atomic::{AtomicU64, Ordering};

use binlog_storage::{Error, Store, Write};
use binlog_types::{CommitTs, GapReason};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use crate::support::*;

#[derive(Clone, Debug)]
enum Step {
    /// A transaction begins and is prewritten.
    Prewrite,
    /// Several are prewritten in one batch, some of them rolled back in it.
    Together(u8),
    /// One that was rolled back begins again.
    Again(Index),
    /// One gets its commit_ts; its commit is on the way.
    TakeCommitTs(Index),
    Commit(Index),
    Rollback(Index),
    /// Anything that was sent before is sent again.
    Repeat(Index),
    /// A commit is sent again, alone.
    RepeatCommit(Index),
    /// A commit whose prewrite is not here.
    CommitAlone,
    /// That prewrite comes after all.
    PrewriteAfterAll(Index),
    /// A transaction gets both timestamps before its prewrite is sent, as none should.
    Reserve,
    /// It is sent: too late, if others were faster.
    SendReserved(Index),
    /// Several threads write whole transactions.
    Many,
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
        4 => (2..9_u8).prop_map(Step::Together),
        1 => at().prop_map(Step::Again),
        8 => at().prop_map(Step::TakeCommitTs),
        8 => at().prop_map(Step::Commit),
        2 => at().prop_map(Step::Rollback),
        3 => at().prop_map(Step::Repeat),
        3 => at().prop_map(Step::RepeatCommit),
        1 => Just(Step::CommitAlone),
        1 => at().prop_map(Step::PrewriteAfterAll),
        2 => Just(Step::Reserve),
        2 => at().prop_map(Step::SendReserved),
        1 => Just(Step::Many),
        1 => Just(Step::Fake),
        1 => Just(Step::Offer),
        1 => at().prop_map(Step::Gc),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
        1 => Just(Step::Look),
    ]
}

/// A body of one piece, of several, or so large that it is written piece by piece.
fn body(start: u64) -> Bytes {
    match start % 11 {
        0 => large_payload(start),
        1 | 2 => large_payload(start).slice(..3000),
        _ => payload(start),
    }
}

fn p(start: u64) -> Write {
    prewrite_of(start, body(start))
}

fn row(start: u64, commit: u64) -> Row {
    Row { payload: body(start), ..Row::of(start, commit) }
}

struct World {
    dir: TempDir,
    store: Store,
    tso: u64,
    undecided: Vec<u64>,
    committing: Vec<(u64, u64)>,
    /// Every record that was acknowledged, by commit_ts.
    records: BTreeMap<u64, Row>,
    /// Commits without prewrite: commit_ts and start_ts.
    missing: BTreeMap<u64, u64>,
    /// Commits that came too late and that no collection has passed since.
    late: BTreeSet<u64>,
    reserved: Vec<(u64, u64)>,
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
            missing: BTreeMap::new(),
            late: BTreeSet::new(),
            reserved: Vec::new(),
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
                self.store.write(p(ts)).unwrap();
                self.undecided.push(ts);
            }
            Step::Together(count) => {
                let mut writes = Vec::new();
                for n in 0..*count {
                    let ts = self.next_ts();
                    writes.push(p(ts));
                    if n % 3 == 2 {
                        writes.push(rollback(ts));
                        self.rolled_back.insert(ts);
                    } else {
                        self.undecided.push(ts);
                    }
                }
                write_together(&self.store, writes).unwrap();
            }
            Step::Again(at) => {
                if let Some(at) = pick(at, self.rolled_back.len()) {
                    let start = *self.rolled_back.iter().nth(at).unwrap();
                    self.rolled_back.remove(&start);
                    self.store.write(p(start)).unwrap();
                    self.undecided.push(start);
                }
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
                    self.records.insert(at, row(start, at));
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
                        self.store.write(p(*start)).unwrap();
                        return;
                    }
                    let row = self.records.values().nth(at - self.undecided.len()).unwrap().clone();
                    if row.fake {
                        self.store.write(Write::Fake(CommitTs::new(row.commit))).unwrap();
                    } else {
                        // A repeated prewrite that was forgotten stands until its outcome is repeated too.
                        let known = self.late.contains(&row.commit);
                        let again = self.store.write(p(row.start));
                        assert_eq!(matches!(again, Err(Error::Late { .. })), known, "{again:?}");
                        self.commit_again(&row);
                    }
                }
            }
            Step::RepeatCommit(at) => {
                if let Some(at) = pick(at, self.records.len()) {
                    let row = self.records.values().nth(at).unwrap().clone();
                    if !row.fake {
                        let known = self.late.contains(&row.commit);
                        self.commit_again(&row);
                        assert_eq!(
                            self.late.contains(&row.commit),
                            known,
                            "a repetition without prewrite is one"
                        );
                    }
                }
            }
            Step::CommitAlone => {
                let (start, at) = (self.next_ts(), self.next_ts());
                self.store.write(commit(start, at)).unwrap();
                self.missing.insert(at, start);
            }
            Step::PrewriteAfterAll(at) => {
                barrier(&self.store);
                let (safe_point, watermark) = (self.store.safe_point().raw(), self.store.watermark().raw());
                let known: Vec<_> =
                    self.missing.range(safe_point + 1..).map(|(at, start)| (*at, *start)).collect();
                if let Some(at) = pick(at, known.len()) {
                    let (at, start) = known[at];
                    let answer = self.store.write(p(start));
                    if at <= watermark {
                        assert!(matches!(answer, Err(Error::Late { .. })), "{answer:?}");
                    } else {
                        answer.unwrap();
                        self.missing.remove(&at);
                        self.records.insert(at, row(start, at));
                    }
                }
            }
            Step::Reserve => {
                let (start, at) = (self.next_ts(), self.next_ts());
                self.reserved.push((start, at));
            }
            Step::SendReserved(at) => {
                if let Some(at) = pick(at, self.reserved.len()) {
                    let (start, at) = self.reserved.remove(at);
                    barrier(&self.store);
                    let late = at <= self.store.watermark().raw();
                    self.store.write(p(start)).unwrap();
                    let answer = self.store.write(commit(start, at));
                    if late {
                        assert!(matches!(answer, Err(Error::Late { .. })), "{answer:?}");
                        self.late.insert(at);
                    } else {
                        answer.unwrap();
                        self.records.insert(at, row(start, at));
                    }
                }
            }
            Step::Many => {
                let (store, tso) = (&self.store, AtomicU64::new(self.tso));
                let next = || tso.fetch_add(1, Ordering::SeqCst) + 1;
                let write = || {
                    (0..5).map(|_| {
                        let start = next();
                        store.write(p(start)).unwrap();
                        let at = next();
                        store.write(commit(start, at)).unwrap();
                        (at, row(start, at))
                    })
                };
                let written = std::thread::scope(|threads| {
                    let writers: Vec<_> =
                        (0..4).map(|_| threads.spawn(|| write().collect::<Vec<_>>())).collect();
                    writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
                });
                self.tso = tso.into_inner();
                self.records.extend(written);
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
                if after > before {
                    self.late.retain(|at| *at > after);
                }
            }
            Step::Flush => self.store.flush().unwrap(),
            Step::Reopen => {
                barrier(&self.store);
                let before = self.store.watermark();
                self.store.close().unwrap();
                self.store = Store::open(self.dir.path(), unsynced()).unwrap();
                assert!(self.store.watermark() >= before, "a close stores the watermark");
                self.forget_late();
            }
            Step::Crash => {
                let image = crash_image(self.dir.path());
                self.store.close().unwrap();
                self.store = Store::open(image.path(), unsynced()).unwrap();
                self.dir = image;
                // What was shown may be hidden again for a while, never changed: `check` compares it.
                self.watermark = 0;
                self.forget_late();
            }
            Step::Look => {
                barrier(&self.store);
                let image = crash_image(self.dir.path());
                let dead = Store::open_read_only(image.path()).unwrap();
                let seen = rows(&dead);
                let shown: Vec<_> = self.shown(dead.safe_point().raw(), dead.watermark().raw());
                assert_eq!(seen, shown);
                assert_eq!(dead.pending_count(), self.undecided.len() + self.committing.len());
                let late = self.late.range(dead.safe_point().raw() + 1..).copied().collect();
                assert_eq!(holes(&dead), self.missing_in(&dead, &late));
                assert_eq!(dead.verify().unwrap().damage, []);
            }
        }
    }

    /// The commit of a record, again: too late where the record is purged and its prewrite came again too.
    fn commit_again(&mut self, row: &Row) {
        match self.store.write(commit(row.start, row.commit)) {
            Ok(()) => {}
            Err(Error::Late { .. }) if row.commit <= self.store.safe_point().raw() => {
                self.late.insert(row.commit);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A restart deletes what a collection had passed.
    fn forget_late(&mut self) {
        let safe_point = self.store.safe_point().raw();
        self.late.retain(|at| *at > safe_point);
    }

    /// Where something must be missing.
    fn missing_in(&self, store: &Store, late: &BTreeSet<u64>) -> BTreeMap<u64, GapReason> {
        let (safe_point, watermark) = (store.safe_point().raw(), store.watermark().raw());
        let missing = self.missing.range(safe_point + 1..).filter(|(at, _)| **at <= watermark);
        let missing = missing.map(|(at, _)| (*at, GapReason::MissingPrewrite));
        missing.chain(late.iter().map(|at| (*at, GapReason::LateCommit))).collect()
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
            let last = self.missing.last_key_value().map_or(last, |(at, _)| last.max(*at));
            assert!(watermark >= last, "nothing holds it back");
        }
        assert_eq!(holes(&self.store), self.missing_in(&self.store, &self.late));
        assert_eq!(self.store.poisoned(), None);
    }
}

/// Every commit_ts at which something is missing.
fn holes(store: &Store) -> BTreeMap<u64, GapReason> {
    let gaps = store.gaps();
    let points = gaps
        .iter()
        .flat_map(|gap| (gap.range.after.raw() + 1..=gap.range.through.raw()).map(|at| (at, gap.reason)));
    points.collect()
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
            world.records.insert(at, row(start, at));
        }
        for start in std::mem::take(&mut world.undecided) {
            world.store.write(rollback(start)).unwrap();
        }
        world.check();
    }
}
