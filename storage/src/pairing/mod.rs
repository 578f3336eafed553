//! Joins P and C by start_ts, and computes the watermark W. No I/O, no clock: the writer feeds it and does what it says.
//!
//! # Why W is right
//!
//! TiDB takes a commit_ts from the oracle only after its P was acknowledged. So when C(c) arrives, every transaction
//! with a smaller commit_ts has already had its P acknowledged: that P is among those that arrived before C(c). Once all
//! of *those* are settled (committed, rolled back or resolved), nothing at or below c can come any more.
//!
//! Each P takes a number in order of arrival; each C becomes a *candidate* `(number of the next P, c)`. A candidate holds
//! once no undecided P has a smaller number, and W is the largest c whose candidate holds. A candidate below an earlier one
//! can never decide anything and is not kept, so the queue ascends in both parts. An oracle's timestamp T that was
//! fetched before it is offered is a candidate like any C.
//!
//! **Invariant:** W never falls, and no commit is accepted at or below it: one that claims such a place is kept as a gap
//! and refused as [`Error::Late`]. So what lies at or below W never changes any more.
//!
//! The state runs ahead of the disk by one batch: the writer admits writes, syncs the batch, and only then asks
//! [`Pairing::advance`]. If the sync fails the store is poisoned and nobody asks any more.

mod steps;
mod view;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use binlog_types::{CommitTs, Range, SchemaVersion, StartTs};
use bytes::Bytes;

pub(crate) use self::steps::{
    Advance, BelowStep, CommitStep, Forgotten, LoseStep, PrewriteStep, RollbackStep,
};
use crate::Error;
use crate::bundles::{Mark, Place};

/// What is known about a prewrite's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) schema_version: SchemaVersion,
    pub(crate) ddl: bool,
    /// Where it lies.
    pub(crate) place: Place,
    /// Its length.
    pub(crate) bytes: u64,
    /// CRC-32 of the first piece.
    pub(crate) check: u32,
    /// The payload itself, if it has one piece and there was room: else it is read back.
    pub(crate) held: Option<Bytes>,
}

impl Body {
    fn same_as(&self, other: &Body) -> bool {
        let said =
            |body: &Body| (body.schema_version, body.ddl, body.place.fragments(), body.bytes, body.check);
        said(self) == said(other)
    }
}

/// A record that has its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// P and C.
    Joined(Body),
    /// C alone.
    Missing,
    /// A filler.
    Fake,
}

/// A record on its way into `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) commit_ts: CommitTs,
    pub(crate) start_ts: StartTs,
    pub(crate) extra: Bytes,
    pub(crate) mark: Mark,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
struct Pending {
    number: u64,
    key: Bytes,
    arrived: Duration,
    body: Body,
}

#[derive(Debug)]
struct Waiting {
    start_ts: StartTs,
    extra: Bytes,
    mark: Mark,
    outcome: Outcome,
}

/// A commit that W passed without its prewrite, or that came too late.
#[derive(Debug)]
struct Orphan {
    start_ts: StartTs,
    extra: Bytes,
    late: bool,
    /// Where a prewrite lies that stays with a late commit.
    place: Place,
}

