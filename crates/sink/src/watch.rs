//! News of what the target takes its time for.

use std::fmt::Debug;
use std::time::Duration;

/// Kinds of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Rows.
    Exec,
    /// The end of a transaction of several statements.
    Commit,
    /// The mark of loopback control.
    UpdateMarkTable,
}

/// Is told how long each statement of rows took, also one that failed (MySQL); for metrics.
pub trait Watch: Debug + Send + Sync {
    /// A statement was answered after `time`.
    fn took(&self, query: Query, time: Duration);
}
