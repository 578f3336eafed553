//! `reparo undo`: the reverse of what a range did, row by row.
//!
//! Every row that the selected changes touched goes back to what it was before the first of them: one step a row, in place of one a change.
//! Binlogs are read beyond the range up to now, so that a row that somebody changed again is known: it is a conflict, named in the report, and
//! left alone unless told. Each statement says which row it expects, so that nothing newer is overwritten in silence either.

mod apply;
mod report;
mod rows;
mod tables;

use std::future::Future;
use std::io::{self, Write};
use std::path::Path;

use binlog_catalog::{Event, RowChange, TableFilter, Transaction};
use binlog_sink::Target;
use binlog_types::{CommitTs, Range};

use crate::fold::{Fold, Folded};
use crate::picker::Picker;
use crate::{Condition, Config, Error, Limits, Origin, Selection, database};

pub use report::{Conflict, Loss, UndoReport};
pub(crate) use rows::shown;
use rows::{Action, Phase};
pub(crate) use tables::Tables;

/// What is to be undone.
#[derive(Debug)]
pub struct UndoScope {
    /// Changes inside it.
    pub range: Range,
    /// Of these tables, under the names that they had at the time.
    pub filter: TableFilter,
    /// Of this transaction only: its start_ts or commit_ts.
    pub transaction: Option<u64>,
    /// That fulfil this condition.
    pub condition: Option<Condition>,
    /// Rows that others changed later go back too.
    pub overwrite: bool,
}

/// Gathers the events of the range and of what follows.
#[derive(Debug)]
pub struct Undo {
    range: Range,
    filter: TableFilter,
    overwrite: bool,
    picker: Picker,
    fold: Fold,
    tables: Tables,
    report: UndoReport,
}

impl Undo {
    /// Nothing read yet.
    pub fn new(scope: UndoScope, limits: Limits) -> Self {
        let report = UndoReport::new(scope.range);
        let UndoScope { range, filter, transaction, condition, overwrite } = scope;
        let (picker, fold) = (Picker::new(transaction, condition), Fold::new(limits));
        Undo { range, filter, overwrite, picker, fold, tables: Tables::default(), report }
    }

    /// The next event of the stream.
    ///
    /// # Errors
    /// When temporary files cannot be written, or the condition names a column that a table lacks.
    pub fn event(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            Event::Ddl(ddl) => {
                let inside = self.range.contains(ddl.commit_ts);
                self.tables.ddl(ddl, inside, &self.filter, &mut self.report);
                Ok(())
            }
            Event::Transaction(txn) => txn.changes.iter().try_for_each(|change| self.change(txn, change)),
        }
    }

    fn change(&mut self, txn: &Transaction, change: &RowChange) -> Result<(), Error> {
        let selected = self.selects(txn, change)?;
        if selected {
            self.report.changes += 1;
        }
        self.tables.row(txn.commit_ts, change, selected);
        self.fold.change(txn.commit_ts, change, selected)
    }

    fn selects(&mut self, txn: &Transaction, change: &RowChange) -> Result<bool, Error> {
        let table = &change.table;
        let inside =
            self.range.contains(txn.commit_ts) && self.filter.allows(&table.schema, &table.table.name);
        if inside { self.picker.picks(txn, change) } else { Ok(false) }
    }

    /// No more events come: what would be done.
    ///
    /// # Errors
    /// When temporary files cannot be read.
    pub fn finish(self, through: CommitTs) -> Result<Undone, Error> {
        let mut undone = Undone {
            rows: self.fold.finish()?,
            tables: self.tables,
            report: self.report,
            overwrite: self.overwrite,
        };
        undone.report.seen_through = through;
        undone.tables.report(&mut undone.report);
        undone.count()?;
        Ok(undone)
    }
}

/// The reverse of a range, ready to be written.
#[derive(Debug)]
pub struct Undone {
    rows: Folded,
    tables: Tables,
    report: UndoReport,
    overwrite: bool,
}

impl Undone {
    /// What would change, and what cannot.
    pub fn report(&self) -> &UndoReport {
        &self.report
    }

    fn count(&mut self) -> Result<(), Error> {
        let (tables, report, overwrite) = (&mut self.tables, &mut self.report, self.overwrite);
        self.rows.for_each(|versions, net| {
            let action = rows::action(versions, tables, net, overwrite);
            report.count(net, &action);
            Ok(())
        })
    }

