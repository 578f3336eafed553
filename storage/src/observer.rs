//! Who is told how large batches are, and how long they take.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One batch that went to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchReport {
    /// Its size.
    pub bytes: usize,
    /// From its beginning to its end, sync included.
    pub took: Duration,
}

/// Is called on the writer's thread after every batch, so it must not wait.
#[derive(Clone, Default)]
pub struct BatchObserver(Option<Arc<dyn Fn(BatchReport) + Send + Sync>>);

impl BatchObserver {
    /// Calls `observe` after every batch.
    pub fn new(observe: impl Fn(BatchReport) + Send + Sync + 'static) -> Self {
        BatchObserver(Some(Arc::new(observe)))
    }

    pub(crate) fn tell(&self, report: BatchReport) {
        if let Some(observe) = &self.0 {
            observe(report);
        }
    }
}

impl fmt::Debug for BatchObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "BatchObserver(set)" } else { "BatchObserver(none)" })
    }
}
