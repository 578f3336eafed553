//! Places where a test makes a store fail or its process die. One hook per store, never global; without a hook each
//! point is a branch that is not taken.

use std::fmt;
use std::sync::Arc;

/// A step of the write path, in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailPoint {
    /// After a piece of a large prewrite is under the WAL, before its last one is.
    AfterPiece,
    /// Before a batch goes to the WAL.
    BeforeBatch,
    /// After the batch is synced, before anyone is told.
    AfterBatch,
    /// Before records go into `log`.
    BeforeSettle,
    /// After records are in `log`, before the watermark shows them.
    AfterSettle,
    /// Before `log` is flushed.
    BeforeLogFlush,
    /// After `log` is flushed, before the covered prewrites are deleted.
    AfterLogFlush,
    /// After large prewrites are deleted, before what is in bundles is.
    BeforeRelease,
    /// After what is in bundles is deleted, before the markers in `commit` are.
    AfterRelease,
    /// After all are deleted, before `pending` and `commit` are flushed.
    BeforePendingFlush,
    /// After everything is flushed.
    AfterPendingFlush,
    /// After the safe point is stored, before anything below it is dropped.
    AfterSafePoint,
}

/// What to do at each point: `Some(reason)` makes the step fail.
pub type FailHook = dyn Fn(FailPoint) -> Option<String> + Send + Sync;

/// The failpoints of one store.
#[derive(Clone, Default)]
pub struct FailPoints(Option<Arc<FailHook>>);

impl FailPoints {
    /// Calls `hook` at every point.
    pub fn new(hook: impl Fn(FailPoint) -> Option<String> + Send + Sync + 'static) -> Self {
        FailPoints(Some(Arc::new(hook)))
    }

    pub(crate) fn hit(&self, point: FailPoint) -> Result<(), crate::Error> {
        match self.0.as_ref().and_then(|hook| hook(point)) {
            None => Ok(()),
            Some(message) => Err(crate::Error::Internal { doing: "an injected step", message }),
        }
    }
}

impl fmt::Debug for FailPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "FailPoints(hooked)" } else { "FailPoints(none)" })
    }
}
