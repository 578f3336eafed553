//! What waits for the writer thread. Submitters push under a short lock; the writer takes everything at once, so threads
//! meet once a batch and not once a request.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use binlog_types::CommitTs;
use parking_lot::{Condvar, Mutex};

use crate::{CompletionSink, Error, Write};

/// A piece of work, in order of arrival.
pub(crate) enum Item {
    /// Writes whose results go to `sink`.
    Writes { sink: Arc<dyn CompletionSink>, writes: Vec<(u64, Write)> },
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
    closed: bool,
    /// Whether the writer sleeps: only then is a wake-up worth its system call.
    idle: bool,
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
        state.items.push_back(item);
        if std::mem::take(&mut state.idle) {
            drop(state);
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Waits for work and takes all of it; empty once the queue is closed and drained.
    pub(crate) fn take(&self) -> VecDeque<Item> {
        let mut state = self.state.lock();
        while state.items.is_empty() && !state.closed {
            state.idle = true;
            self.ready.wait(&mut state);
        }
        state.idle = false;
        std::mem::take(&mut state.items)
    }

    /// Refuses what comes from now on.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_one();
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("items", &self.state.lock().items.len()).finish_non_exhaustive()
    }
}