/// A prewrite of which nobody can tell whether it committed.
#[derive(Debug)]
struct Lost {
    /// Where it did, if it did.
    range: Range,
    body: Body,
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Pairing {
    watermark: CommitTs,
    /// The largest candidate that holds.
    target: CommitTs,
    max_commit: CommitTs,
    next_number: u64,
    pending: HashMap<StartTs, Pending>,
    /// Numbers in order; those no longer pending under that number are skipped.
    arrivals: VecDeque<(u64, StartTs)>,
    candidates: VecDeque<(u64, CommitTs)>,
    waiting: BTreeMap<CommitTs, Waiting>,
    /// Where those that wait have committed.
    waiting_starts: HashMap<StartTs, CommitTs>,
    /// Transactions that W passed since the last two rotations: what recognises duplicates.
    decided: HashMap<StartTs, CommitTs>,
    decided_before: HashMap<StartTs, CommitTs>,
    /// No transaction that began later was ever decided: it need not be looked for.
    newest_start: StartTs,
    orphans: BTreeMap<CommitTs, Orphan>,
    orphan_starts: HashMap<StartTs, CommitTs>,
    lost: BTreeMap<StartTs, Lost>,
    /// Prewrites with smaller numbers were found by a restart.
    recovered_below: u64,
    held: usize,
    held_limit: usize,
}

impl Pairing {
    /// A state in which everything at or below `watermark` is known to be complete.
    pub(crate) fn new(watermark: CommitTs, held_limit: usize) -> Self {
        Pairing {
            watermark,
            target: watermark,
            max_commit: watermark,
            next_number: 0,
            pending: HashMap::new(),
            arrivals: VecDeque::new(),
            candidates: VecDeque::new(),
            waiting: BTreeMap::new(),
            waiting_starts: HashMap::new(),
            decided: HashMap::new(),
            decided_before: HashMap::new(),
            newest_start: StartTs::ZERO,
            orphans: BTreeMap::new(),
            orphan_starts: HashMap::new(),
            lost: BTreeMap::new(),
            recovered_below: 0,
            held: 0,
            held_limit,
        }
    }

    /// A prewrite arrives.
    pub(crate) fn prewrite(
        &mut self,
        start_ts: StartTs,
        key: Bytes,
        mut body: Body,
        now: Duration,
    ) -> Result<PrewriteStep, Error> {
        let differs =
            || Error::Conflict { start_ts, what: "its prewrite came before with another body".to_owned() };
        if let Some(known) = self.pending.get(&start_ts) {
            return if known.body.same_as(&body) { Ok(PrewriteStep::Duplicate) } else { Err(differs()) };
        }
        if let Some(known) = self.lost.get(&start_ts) {
            return if known.body.same_as(&body) { Ok(PrewriteStep::Duplicate) } else { Err(differs()) };
        }
        if let Some(commit_ts) = self.commit_of(start_ts) {
            let Some(waiting) = self.waiting.get_mut(&commit_ts) else {
                // In `log` already: a request that was repeated and overtaken.
                return Ok(PrewriteStep::Duplicate);
            };
            return match &waiting.outcome {
                Outcome::Joined(known) if known.same_as(&body) => Ok(PrewriteStep::Duplicate),
                Outcome::Joined(_) => Err(differs()),
                Outcome::Fake => Err(Error::Conflict {
                    start_ts,
                    what: "a filler already stands at this timestamp".to_owned(),
                }),
                Outcome::Missing => {
                    hold(&mut body, &mut self.held, self.held_limit);
                    waiting.outcome = Outcome::Joined(body);
                    Ok(PrewriteStep::Store)
                }
            };
        }
        if let Some(commit_ts) = self.orphan_starts.get(&start_ts) {
            return Err(Error::Late { start_ts, commit_ts: *commit_ts, watermark: self.watermark });
        }
        hold(&mut body, &mut self.held, self.held_limit);
        self.arrivals.push_back((self.next_number, start_ts));
        self.pending.insert(start_ts, Pending { number: self.next_number, key, arrived: now, body });
        self.next_number += 1;
        Ok(PrewriteStep::Store)
    }

    /// A commit arrives; `commit_ts > start_ts`. Its marker is to lie at `mark`.
    pub(crate) fn commit(
        &mut self,
        start_ts: StartTs,
        commit_ts: CommitTs,
        extra: Bytes,
        mark: Mark,
    ) -> Result<CommitStep, Error> {
        // What is pending has no outcome, and needs no look into tables that are large.
        if !self.pending.contains_key(&start_ts)
            && let Some(answer) = self.commit_again(start_ts, commit_ts)
        {
            return answer;
        }
        self.check_free(start_ts, commit_ts)?;
        if commit_ts <= self.watermark {
            return Ok(CommitStep::AskLog);
        }
        let known = self.take_pending(start_ts).map(|pending| pending.body);
        // It is learned after all, and no reader has passed its place.
        let found = self.lost.remove(&start_ts).map(|lost| lost.body);
        let lost = found.is_some();
        let outcome = known.or(found).map_or(Outcome::Missing, Outcome::Joined);
        self.decide(Ready { commit_ts, start_ts, extra, mark, outcome });
        Ok(CommitStep::Store { lost })
    }

