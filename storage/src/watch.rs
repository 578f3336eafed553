//! Who wants to know when the watermark rises.

use std::sync::{Arc, Weak};

use binlog_types::CommitTs;
use parking_lot::Mutex;

/// Called with the new watermark.
pub(crate) type Waker = Box<dyn Fn(CommitTs) + Send + Sync>;

type List = Vec<(u64, Arc<Waker>)>;

/// The registered wakers. The list is replaced, not changed, so that wakers run without a lock.
#[derive(Default)]
pub(crate) struct Watchers {
    list: Mutex<(u64, Arc<List>)>,
}

impl Watchers {
    /// Registers `waker` until the guard is dropped.
    pub(crate) fn add(self: &Arc<Self>, waker: Waker) -> WatermarkGuard {
        let mut list = self.list.lock();
        let id = list.0;
        list.0 += 1;
        let mut longer = List::clone(&list.1);
        longer.push((id, Arc::new(waker)));
        list.1 = Arc::new(longer);
        WatermarkGuard { id, watchers: Arc::downgrade(self) }
    }

    /// Calls every waker.
    pub(crate) fn wake(&self, watermark: CommitTs) {
        let list = Arc::clone(&self.list.lock().1);
        for (_, waker) in list.iter() {
            waker(watermark);
        }
    }
}

impl std::fmt::Debug for Watchers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watchers").finish_non_exhaustive()
    }
}

/// Stops the calls of [`Store::on_watermark`](crate::Store::on_watermark) when dropped. A call that is under way may
/// still finish.
#[derive(Debug)]
#[must_use = "the calls stop when it is dropped"]
pub struct WatermarkGuard {
    id: u64,
    watchers: Weak<Watchers>,
}

impl Drop for WatermarkGuard {
    fn drop(&mut self) {
        if let Some(watchers) = self.watchers.upgrade() {
            let mut list = watchers.list.lock();
            let shorter = list.1.iter().filter(|(id, _)| *id != self.id).cloned().collect();
            list.1 = Arc::new(shorter);
        }
    }
}
