//! The store under test, and waiting for its answers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use binlog_storage::{CompletionSink, Error, Options as StoreOptions, Store, Write, WriteResult};
use binlog_types::{ClusterId, CommitTs, NodeId, SystemClock};
use parking_lot::{Condvar, Mutex};

/// Where the timestamps of a new store begin.
pub(crate) const FIRST_TS: u64 = 1_700_000_000_000 << 18;
/// How long the store may take to settle what it has, on a loaded machine.
const SETTLE: Duration = Duration::from_secs(300);

/// Opens the store in `dir`.
pub(crate) fn open(dir: &Path) -> anyhow::Result<Store> {
    open_with(dir, |_| {})
}

/// Opens the store in `dir` with other settings than the usual ones.
pub(crate) fn open_with(dir: &Path, change: impl FnOnce(&mut StoreOptions)) -> anyhow::Result<Store> {
    let mut settings = StoreOptions::new(ClusterId(1), NodeId::new("bench")?, SystemClock::handle());
    change(&mut settings);
    Ok(Store::open(dir, settings)?)
}

/// A figure of the store.
pub(crate) fn figure(store: &Store, name: &str) -> u64 {
    store.numbers().into_iter().find(|(known, _)| known == name).map_or(0, |(_, value)| value)
}

/// Waits until everything up to `last` can be read.
pub(crate) fn settle(store: &Store, last: CommitTs) -> anyhow::Result<()> {
    let deadline = Instant::now() + SETTLE;
    store.offer_idle_ts(last);
    while store.watermark() < last {
        anyhow::ensure!(Instant::now() < deadline, "the watermark stopped at {}", store.watermark());
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

#[derive(Default)]
struct Answers {
    left: usize,
    failed: Option<Error>,
}

/// One writer's completion: it waits for all that it has handed over.
#[derive(Default)]
pub(crate) struct Waiter {
    answers: Mutex<Answers>,
    wake: Condvar,
}

impl CompletionSink for Waiter {
    fn completed(&self, results: Vec<(u64, WriteResult)>) {
        let mut answers = self.answers.lock();
        answers.left = answers.left.saturating_sub(results.len());
        for (_, result) in results {
            if let Err(error) = result {
                answers.failed.get_or_insert(error);
            }
        }
        if answers.left == 0 {
            self.wake.notify_one();
        }
    }
}

impl Waiter {
    /// Writes, and waits until all is durable.
    pub(crate) fn write(self: &Arc<Self>, store: &Store, writes: Vec<Write>) -> WriteResult {
        let sink: Arc<dyn CompletionSink> = Arc::clone(self) as Arc<dyn CompletionSink>;
        self.answers.lock().left = writes.len();
        store.submit(writes.into_iter().map(|write| (0, write)).collect(), &sink);
        let mut answers = self.answers.lock();
        while answers.left > 0 {
            self.wake.wait(&mut answers);
        }
        answers.failed.take().map_or(Ok(()), Err)
    }
}
