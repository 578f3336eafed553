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

/// What is left out, with a warning, where the target is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// A DDL that changes what the target does not have.
    Ddl,
    /// A change of a row of a table without a key that the target does not have, after another drainer was killed.
    Row,
}

/// Is told how long each statement of rows took, also one that failed, and what was left out (MySQL); for metrics.
pub trait Watch: Debug + Send + Sync {
    /// A statement was answered after `time`.
    fn took(&self, query: Query, time: Duration);

    /// Something was left out.
    fn left_out(&self, what: LeftOut);
}
