//! What waits for the writer thread. Submitters push under a short lock; the writer takes everything at once, so threads
//! meet once a batch and not once a request.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use binlog_types::CommitTs;
use parking_lot::{Condvar, Mutex};

use crate::Error;
use crate::answers::Submission;

/// A piece of work, in order of arrival.
pub(crate) enum Item {
    /// Writes whose results go to `sink`.
    Writes(Submission),
    /// A timestamp of the oracle, fetched before it was queued.
    IdleTs(CommitTs),
    /// The safe point rose: gaps at or below it are of no more use.
    Purged(CommitTs),
    /// Write everything out and say so.
    Flush(SyncSender<Result<(), Error>>),
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    /// Writes among the items.
    writes: usize,
    closed: bool,
    /// The writer sleeps until there are so many writes, or anything else: only then is a wake-up worth its system call.
    awaits: Option<usize>,
}

/// The queue.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
}

impl Queue {
    /// Appends an item; gives it back if the queue is closed.
    pub(crate) fn push(&self, item: Item) -> Result<(), Item> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(item);
        }
        let urgent = match &item {
            Item::Writes(submission) => {
                state.writes += submission.len();
                false
            }
            Item::IdleTs(_) | Item::Purged(_) | Item::Flush(_) => true,
        };
        state.items.push_back(item);
        if state.awaits.is_some_and(|writes| urgent || state.writes >= writes) {
            state.awaits = None;
            drop(state);
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Waits for work and takes all of it; empty once the queue is closed and drained. Where `company` says so, it waits a
    /// little longer for those who are about to come.
    pub(crate) fn take(&self, company: &mut Company) -> VecDeque<Item> {
        let mut state = self.state.lock();
        let (wanted, patience) = company.expected(state.writes);
        while state.items.is_empty() && !state.closed {
            state.awaits = Some(1);
            self.ready.wait(&mut state);
        }
        if let Some(patience) = patience
            && !state.closed
            && state.writes < wanted
            && state.items.iter().all(|item| matches!(item, Item::Writes(_)))
        {
            state.awaits = Some(wanted);
            let timed_out = self.ready.wait_for(&mut state, patience).timed_out();
            company.came(!timed_out);
        }
        state.awaits = None;
        company.taken = std::mem::take(&mut state.writes);
        std::mem::take(&mut state.items)
    }

    /// Takes what is there, without waiting.
    pub(crate) fn take_now(&self) -> VecDeque<Item> {
        let mut state = self.state.lock();
        state.writes = 0;
        std::mem::take(&mut state.items)
    }

    /// Refuses what comes from now on.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_one();
    }
}

/// Whether the next batch is worth waiting for.
///
/// Those who were just answered often come right back. A batch that waits for them is twice as large, and costs half the
/// syncs, half the wake-ups and half the pages that are written only in part. So the writer waits for as many writes as
/// were under way a moment ago, but no longer than two to six syncs take, and seldom where that was in vain.
#[derive(Debug, Default)]
pub(crate) struct Company {
    /// Writes in the last batch.
    taken: usize,
    /// How long the last sync took.
    pub(crate) sync: Duration,
    /// Waits in vain, in a row.
    vain: u32,
    /// Turns to go on without waiting.
    pause: u32,
}

impl Company {
    const LONGEST: Duration = Duration::from_millis(4);

    /// How many writes were under way: those just answered, and those that `queued` meanwhile; and how long to wait for
    /// them, if at all.
    fn expected(&mut self, queued: usize) -> (usize, Option<Duration>) {
        let wanted = self.taken + queued;
        if wanted < 2 {
            return (wanted, None);
        }
        if self.pause > 0 {
            self.pause -= 1;
            return (wanted, None);
        }
        // The more there are, the more a sync costs all of them that some have to do without.
        let syncs = u32::try_from(wanted / 10).unwrap_or(u32::MAX).clamp(2, 6);
        (wanted, Some((syncs * self.sync).min(Self::LONGEST)))
    }

    fn came(&mut self, all: bool) {
        if all {
            self.vain = 0;
        } else {
            self.vain = (self.vain + 1).min(6);
            // The first time may be chance.
            self.pause = (1 << self.vain) - 2;
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("items", &self.state.lock().items.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_wait_longer_for_each_other_than_few_and_nobody_waits_in_vain_for_ever() {
        let sync = Duration::from_micros(100);
        let company = |taken| Company { taken, sync, ..Company::default() };
        assert_eq!(company(0).expected(1), (1, None));
        assert_eq!(company(3).expected(2), (5, Some(2 * sync)));
        assert_eq!(company(30).expected(10), (40, Some(4 * sync)));
        assert_eq!(company(900).expected(100), (1000, Some(6 * sync)));
        assert_eq!(Company { sync: 100 * sync, ..company(9) }.expected(1).1, Some(Company::LONGEST));
        let mut company = company(9);
        let mut waits = 0;
        for _ in 0..1000 {
            if company.expected(1).1.is_some() {
                waits += 1;
                company.came(false);
            }
        }
        assert!(waits < 25, "{waits} of 1000");
    }
}
