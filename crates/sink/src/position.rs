//! Places in the stream, as the sink's own tables hold them.

use binlog_catalog::Event;
use binlog_types::{CommitTs, StartTs};

/// A record of the stream: two transactions may share a commit_ts, but not both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) commit_ts: CommitTs,
    pub(crate) start_ts: StartTs,
}

impl Position {
    pub(crate) fn of(event: &Event) -> Self {
        match event {
            Event::Transaction(txn) => Position { commit_ts: txn.commit_ts, start_ts: txn.start_ts },
            Event::Ddl(ddl) => Position { commit_ts: ddl.commit_ts, start_ts: ddl.start_ts },
        }
    }
}

/// How far the lane of rows without a key is: a record, and how many of its row changes are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Progress {
    pub(crate) at: Position,
    /// Row changes of the record that are applied, counted over all its changes.
    pub(crate) sequence: u64,
}

impl Progress {
    /// The record as a whole: larger than any sequence, and it fits every database's signed 64 bits.
    pub(crate) const WHOLE: u64 = i64::MAX as u64;

    /// Where a sink is when it has applied an event and all before it.
    pub(crate) fn behind(event: &Event) -> Self {
        let sequence = match event {
            Event::Transaction(txn) => txn.part.through.unwrap_or(Progress::WHOLE),
            Event::Ddl(_) => Progress::WHOLE,
        };
        Progress { at: Position::of(event), sequence }
    }
}
