//! What an undo would do, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use binlog_catalog::Ddl;
use binlog_sink::SESSION_SQL;
use binlog_types::{CommitTs, Range};

use super::rows::{Action, Phase};
use crate::fold::Net;
use crate::{Hole, utc};

/// Lines of a list that are kept; more are only counted.
const LINES: usize = 100;

/// A row that others changed after the selected changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Table and key.
    pub row: String,
    /// What happened to it.
    pub what: String,
}

/// Rows that went without row binlogs: they need a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// As `db.table`.
    pub table: String,
    /// What happened to it.
    pub what: &'static str,
    /// When.
    pub at: CommitTs,
}

/// What an undo would do, and what it cannot.
#[derive(Clone, Debug)]
pub struct UndoReport {
    /// The changes of this range.
    pub range: Range,
    /// What is missing from the range up to `seen_through`, and was allowed to be: changes in there are not known.
    pub holes: Vec<Hole>,
    /// Later changes are known up to here.
    pub seen_through: CommitTs,
    /// Selected changes.
    pub changes: u64,
    /// Rows to delete, to update, to insert, by table; conflicts and rows that cannot go back are in none.
    pub tables: BTreeMap<String, [u64; 3]>,
    /// Rows that are what they were.
    pub unchanged: u64,
    /// The first conflicts.
    pub conflicts: Vec<Conflict>,
    /// All conflicts.
    pub conflict_count: u64,
    /// Rows that cannot go back, by reason.
    pub impossible: BTreeMap<String, u64>,
    /// Statements that took rows away without binlogs.
    pub losses: Vec<Loss>,
    /// DDL inside the range.
    pub ddls: Vec<String>,
    /// What else there is to know.
    pub notes: Vec<String>,
}

impl UndoReport {
    pub(crate) fn new(range: Range) -> Self {
        UndoReport {
            range,
            holes: Vec::new(),
            seen_through: range.through,
            changes: 0,
            tables: BTreeMap::new(),
            unchanged: 0,
            conflicts: Vec::new(),
            conflict_count: 0,
            impossible: BTreeMap::new(),
            losses: Vec::new(),
            ddls: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn ddl(&mut self, ddl: &Ddl) {
        if self.ddls.len() < LINES {
            let text: Vec<&str> = ddl.query.split_whitespace().collect();
            let text: String = text.join(" ").chars().take(160).collect();
            self.ddls.push(format!("{}  {}  {text}", ddl.commit_ts, utc(ddl.commit_ts.ts())));
        }
    }

    pub(super) fn count(&mut self, net: &Net, action: &Action) {
        match action {
            Action::Nothing => self.unchanged += 1,
            Action::Impossible(why) => *self.impossible.entry(why.clone()).or_default() += 1,
            Action::Conflict(row, what) => {
                self.conflict_count += 1;
                if self.conflicts.len() < LINES {
                    let what = format!("selected change at {}; {what}", net.last);
                    self.conflicts.push(Conflict { row: row.clone(), what });
                }
            }
            Action::Amend(list) => {
                let Some((phase, amendment)) = list.first() else { return };
                let name = format!("{}.{}", amendment.table.schema, amendment.table.table.name);
                let counts = self.tables.entry(name).or_default();
                // A row that is deleted and comes again is an update.
                let place = match (list.len(), phase) {
                    (2.., _) | (_, Phase::Update) => 1,
                    (_, Phase::Delete) => 0,
                    (_, Phase::Insert) => 2,
                };
                if let Some(count) = counts.get_mut(place) {
                    *count += amendment.copies;
                }
            }
        }
    }

    /// Whether everything that was selected goes back.
    pub fn complete(&self) -> bool {
        self.holes.is_empty()
            && self.conflict_count == 0
            && self.impossible.is_empty()
            && self.losses.is_empty()
    }

    pub(super) fn write_header(&self, out: &mut dyn Write) -> io::Result<()> {
        for line in self.to_string().lines() {
            writeln!(out, "-- {line}")?;
        }
        writeln!(
            out,
            "-- Every statement names the row that it expects. If fewer rows were there than expected, the last SELECT fails, and a client\n\
             -- that stops at errors, as mysql does, does not come to COMMIT: nothing is changed.\n\
             {SESSION_SQL}START TRANSACTION;\nSET @undone = 0;"
        )
    }
}

impl fmt::Display for UndoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (after, through, seen) = (self.range.after, self.range.through, self.seen_through);
        writeln!(
            f,
            "undo of (after, through] = ({after}, {through}]: {} to {}; later changes are known through {seen} ({})",
            utc(after.ts()),
            utc(through.ts()),
            utc(seen.ts())
        )?;
        writeln!(f, "{} selected changes", self.changes)?;
        for (table, [deletes, updates, inserts]) in &self.tables {
            writeln!(
                f,
                "  {table}: {deletes} rows to delete, {updates} to set back, {inserts} to bring back"
            )?;
        }
        if self.unchanged > 0 {
            writeln!(f, "{} rows are what they were", self.unchanged)?;
        }
        for line in &self.ddls {
            writeln!(f, "DDL inside the range, which is not undone: {line}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for Loss { table, what, at } in &self.losses {
            writeln!(
                f,
                "CANNOT UNDO: {table} {what} at {at} ({}): its rows are in no binlog. Restore it: reparo … -stop-tso={} -table={table} \
                 -dest-type=…",
                utc(at.ts()),
                at.ts().prev()
            )?;
        }
        for hole in &self.holes {
            writeln!(f, "HOLE: {hole}")?;
        }
        for (why, rows) in &self.impossible {
            writeln!(f, "CANNOT UNDO: {rows} rows: {why}")?;
        }
        for Conflict { row, what } in &self.conflicts {
            writeln!(f, "CONFLICT: {row}: {what}")?;
        }
        let more = self.conflict_count - self.conflicts.len() as u64;
        if more > 0 {
            writeln!(f, "and {more} more conflicts")?;
        }
        match self.conflict_count {
            0 => write!(f, "no conflicts"),
            n => write!(f, "{n} conflict(s), left alone; -overwrite sets them back too"),
        }
    }
}