    /// A commit of which something is known.
    fn commit_again(&self, start_ts: StartTs, commit_ts: CommitTs) -> Option<Result<CommitStep, Error>> {
        let orphan = || self.orphan_starts.get(&start_ts).copied();
        let known = self.commit_of(start_ts).or_else(orphan)?;
        if known != commit_ts {
            let what = format!("it has committed at {known}, now also at {commit_ts}");
            return Some(Err(Error::Conflict { start_ts, what }));
        }
        let late = self.orphans.get(&known).is_some_and(|orphan| orphan.start_ts == start_ts && orphan.late);
        Some(if late {
            Err(Error::Late { start_ts, commit_ts, watermark: self.watermark })
        } else {
            Ok(CommitStep::Duplicate)
        })
    }

    /// The answer to [`CommitStep::AskLog`]: whether `log` has the record, or had it before it was purged.
    pub(crate) fn commit_below(
        &mut self,
        start_ts: StartTs,
        commit_ts: CommitTs,
        extra: &Bytes,
        known: bool,
    ) -> BelowStep {
        let pending = self.take_pending(start_ts);
        if let Some(Pending { body, .. }) = &pending {
            self.release(body);
        }
        let place = pending.map(|pending| pending.body.place);
        if known {
            return BelowStep::Known { forget: place };
        }
        let place = place.or_else(|| self.lost.remove(&start_ts).map(|lost| lost.body.place));
        self.recover_late(start_ts, commit_ts, extra.clone(), place.unwrap_or(Place::NONE));
        BelowStep::Late
    }

    /// A filler arrives.
    pub(crate) fn fake(&mut self, ts: CommitTs) -> Result<CommitStep, Error> {
        let start_ts = StartTs::from(ts.ts());
        if ts <= self.watermark || self.commit_of(start_ts) == Some(ts) {
            // It only says that nothing below it is to come, which is known.
            return Ok(CommitStep::Duplicate);
        }
        if self.knows(start_ts) {
            return Err(Error::Conflict { start_ts, what: "a filler came with its start_ts".to_owned() });
        }
        self.check_free(start_ts, ts)?;
        let (extra, mark, outcome) = (Bytes::new(), Mark::Key, Outcome::Fake);
        self.decide(Ready { commit_ts: ts, start_ts, extra, mark, outcome });
        Ok(CommitStep::Store { lost: false })
    }

    /// A rollback arrives.
    pub(crate) fn rollback(&mut self, start_ts: StartTs) -> Result<RollbackStep, Error> {
        if let Some(pending) = self.take_pending(start_ts) {
            self.release(&pending.body);
            return Ok(RollbackStep::Delete(pending.body.place));
        }
        if let Some(lost) = self.lost.remove(&start_ts) {
            return Ok(RollbackStep::Find(lost.body.place));
        }
        match self.commit_of(start_ts).or_else(|| self.orphan_starts.get(&start_ts).copied()) {
            Some(commit_ts) => Err(Error::Conflict {
                start_ts,
                what: format!("it has committed at {commit_ts}, now a rollback came"),
            }),
            None => Ok(RollbackStep::Unknown),
        }
    }

    /// Nobody can tell any more what became of a prewrite; if it committed, then at or below `through`. The watermark does not wait for it any longer.
    pub(crate) fn lose(&mut self, start_ts: StartTs, through: CommitTs) -> LoseStep {
        let Some(Pending { mut body, .. }) = self.take_pending(start_ts) else { return LoseStep::Unknown };
        self.release(&body);
        body.held = None;
        // An undecided prewrite commits above the watermark, or never.
        let range = Range { after: CommitTs::from(start_ts.ts()).max(self.watermark), through };
        if range.through <= range.after {
            return LoseStep::Delete(body.place);
        }
        self.lost.insert(start_ts, Lost { range, body });
        LoseStep::Store(range)
    }

