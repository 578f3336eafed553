//! What a restore did, in numbers and positions.

use std::fmt;
use std::time::Duration;

use binlog_catalog::{ChangeKind, Event};
use binlog_types::{CommitTs, Range};

use crate::journal::plain;
use crate::{Hole, Selection, utc};

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
            Event::Ddl(ddl) => self.ddls += u64::from(!ddl.ahead),
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
    /// From whom, for people.
    pub sources: Vec<String>,
    /// What is to be said about the completeness of the source.
    pub notes: Vec<String>,
    /// What was missing and was allowed to be.
    pub holes: Vec<Hole>,
    /// What earlier runs, from which it goes on, had to leave out, in words.
    pub earlier_holes: Vec<String>,
    /// Where it went on, if an earlier run was cut off there. What that run did is not in the counts.
    pub resumed: Option<CommitTs>,
    /// The DDL that it stopped before, because it was told to.
    pub next_ddl: Option<(CommitTs, String)>,
    /// How much it was.
    pub counts: Counts,
    /// How long it took.
    pub elapsed: Duration,
}

impl Summary {
    /// Of a restore that begins.
    pub(crate) fn new(selection: &Selection) -> Self {
        Summary {
            range: selection.range,
            sources: selection.input.names(),
            notes: selection.input.notes(selection.range),
            holes: selection.holes.clone(),
            earlier_holes: Vec::new(),
            resumed: None,
            next_ddl: None,
            counts: Counts::default(),
            elapsed: Duration::ZERO,
        }
    }
}

impl Summary {
    /// Keeps in mind what earlier runs had to leave out, as the destination's record has it.
    pub(crate) fn keep_earlier(&mut self, holes: Vec<String>) {
        let now: Vec<String> = self.holes.iter().map(|hole| plain(&hole.to_string())).collect();
        self.earlier_holes = holes.into_iter().filter(|hole| !now.contains(hole)).collect();
    }

    /// The range in numbers and times.
    pub(crate) fn range_text(&self) -> String {
        let (after, through) = (self.range.after, self.range.through);
        let from = if after.raw() == 0 { "the beginning".to_owned() } else { utc(after.ts()) };
        format!("(after, through] = ({after}, {through}]: {from} to {}", utc(through.ts()))
    }

    /// What was there before, and what comes next.
    pub(crate) fn write_next(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.resumed {
            writeln!(f, "what lies at or below {at} ({}) was there from an earlier run", utc(at.ts()))?;
        }
        if let Some((at, query)) = &self.next_ddl {
            writeln!(f, "next: the DDL at {at} ({}): {query}; -continue goes on with it", utc(at.ts()))?;
        }
        Ok(())
    }

    /// What is to be said about completeness, and the holes.
    pub(crate) fn write_remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for hole in &self.holes {
            writeln!(f, "HOLE: {hole}")?;
        }
        for hole in &self.earlier_holes {
            writeln!(f, "HOLE, accepted by an earlier restore: {hole}")?;
        }
        match self.holes.len() + self.earlier_holes.len() {
            0 => writeln!(f, "no gaps"),
            holes => writeln!(f, "{holes} hole(s)"),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "restored {}", self.range_text())?;
        writeln!(f, "from {}", self.sources.join(", "))?;
        self.write_remarks(f)?;
        self.write_next(f)?;
        let (counts, elapsed) = (&self.counts, self.elapsed.as_secs_f64());
        write!(f, "{counts}, {} skipped, in {elapsed:.1} s", counts.skipped)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} transactions with {} rows ({} inserted, {} updated, {} deleted), {} DDL statements",
            self.transactions,
            self.rows(),
            self.inserts,
            self.updates,
            self.deletes,
            self.ddls
        )
    }
}
