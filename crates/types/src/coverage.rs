//! What a read covered, and what it could not: no reader returns just rows.

use std::fmt;

use crate::{CommitTs, Range};

/// Why a stretch of the stream is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum GapReason {
    /// Garbage collection dropped it.
    Purged,
    /// A commit binlog came whose prewrite never did.
    MissingPrewrite,
    /// Bytes on disk did not pass their checksum.
    Corrupt,
    /// A commit binlog came after readers had passed its place.
    LateCommit,
    /// Whether a prewrite committed can no longer be learned.
    LostOutcome,
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GapReason::Purged => "purged by gc",
            GapReason::MissingPrewrite => "commit without prewrite",
            GapReason::Corrupt => "corrupt",
            GapReason::LateCommit => "commit after readers had passed its place",
            GapReason::LostOutcome => "prewrite whose outcome can no longer be learned",
        })
    }
}

/// A stretch of the stream that is known to be incomplete.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gap {
    /// Where something is missing.
    pub range: Range,
    /// Why.
    pub reason: GapReason,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.range, self.reason)
    }
}

/// What a finished read covered: everything in `range`, less the gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// What was read to the end.
    pub range: Range,
    /// What inside it is known to be missing, in order.
    pub gaps: Vec<Gap>,
}

impl Coverage {
    /// A read of `range` that met no gap.
    pub fn complete(range: Range) -> Self {
        Coverage { range, gaps: Vec::new() }
    }

    /// Whether nothing inside the range is missing.
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }

    /// The position up to which everything was read.
    pub fn through(&self) -> CommitTs {
        self.range.through
    }
}
