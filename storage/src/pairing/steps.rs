//! What the pairing state tells the writer to do.

use binlog_types::{CommitTs, Range, StartTs};

use super::Ready;
use crate::bundles::Place;

/// What to do about a prewrite.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PrewriteStep {
    Store,
    Duplicate,
}

/// What to do about a commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CommitStep {
    /// Store a marker; `lost`: in place of the one that says that its outcome was lost.
    Store {
        lost: bool,
    },
    Duplicate,
    /// It claims a place at or below W: see whether `log` has it there, then call [`Pairing::commit_below`](super::Pairing::commit_below).
    AskLog,
}

/// What to do about a commit at or below W.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BelowStep {
    /// It is known; a prewrite that came again can go.
    Known { forget: Option<Place> },
    /// Store a marker that says so, and refuse.
    Late,
}

/// What to do about a rollback.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RollbackStep {
    /// Delete the prewrite.
    Delete(Place),
    /// So too, and the marker that its outcome was lost.
    Find(Place),
    Unknown,
}

/// What to do about a prewrite whose outcome is lost.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LoseStep {
    /// Store a marker that says where it may have committed.
    Store(Range),
    /// It cannot have committed: delete it.
    Delete(Place),
    Unknown,
}

/// A step of the watermark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Advance {
    /// W, once the records are in `log`.
    pub(crate) watermark: CommitTs,
    /// Records that go into `log`, in commit_ts order.
    pub(crate) ready: Vec<Ready>,
}

/// What [`Pairing::orphans_through`](super::Pairing::orphans_through) found: what to delete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Forgotten {
    pub(crate) start_ts: StartTs,
    pub(crate) place: Place,
}
