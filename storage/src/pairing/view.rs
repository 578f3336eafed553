//! What the pairing state knows.

use std::time::Duration;

use binlog_types::{CommitTs, Gap, GapReason, Range, StartTs};
use bytes::Bytes;

use super::{Outcome, Pairing};
use crate::Unresolved;
use crate::bundles::Place;

impl Pairing {
    pub(crate) fn watermark(&self) -> CommitTs {
        self.watermark
    }

    /// The largest commit_ts seen, or W.
    pub(crate) fn max_commit(&self) -> CommitTs {
        self.max_commit.max(self.watermark)
    }

    /// The largest timestamp seen: of a commit, or offered.
    pub(crate) fn newest(&self) -> CommitTs {
        self.candidates.back().map_or(self.target, |(_, ts)| *ts).max(self.max_commit())
    }

    pub(crate) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a transaction has a prewrite and no outcome.
    pub(crate) fn is_undecided(&self, start_ts: StartTs) -> bool {
        self.pending.contains_key(&start_ts)
    }

    /// Whether anything came of a transaction.
    pub(crate) fn knows(&self, start_ts: StartTs) -> bool {
        self.pending.contains_key(&start_ts)
            || self.commit_of(start_ts).is_some()
            || self.orphan_starts.contains_key(&start_ts)
            || self.lost.contains_key(&start_ts)
    }

    /// Where the prewrite of a transaction lies.
    pub(crate) fn place_of(&self, start_ts: StartTs) -> Option<Place> {
        let waiting = || match &self.waiting.get(self.waiting_starts.get(&start_ts)?)?.outcome {
            Outcome::Joined(body) => Some(body.place),
            Outcome::Missing | Outcome::Fake => None,
        };
        let orphan = || Some(self.orphans.get(self.orphan_starts.get(&start_ts)?)?.place);
        let pending = self.pending.get(&start_ts).map(|pending| pending.body.place);
        let lost = || self.lost.get(&start_ts).map(|lost| lost.body.place);
        pending.or_else(waiting).or_else(orphan).or_else(lost)
    }

    /// Where a transaction has committed, and what its commit added as long as `log` does not have it.
    pub(crate) fn committed(&self, start_ts: StartTs) -> Option<(CommitTs, Bytes)> {
        if let Some(commit_ts) = self.orphan_starts.get(&start_ts) {
            return Some((*commit_ts, self.orphan_at(*commit_ts)?.1));
        }
        let commit_ts = self.commit_of(start_ts)?;
        let waiting = self.waiting.get(&commit_ts).filter(|waiting| waiting.start_ts == start_ts);
        Some((commit_ts, waiting.map_or_else(Bytes::new, |waiting| waiting.extra.clone())))
    }

    /// Transactions that are not below the watermark.
    pub(crate) fn open_count(&self) -> usize {
        self.pending.len() + self.waiting.len()
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held
    }

    /// Undecided prewrites, oldest first.
    pub(crate) fn unresolved(&self, limit: usize, now: Duration) -> Vec<Unresolved> {
        self.arrivals
            .iter()
            .filter_map(|(number, start_ts)| {
                let pending = self.pending.get(start_ts).filter(|pending| pending.number == *number)?;
                let age = now.saturating_sub(pending.arrived);
                let recovered = *number < self.recovered_below;
                Some(Unresolved { start_ts: *start_ts, key: pending.key.clone(), age, recovered })
            })
            .take(limit)
            .collect()
    }

    /// The start_ts of the prewrite that began first, of those that may still become a record.
    pub(crate) fn oldest_undecided(&self) -> Option<StartTs> {
        self.pending.keys().chain(self.lost.keys().next()).min().copied()
    }

    /// How many transactions are without their records.
    pub(crate) fn gap_count(&self) -> usize {
        self.orphans.len() + self.lost.len()
    }

    /// Places where something is missing, or may be, in order; neighbours are one.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        let orphans = self.orphans.iter().map(|(commit_ts, orphan)| {
            let range = Range { after: CommitTs::from(commit_ts.ts().prev()), through: *commit_ts };
            let reason = if orphan.late { GapReason::LateCommit } else { GapReason::MissingPrewrite };
            Gap { range, reason }
        });
        let lost = self.lost.values().map(|lost| Gap { range: lost.range, reason: GapReason::LostOutcome });
        let mut gaps: Vec<Gap> = orphans.chain(lost).collect();
        // In order already, but for the lost ones.
        gaps.sort_by_key(|gap| gap.range.after);
        gaps.dedup_by(|next, last| {
            let joined = next.reason == last.reason && next.range.after == last.range.through;
            if joined {
                last.range.through = next.range.through;
            }
            joined
        });
        gaps
    }

    /// The transaction whose commit left a gap at `commit_ts`, and what that commit added.
    pub(crate) fn orphan_at(&self, commit_ts: CommitTs) -> Option<(StartTs, Bytes)> {
        self.orphans.get(&commit_ts).map(|orphan| (orphan.start_ts, orphan.extra.clone()))
    }
}
