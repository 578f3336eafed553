//! K-way merge by commit_ts, sans I/O.
//!
//! Every member says up to where it is complete; the merge hands out what lies at or below the lowest of these.
//! **Invariant:** what comes out rises strictly in commit_ts, and nothing that a member sent is dropped but true duplicates.

use std::collections::{BTreeMap, VecDeque};

use binlog_types::{CommitTs, NodeId};

use crate::record::Held;
use crate::spool::same;
use crate::{Batch, Error};

#[derive(Debug)]
pub(crate) struct Merge {
    members: BTreeMap<NodeId, Lane>,
    /// Handed out through here.
    emitted: CommitTs,
    /// Inclusive end; None: no end.
    through: Option<CommitTs>,
    ended: bool,
}

#[derive(Debug)]
struct Lane {
    queue: VecDeque<Held>,
    complete: CommitTs,
    /// False: it left and holds nothing back, but what it sent is still to be handed out.
    live: bool,
}

impl Merge {
    pub(crate) fn new(after: CommitTs, through: Option<CommitTs>) -> Self {
        Merge { members: BTreeMap::new(), emitted: after, through, ended: false }
    }

    /// Adds a member; from now on nothing is handed out past what it is complete through. Returns the position after which it is to be
    /// read: what was handed out for a new member, its own for one that comes back.
    pub(crate) fn join(&mut self, id: &NodeId) -> CommitTs {
        let emitted = self.emitted;
        let lane = self.members.entry(id.clone()).or_insert_with(|| Lane {
            queue: VecDeque::new(),
            complete: emitted,
            live: true,
        });
        lane.live = true;
        lane.complete
    }

    /// Takes a member out. What it sent already is still handed out in its place; where it stopped is remembered in case it comes back.
    pub(crate) fn leave(&mut self, id: &NodeId) {
        if let Some(lane) = self.members.get_mut(id) {
            lane.live = false;
        }
    }

    /// Takes what a member sent, in order, and how far it is complete with it.
    ///
    /// # Errors
    /// [`Error::Late`] for a record whose place has passed, [`Error::Corrupt`] for one out of order.
    pub(crate) fn feed(
        &mut self,
        id: &NodeId,
        held: impl IntoIterator<Item = Held>,
        complete: CommitTs,
    ) -> Result<(), Error> {
        let Some(lane) = self.members.get_mut(id) else { return Ok(()) };
        for held in held {
            let commit_ts = held.record.commit_ts;
            if commit_ts <= self.emitted {
                return Err(Error::Late { pump: id.clone(), commit_ts, emitted: self.emitted });
            }
            if commit_ts <= lane.complete {
                let what = format!("commit_ts {commit_ts} came after {} was complete", lane.complete);
                return Err(Error::Corrupt { pump: id.clone(), after: lane.complete, what });
            }
            lane.complete = commit_ts;
            lane.queue.push_back(held);
        }
        lane.complete = lane.complete.max(complete);
        Ok(())
    }

    /// The next batch of about `max_bytes`; None where nothing can be said yet.
    ///
    /// # Errors
    /// [`Error::Conflict`] where two records claim one place.
    pub(crate) fn pop(&mut self, max_bytes: usize) -> Result<Option<Batch>, Error> {
        let Some(bound) = self.bound() else { return Ok(None) };
        if self.ended || bound < self.emitted {
            return Ok(None);
        }
        let before = self.emitted;
        let mut batch = Batch::default();
        let mut bytes = 0;
        let mut cut = false;
        while let Some(first) = self.lowest(bound) {
            if bytes >= max_bytes {
                cut = true;
                break;
            }
            let held = self.take(&first)?;
            bytes += held.permit.bytes().max(held.record.cost());
            self.emitted = held.record.commit_ts;
            batch.large.extend(held.large.map(|large| (batch.records.len(), large)));
            batch.records.push(held.record);
            batch.permits.push(held.permit);
        }
        if !cut {
            self.emitted = self.emitted.max(bound);
            self.ended = self.through.is_some_and(|through| bound >= through);
        }
        batch.complete_through = self.emitted;
        batch.end = self.ended;
        Ok((batch.end || self.emitted > before).then_some(batch))
    }

    /// How far the stream was handed out.
    #[cfg(test)]
    pub(crate) fn emitted(&self) -> CommitTs {
        self.emitted
    }

    /// What all live members are complete through; None without members.
    fn bound(&self) -> Option<CommitTs> {
        let lowest = self.members.values().filter(|lane| lane.live).map(|lane| lane.complete).min()?;
        Some(self.through.map_or(lowest, |through| lowest.min(through)))
    }

    /// Whose head is next, among those at or below `bound`.
    fn lowest(&self, bound: CommitTs) -> Option<NodeId> {
        self.members
            .iter()
            .filter_map(|(id, lane)| lane.queue.front().map(|held| (held.record.commit_ts, id)))
            .filter(|(commit_ts, _)| *commit_ts <= bound)
            .min()
            .map(|(_, id)| id.clone())
    }

    /// Takes the head of `first`, and its duplicates off the other queues.
    fn take(&mut self, first: &NodeId) -> Result<Held, Error> {
        let head = self.members.get_mut(first).and_then(|lane| lane.queue.pop_front());
        let held = head.expect("`lowest` names a member with a head");
        let record = &held.record;
        for (second, lane) in &mut self.members {
            let Some(twin) = lane.queue.front() else { continue };
            let other = &twin.record;
            if other.commit_ts != record.commit_ts {
                continue;
            }
            let conflict = |what: String| Error::Conflict {
                first: first.clone(),
                second: second.clone(),
                commit_ts: record.commit_ts,
                what,
            };
            if other.start_ts != record.start_ts {
                return Err(conflict(format!("start_ts {} and {}", record.start_ts, other.start_ts)));
            }
            let same = same((&record.payload, held.large.as_ref()), (&other.payload, twin.large.as_ref()));
            if !same.map_err(Error::aside)? {
                return Err(conflict(format!("two payloads for start_ts {}", record.start_ts)));
            }
            lane.queue.pop_front();
        }
        Ok(held)
    }
}

#[cfg(test)]
mod tests;