    /// Hands out statements with the rows that each hits: deletes, then updates, then inserts, so that no row stands in the way of another.
    fn statements(
        &mut self,
        mut each: impl FnMut(rows::Statements) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for phase in [Phase::Delete, Phase::Update, Phase::Insert] {
            let (tables, overwrite) = (&mut self.tables, self.overwrite);
            self.rows.for_each(|versions, net| {
                if let Action::Amend(amendments) = rows::action(versions, tables, net, overwrite) {
                    for (_, amendment) in amendments.iter().filter(|(p, _)| *p == phase) {
                        each(rows::statements(net, amendment))?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Writes SQL.
    ///
    /// # Errors
    /// When the output or temporary files fail.
    pub fn write_sql(&mut self, out: &mut dyn Write, path: &str) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Output { path: path.to_owned(), source };
        self.report.write_header(out).map_err(failed)?;
        let mut expected = 0;
        self.statements(|statements| {
            expected += statements.hits;
            statements.write(out).map_err(failed)
        })?;
        // SQL has no other way to stop a script than an error. This one, of a number beyond 64 bits, comes only when the statement runs: a
        // subquery of two rows would be an error of TiDB's planner whatever IF chooses.
        writeln!(
            out,
            "SELECT IF(18446744073709551615 + IF(@undone = {expected}, 0, 1) > 0, 'all', 'none') AS rows_found;\n\
             SELECT @undone AS rows_undone, {expected} AS rows_expected;\nCOMMIT;"
        )
        .map_err(failed)?;
        out.flush().map_err(failed)
    }
}

/// Whether something says where the range begins.
fn has_start(config: &Config) -> bool {
    config.start_tso != 0
        || config.after_tso != 0
        || !config.start_datetime.trim().is_empty()
        || !config.full_backup.as_os_str().is_empty()
}

/// What is asked of an undo beyond the range.
pub(crate) struct Asked {
    /// The database to change; None: SQL is written.
    target: Option<Target>,
    picker: Picker,
    seen: Option<CommitTs>,
}

impl Asked {
    /// From the settings.
    ///
    /// # Errors
    /// For what undo cannot do, and values that make no sense.
    pub(crate) fn of(config: &Config) -> Result<Self, Error> {
        let refuse = |text: &str| Err(Error::Config(text.to_owned()));
        let target = match config.dest_type.as_str() {
            "print" | "sql" => None,
            "mysql" | "tidb" => database::target(config)?,
            _ => return refuse("undo writes SQL, to stdout or -dest-path, or goes to -dest-type=mysql"),
        };
        if let Origin::Files(_) = config.origin()? {
            return refuse(
                "undo needs -from-pump or -from-store: binlog files do not tell the keys of tables",
            );
        }
        let picker = Picker::of(config)?;
        if target.is_some() && !config.dry_run && !has_start(config) && picker.takes_all() {
            return refuse(
                "undo in a database needs a start (-start-datetime, -start-tso, -after-tso or -full-backup), -txn or -where: without one it would \
                 take back all that the binlogs hold. Have it written as SQL first (without -dest-type), or rehearse it with -dry-run and a start",
            );
        }
        let seen = match u64::try_from(config.seen_tso) {
            Ok(ts) => Some(CommitTs::new(ts)).filter(|ts| ts.raw() > 0),
            Err(_) => return refuse("-seen-tso must not be negative"),
        };
        Ok(Asked { target, picker, seen })
    }
}

/// Reads what `config` selects and what came after it, says on stderr what its reverse would do, and writes the SQL of it, or does it where the
/// destination is a database.
///
/// # Errors
/// As those of a restore. Conflicts are no errors for the SQL: they are in the report. A database is left as it is where there are any, unless
/// told.
pub async fn undo(config: &Config, shutdown: impl Future<Output = ()>) -> Result<UndoReport, Error> {
    let Asked { target, picker, seen } = Asked::of(config)?;
    let selection = Selection::open(config).await?;
    let seen = seen.unwrap_or_else(|| selection.input.newest()).max(selection.range.through);
    let (range, holes) =
        selection.input.check(Range { after: selection.range.after, through: seen }, config.allow_gaps)?;
    selection.input.wait(range.through).await?;
    let scope = UndoScope {
        range: selection.range,
        filter: config.filter()?,
        transaction: None,
        condition: None,
        overwrite: config.overwrite,
    };
    let mut undo = Undo::new(scope, config.limits()?);
    undo.picker = picker;
    undo.report.holes = holes;
    // All tables, for they may be renamed.
    let mut reading = selection.input.read(range, TableFilter::default()).await?;
    selection.each(&mut reading, "reading", shutdown, |event| undo.event(event).map(|()| true)).await?;
    let mut undone = undo.finish(range.through)?;
    if config.dry_run {
        return Ok(undone.report);
    }
    if let Some(target) = target {
        return apply::apply(undone, &target, config.leave_conflicts).await;
    }
    let (mut out, name) = open(&config.dest_path)?;
    undone.write_sql(&mut out, &name)?;
    Ok(undone.report)
}

/// Stdout, or a new file.
pub(crate) fn open(path: &Path) -> Result<(Box<dyn Write>, String), Error> {
    if path.as_os_str().is_empty() {
        return Ok((Box::new(io::BufWriter::new(io::stdout())), "stdout".to_owned()));
    }
    let name = path.display().to_string();
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    let file = file.map_err(|source| Error::Output { path: name.clone(), source })?;
    Ok((Box::new(io::BufWriter::new(file)), name))
}

#[cfg(test)]
mod tests;
