//! Async requests to the synchronous store and back, by the batch.
//!
//! Crossing threads costs more than storing a small binlog. So each service runtime has one bridge: requests gather in a
//! vector, the bridge's task hands the whole vector to the store, and the store's writer thread hands a whole group commit
//! back with one wake-up. Inside the runtime everything is on one thread.

use std::sync::Arc;

use binlog_storage::{CompletionSink, Store, Write, WriteResult};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

/// The bridge of one runtime; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Bridge {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    requests: Mutex<Requests>,
    results: Mutex<Vec<(u64, WriteResult)>>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Requests {
    queue: Vec<(u64, Write)>,
    waiting: Waiting,
    closed: bool,
}

/// Who waits for which token: a vector with a free list, since tokens are dense and short-lived.
#[derive(Debug, Default)]
struct Waiting {
    slots: Vec<Option<oneshot::Sender<WriteResult>>>,
    free: Vec<usize>,
}

impl Waiting {
    fn insert(&mut self, sender: oneshot::Sender<WriteResult>) -> u64 {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        self.slots[slot] = Some(sender);
        slot as u64
    }

    fn take(&mut self, token: u64) -> Option<oneshot::Sender<WriteResult>> {
        let slot = usize::try_from(token).ok()?;
        let sender = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(sender)
    }
}

impl CompletionSink for Shared {
    fn completed(&self, mut results: Vec<(u64, WriteResult)>) {
        {
            let mut all = self.results.lock();
            if all.is_empty() {
                *all = results;
            } else {
                all.append(&mut results);
            }
        }
        self.wake.notify_one();
    }
}

/// The bridge was closed before the store answered: the outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Bridge {
    /// A bridge whose task is still to be run by [`Bridge::run`].
    pub(crate) fn new() -> Self {
        Bridge { shared: Arc::default() }
    }

    /// Stores one write and waits until it is durable.
    ///
    /// # Errors
    /// [`Closed`] while the runtime shuts down; else the store's result.
    pub(crate) async fn write(&self, write: Write) -> Result<WriteResult, Closed> {
        let (sender, receiver) = oneshot::channel();
        let first = {
            let mut requests = self.shared.requests.lock();
            if requests.closed {
                return Err(Closed);
            }
            let token = requests.waiting.insert(sender);
            requests.queue.push((token, write));
            requests.queue.len() == 1
        };
        if first {
            self.shared.wake.notify_one();
        }
        receiver.await.map_err(|_| Closed)
    }

    /// Carries requests and results until `stop`; then nothing new is taken, and what was submitted is waited for.
    pub(crate) async fn run(self, store: Store, stop: CancellationToken) {
        let sink: Arc<dyn CompletionSink> = Arc::clone(&self.shared) as Arc<dyn CompletionSink>;
        let mut submitted = 0_usize;
        let mut stopping = false;
        loop {
            if stopping {
                self.shared.wake.notified().await;
            } else {
                tokio::select! {
                    () = self.shared.wake.notified() => {}
                    () = stop.cancelled() => {
                        stopping = true;
                        self.shared.requests.lock().closed = true;
                    }
                }
            }
            let batch = std::mem::take(&mut self.shared.requests.lock().queue);
            if !batch.is_empty() {
                submitted += batch.len();
                store.submit(batch, &sink);
            }
            let results = std::mem::take(&mut *self.shared.results.lock());
            if !results.is_empty() {
                submitted = submitted.saturating_sub(results.len());
                self.answer(results);
            }
            if stopping && submitted == 0 {
                return;
            }
        }
    }

    fn answer(&self, results: Vec<(u64, WriteResult)>) {
        let mut requests = self.shared.requests.lock();
        for (token, result) in results {
            if let Some(waiter) = requests.waiting.take(token) {
                // The client may have gone; its write is stored all the same.
                let _ = waiter.send(result);
            }
        }
    }
}