    /// A timestamp is offered that the oracle gave out before this call.
    pub(crate) fn offer(&mut self, ts: CommitTs) {
        let last = self.candidates.back().map_or(self.target, |(_, last)| *last);
        if ts <= last {
            return;
        }
        self.candidates.push_back((self.next_number, ts));
        if self.candidates.len() > MAX_CANDIDATES {
            // Fewer candidates let W only lag: every other one will do, the last one always.
            let mut keep = self.candidates.len().is_multiple_of(2);
            self.candidates.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Puts a record back that a restart found: its marker is there, wherever W stands.
    pub(crate) fn recover(&mut self, ready: Ready) {
        self.decide(ready);
    }

    /// Puts a prewrite with a lost outcome back that a restart found.
    pub(crate) fn recover_lost(&mut self, start_ts: StartTs, range: Range, body: Body) {
        self.lost.insert(start_ts, Lost { range, body });
    }

    /// All prewrites so far were found by a restart: when they came is not known.
    pub(crate) fn prewrites_are_recovered(&mut self) {
        self.recovered_below = self.next_number;
    }

    /// Puts a late commit back that a restart found.
    pub(crate) fn recover_late(
        &mut self,
        start_ts: StartTs,
        commit_ts: CommitTs,
        extra: Bytes,
        place: Place,
    ) {
        self.insert_orphan(commit_ts, Orphan { start_ts, extra, late: true, place });
    }

    /// The next step of W, with about `max_bytes` of records, if there is one. To be called over synced data only, and
    /// again until it says `None`.
    pub(crate) fn advance(&mut self, max_bytes: u64) -> Option<Advance> {
        let oldest = self.oldest_number();
        while let Some((number, ts)) = self.candidates.front() {
            if *number > oldest {
                break;
            }
            self.target = *ts;
            self.candidates.pop_front();
        }
        let mut ready = Vec::new();
        let mut bytes = 0;
        let mut reached = self.target;
        while let Some(first) = self.waiting.first_entry() {
            if *first.key() > self.target {
                break;
            }
            if bytes >= max_bytes {
                reached = ready.last().map_or(self.watermark, |last: &Ready| last.commit_ts);
                break;
            }
            let (commit_ts, waiting) = first.remove_entry();
            self.waiting_starts.remove(&waiting.start_ts);
            match &waiting.outcome {
                Outcome::Joined(body) => {
                    bytes += body.bytes + RECORD_OVERHEAD;
                    self.held -= body.held.as_ref().map_or(0, Bytes::len);
                    self.decided.insert(waiting.start_ts, commit_ts);
                }
                Outcome::Missing => {
                    bytes += RECORD_OVERHEAD;
                    let (start_ts, extra) = (waiting.start_ts, waiting.extra.clone());
                    let orphan = Orphan { start_ts, extra, late: false, place: Place::NONE };
                    self.insert_orphan(commit_ts, orphan);
                }
                Outcome::Fake => {
                    bytes += RECORD_OVERHEAD;
                    self.decided.insert(waiting.start_ts, commit_ts);
                }
            }
            let Waiting { start_ts, extra, mark, outcome } = waiting;
            ready.push(Ready { commit_ts, start_ts, extra, mark, outcome });
        }
        let moved = reached > self.watermark;
        self.watermark = self.watermark.max(reached);
        (moved || !ready.is_empty()).then_some(Advance { watermark: self.watermark, ready })
    }

    /// What [`Pairing::advance`] took for a gap is in `log` all the same: its commit came again after a restart.
    pub(crate) fn not_missing(&mut self, start_ts: StartTs, commit_ts: CommitTs) {
        self.orphans.remove(&commit_ts);
        self.orphan_starts.remove(&start_ts);
        self.decided.insert(start_ts, commit_ts);
    }

    /// Forgets transactions that W passed before the last call: they are flushed.
    pub(crate) fn rotate(&mut self) {
        self.decided_before = std::mem::take(&mut self.decided);
    }

    /// Forgets gaps at or below the safe point and says what to delete.
    pub(crate) fn orphans_through(&mut self, safe_point: CommitTs) -> Vec<Forgotten> {
        let mut forgotten = Vec::new();
        while let Some(first) = self.orphans.first_entry() {
            if *first.key() > safe_point {
                break;
            }
            let orphan = first.remove();
            self.orphan_starts.remove(&orphan.start_ts);
            forgotten.push(Forgotten { start_ts: orphan.start_ts, place: orphan.place });
        }
        self.lost.retain(|start_ts, lost| {
            let kept = lost.range.through > safe_point;
            if !kept {
                forgotten.push(Forgotten { start_ts: *start_ts, place: lost.body.place });
            }
            kept
        });
        forgotten
    }

    /// Takes the watermark back, in a store that is only read: above it, something may be missing.
    pub(crate) fn stop_at(&mut self, reach: CommitTs) {
        self.watermark = self.watermark.min(reach);
    }

    fn commit_of(&self, start_ts: StartTs) -> Option<CommitTs> {
        if start_ts > self.newest_start {
            return None;
        }
        let known = [&self.waiting_starts, &self.decided, &self.decided_before];
        known.into_iter().find_map(|known| known.get(&start_ts)).copied()
    }

    /// One commit_ts belongs to one transaction.
    fn check_free(&self, start_ts: StartTs, commit_ts: CommitTs) -> Result<(), Error> {
        let other = self
            .waiting
            .get(&commit_ts)
            .map(|waiting| waiting.start_ts)
            .or_else(|| self.orphans.get(&commit_ts).map(|orphan| orphan.start_ts));
        match other {
            Some(other) if other != start_ts => Err(Error::Conflict {
                start_ts,
                what: format!("its commit_ts {commit_ts} already belongs to transaction {other}"),
            }),
            _ => Ok(()),
        }
    }

    fn decide(&mut self, ready: Ready) {
        let Ready { commit_ts, start_ts, extra, mark, outcome } = ready;
        self.max_commit = self.max_commit.max(commit_ts);
        self.newest_start = self.newest_start.max(start_ts);
        self.waiting_starts.insert(start_ts, commit_ts);
        self.waiting.insert(commit_ts, Waiting { start_ts, extra, mark, outcome });
        self.offer(commit_ts);
    }

    fn insert_orphan(&mut self, commit_ts: CommitTs, orphan: Orphan) {
        self.orphan_starts.insert(orphan.start_ts, commit_ts);
        self.orphans.insert(commit_ts, orphan);
    }

    fn take_pending(&mut self, start_ts: StartTs) -> Option<Pending> {
        let pending = self.pending.remove(&start_ts)?;
        // One long transaction in front must not keep the numbers of all that came after it.
        if self.arrivals.len() > 2 * self.pending.len() + 1024 {
            let pending = &self.pending;
            self.arrivals.retain(|(number, start)| pending.get(start).is_some_and(|p| p.number == *number));
        }
        Some(pending)
    }

    fn release(&mut self, body: &Body) {
        self.held -= body.held.as_ref().map_or(0, Bytes::len);
    }

    /// The number of the oldest undecided prewrite.
    fn oldest_number(&mut self) -> u64 {
        while let Some((number, start_ts)) = self.arrivals.front() {
            if self.pending.get(start_ts).is_some_and(|pending| pending.number == *number) {
                return *number;
            }
            self.arrivals.pop_front();
        }
        u64::MAX
    }
}

/// Candidates that are kept while W is stuck.
const MAX_CANDIDATES: usize = 64 << 10;

/// What a record costs beside its payload, roughly.
const RECORD_OVERHEAD: u64 = 64;

/// Keeps the payload if there is room.
fn hold(body: &mut Body, held: &mut usize, limit: usize) {
    let length = body.held.as_ref().map_or(0, Bytes::len);
    if *held + length > limit {
        body.held = None;
    } else {
        *held += length;
    }
}

#[cfg(test)]
mod tests;
