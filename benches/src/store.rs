//! Opening the store under test, and waiting for its answers.

use std::sync::Arc;

use binlog_storage::{CompletionSink, Options as StoreOptions, Store, Write, WriteResult};
use binlog_types::{ClusterId, NodeId, SystemClock};
use parking_lot::{Condvar, Mutex};

use crate::options::Options;

/// Timestamps of the benchmarks lie one millisecond apart from here on, so that gc in days makes sense of them.
pub(crate) const FIRST_TS: u64 = 1_700_000_000_000 << 18;

/// Opens the store of `options`.
pub(crate) fn open(options: &Options) -> anyhow::Result<Store> {
    let dir = options.store_dir()?;
    std::fs::create_dir_all(&dir)?;
    let settings = StoreOptions::new(ClusterId(1), NodeId::new("bench")?, SystemClock::handle());
    Ok(Store::open(&dir, settings)?)
}

/// A writer's own completion: it waits for one write at a time.
#[derive(Default)]
pub(crate) struct Waiter {
    done: Mutex<Option<WriteResult>>,
    wake: Condvar,
}

impl CompletionSink for Waiter {
    fn completed(&self, mut results: Vec<(u64, WriteResult)>) {
        if let Some((_, result)) = results.pop() {
            *self.done.lock() = Some(result);
            self.wake.notify_one();
        }
    }
}

/// Writes and waits until it is durable.
pub(crate) fn write(store: &Store, waiter: &Arc<Waiter>, write: Write) -> WriteResult {
    let sink: Arc<dyn CompletionSink> = Arc::clone(waiter) as Arc<dyn CompletionSink>;
    store.submit(vec![(0, write)], &sink);
    let mut done = waiter.done.lock();
    loop {
        match done.take() {
            Some(result) => return result,
            None => waiter.wake.wait(&mut done),
        }
    }
}
