//! What a restore did, in numbers and positions.

use std::fmt;
use std::time::Duration;

use binlog_catalog::{ChangeKind, Event};
use binlog_types::{NodeId, Range};

use crate::{Hole, utc};

/// How much went by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transactions with at least one row left after the filter.
    pub transactions: u64,
    /// DDL statements.
    pub ddls: u64,
    /// Rows inserted.
    pub inserts: u64,
    /// Rows updated.
    pub updates: u64,
    /// Rows deleted.
    pub deletes: u64,
    /// Records that were filtered out or have no effect.
    pub skipped: u64,
}

impl Counts {
    /// Counts one event.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Ddl(_) => self.ddls += 1,
            Event::Transaction(txn) => {
                self.transactions += 1;
                for change in &txn.changes {
                    match change.kind {
                        ChangeKind::Insert(_) => self.inserts += 1,
                        ChangeKind::Update { .. } => self.updates += 1,
                        ChangeKind::Delete(_) => self.deletes += 1,
                    }
                }
            }
        }
    }

    /// Rows of all kinds.
    pub fn rows(&self) -> u64 {
        self.inserts + self.updates + self.deletes
    }
}

/// A finished restore: everything in `range` arrived, less the holes.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What was read to its end.
    pub range: Range,
    /// From whom.
    pub pumps: Vec<NodeId>,
    /// Pumps that were offline and not asked.
    pub offline: Vec<NodeId>,
    /// Whether a registry says that there are no other pumps.
    pub registered: bool,
    /// What was missing and was allowed to be.
    pub holes: Vec<Hole>,
    /// How much it was.
    pub counts: Counts,
    /// How long it took.
    pub elapsed: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (after, through) = (self.range.after, self.range.through);
        let from = if after.raw() == 0 { "the beginning".to_owned() } else { utc(after.ts()) };
        writeln!(f, "restored (after, through] = ({after}, {through}]: {from} to {}", utc(through.ts()))?;
        let names: Vec<&str> = self.pumps.iter().map(NodeId::as_str).collect();
        writeln!(f, "from {} pump(s): {}", names.len(), names.join(", "))?;
        let c = &self.counts;
        writeln!(
            f,
            "{} transactions with {} rows ({} inserted, {} updated, {} deleted), {} DDL statements, {} skipped, in {:.1} s",
            c.transactions,
            c.rows(),
            c.inserts,
            c.updates,
            c.deletes,
            c.ddls,
            c.skipped,
            self.elapsed.as_secs_f64()
        )?;
        if !self.registered {
            writeln!(
                f,
                "note: these pumps were named; binlogs of others in the cluster, if there are any, are not restored"
            )?;
        }
        for pump in &self.offline {
            writeln!(
                f,
                "note: pump {pump} is offline and was not asked; what only it holds is not restored"
            )?;
        }
        for hole in &self.holes {
            writeln!(f, "HOLE: {hole}")?;
        }
        if self.holes.is_empty() { write!(f, "no gaps") } else { write!(f, "{} hole(s)", self.holes.len()) }
    }
}
