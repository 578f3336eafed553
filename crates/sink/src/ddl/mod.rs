//! From what a DDL did to the catalog to statements for a target.
//!
//! The objects are authoritative, not the text: names come from ids, a two-table DROP is two jobs of the same text, and what a
//! database without partitions, placement or TTL needs is only the difference between two versions of a table. TiDB gets the text
//! where the objects do not hold everything (partitions, options).

mod alter;
mod change_text;
mod column;
mod create;
pub(crate) mod dialect;
mod gone;
mod left_out;
mod own_text;
mod partition;
pub(crate) mod recycle;
mod rename;
mod sqlite;
mod sqlite_copy;
mod table_diff;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use binlog_catalog::{Ddl, SchemaChange, TableKind, TableRef};
use binlog_types::Zone;

use crate::names::{backtick, mysql_table, sqlite_table, sqlite_table_name};
use crate::notices::Notices;
use crate::{Error, Place};
use dialect::{Dialect, Kind};
use recycle::Bin;
use rename::Rename;

pub(crate) use sqlite::{is_wide_number, row_id};
pub(crate) use sqlite_copy::{Copy, Source};

/// One statement of a DDL. Steps run in order, each one complete before the next, and each may be repeated if it is not known
/// whether it ran.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) sql: String,
    pub(crate) place: Place,
    /// What unqualified names mean; `None`: there are none.
    pub(crate) default_schema: Option<String>,
    /// The target may refuse it: reported by name, and the stream goes on.
    pub(crate) best_effort: bool,
    /// It is about this table (as SQLite names it), and left out where there is none.
    pub(crate) if_there: Option<String>,
    /// The session's time zone while it runs; `None`: UTC.
    pub(crate) zone: Option<Zone>,
    /// What SQLite does for `sql`, which it cannot do by itself.
    pub(crate) copy: Option<Box<Copy>>,
}

/// A statement that a planner has made.
#[derive(Debug)]
struct Statement {
    sql: String,
    /// It reads or makes TIMESTAMPs as the clocks of the statement's session show them.
    zoned: bool,
    copy: Option<Box<Copy>>,
}

impl From<String> for Statement {
    fn from(sql: String) -> Self {
        Statement { sql, zoned: false, copy: None }
    }
}

/// The statements of `ddl` for a target. `again`: it may have been applied before, in whole or in part.
pub(crate) fn plan(
    dialect: &Dialect,
    ddl: &Ddl,
    bin: &Bin,
    again: bool,
    notices: &mut Notices,
) -> Result<Vec<Step>, Error> {
    let mut planner = Planner { dialect, ddl, bin, again, notices, steps: Vec::new() };
    // What goes ahead of a DDL has no text of its own.
    if dialect.kind == Kind::TiDb && !ddl.ahead && wants_text(&ddl.changes) {
        planner.own_text();
        return Ok(planner.steps);
    }
    let mut renames: Vec<(&TableRef, &TableRef)> = Vec::new();
    for change in &ddl.changes {
        if let SchemaChange::RenameTable { before, after } = change {
            renames.push((before, after));
            continue;
        }
        planner.renames(std::mem::take(&mut renames));
        planner.change(change)?;
    }
    planner.renames(renames);
    Ok(planner.steps)
}

/// Whether TiDB is given the statement itself: where the objects alone would lose something. Of FLASHBACK DATABASE that is the rows of all tables.
fn wants_text(changes: &[SchemaChange]) -> bool {
    let recovers = changes.iter().any(|change| matches!(change, SchemaChange::RecoverTable(_)));
    recovers || !changes.is_empty() && changes.iter().all(says_too_little)
}

fn says_too_little(change: &SchemaChange) -> bool {
    match change {
        SchemaChange::CreateTable(_)
        | SchemaChange::AlterTable { .. }
        | SchemaChange::RecoverTable(_)
        | SchemaChange::DropPartitions { .. }
        | SchemaChange::ExchangePartition { .. } => true,
        SchemaChange::CreateDatabase(_)
        | SchemaChange::AlterDatabase { .. }
        | SchemaChange::DropDatabase { .. }
        | SchemaChange::RenameTable { .. }
        | SchemaChange::DropTable(_)
        | SchemaChange::TruncateTable { .. } => false,
    }
}

struct Planner<'a> {
    dialect: &'a Dialect,
    ddl: &'a Ddl,
    bin: &'a Bin,
    again: bool,
    notices: &'a mut Notices,
    steps: Vec<Step>,
}

impl Planner<'_> {
    fn place(&self, schema: &Arc<str>, table: &str) -> Place {
        Place { schema: schema.clone(), table: table.to_owned(), commit_ts: self.ddl.commit_ts }
    }

    fn step(&self, schema: &Arc<str>, table: &str, sql: String) -> Step {
        Step {
            sql,
            place: self.place(schema, table),
            default_schema: None,
            best_effort: false,
            if_there: None,
            zone: None,
            copy: None,
        }
    }

    fn push(&mut self, schema: &Arc<str>, table: &str, sql: String) {
        let step = self.step(schema, table, sql);
        self.steps.push(step);
    }

    fn push_all<S: Into<Statement>>(&mut self, table: &TableRef, statements: Vec<S>) {
        for statement in statements {
            let Statement { sql, zoned, copy } = statement.into();
            let zone = self.ddl.zone.clone().filter(|_| zoned);
            let step = self.step(&table.schema, &table.table.name, sql);
            self.steps.push(Step { zone, copy, ..step });
        }
    }

    fn is_sqlite(&self) -> bool {
        self.dialect.kind == Kind::Sqlite
    }

    fn name(&self, table: &TableRef) -> String {
        if self.is_sqlite() {
            sqlite_table(&table.schema, &table.table.name)
        } else {
            mysql_table(&table.schema, &table.table.name)
        }
    }

    fn change(&mut self, change: &SchemaChange) -> Result<(), Error> {
        match change {
            SchemaChange::CreateDatabase(database) => {
                if !self.is_sqlite() {
                    let name = &database.name;
                    let options = self.charset_options(&database.charset, &database.collate, name);
                    let sql = format!("CREATE DATABASE IF NOT EXISTS {}{options}", backtick(name));
                    self.push(&Arc::from(name.as_str()), "", sql);
                }
            }
            SchemaChange::AlterDatabase { before, after } => {
                let same = before
                    .as_ref()
                    .is_some_and(|b| (&b.charset, &b.collate) == (&after.charset, &after.collate));
                if !self.is_sqlite() && !same {
                    let options = self.charset_options(&after.charset, &after.collate, &after.name);
                    if !options.is_empty() {
                        let sql = format!("ALTER DATABASE {}{options}", backtick(&after.name));
                        self.push(&Arc::from(after.name.as_str()), "", sql);
                    }
                }
            }
            SchemaChange::DropDatabase { database, tables } => {
                let schema = Arc::from(database.name.as_str());
                if self.is_sqlite() {
                    for table in tables {
                        self.drop_table(table);
                    }
                } else {
                    for table in tables.iter().filter(|t| self.bin.keeps(t)) {
                        self.keep(table);
                    }
                    self.push(&schema, "", format!("DROP DATABASE IF EXISTS {}", backtick(&database.name)));
                }
            }
            SchemaChange::CreateTable(table) => self.create(table),
            SchemaChange::AlterTable { before, after } => return self.alter(before, after),
            SchemaChange::RenameTable { before, after } => self.renames(vec![(before, after)]),
            SchemaChange::DropTable(table) => self.drop_table(table),
            SchemaChange::TruncateTable { before, after } if self.bin.keeps(before) => {
                self.keep(before);
                self.create(after);
            }
            SchemaChange::TruncateTable { before, .. } => {
                let verb = if self.is_sqlite() { "DELETE FROM" } else { "TRUNCATE TABLE" };
                let sql = format!("{verb} {}", self.name(before));
                self.push(&before.schema, &before.table.name, sql);
            }
            SchemaChange::RecoverTable(table) => match self.bin.back(table) {
                Some(rename) => self.rename(&rename),
                // The one step of a recovery, done already: the table is in the bin no more.
                None if self.again && self.bin.is_on() && !self.is_sqlite() => {
                    self.push(&table.schema, &table.table.name, "DO 0".to_owned());
                }
                None => {
                    return Err(self.unsupported(
                        table,
                        "bringing back a dropped or truncated table (its rows are in no binlog, and it is not in the recycle bin)",
                        "copy the table from the source, then go on behind this position; with recycle-bin set, dropped tables are \
                         kept for a while",
                    ));
                }
            },
            SchemaChange::DropPartitions { before, after } => {
                let Some(statements) = partition::drop_rows(before, after, self.is_sqlite()) else {
                    return Err(self.unsupported(
                        before,
                        "dropping or truncating a partition (its rows vanish without binlogs)",
                        "delete the partition's rows in the target, then go on behind this position",
                    ));
                };
                self.push_all(before, statements);
            }
            SchemaChange::ExchangePartition { partitioned, plain } => {
                let query = &self.ddl.query;
                let Some(statements) = partition::exchange(partitioned, plain, query, self.is_sqlite())
                else {
                    return Err(self.unsupported(
                        partitioned,
                        "exchanging a partition with a table (rows change places without binlogs)",
                        "exchange the rows in the target, then go on behind this position",
                    ));
                };
                self.push_all(plain, statements);
            }
        }
        Ok(())
    }

    fn unsupported(&self, table: &TableRef, what: &'static str, advice: &'static str) -> Error {
        Error::Unsupported {
            place: self.place(&table.schema, &table.table.name),
            what,
            dialect: self.dialect.name(),
            advice,
            query: crate::error::head(&self.ddl.query),
        }
    }

    fn create(&mut self, table: &TableRef) {
        left_out::report(self.dialect, None, table, self.notices);
        match table.table.kind {
            TableKind::Table if self.is_sqlite() => {
                let statements = sqlite::create(table, self.notices);
                self.push_all(table, statements);
            }
            TableKind::Table => {
                let sql = create::table(self.dialect, table, self.notices);
                self.push(&table.schema, &table.table.name, sql);
            }
            TableKind::View => self.view(table),
            TableKind::Sequence => self.left_out(table, "sequence"),
        }
    }

    /// A view's definition is only in the text.
    fn view(&mut self, table: &TableRef) {
        if self.is_sqlite() {
            self.left_out(table, "view");
            return;
        }
        let default_schema = Some(self.ddl.schema.clone()).filter(|s| !s.is_empty());
        let step = self.step(&table.schema, &table.table.name, self.ddl.query.clone());
        self.steps.push(Step { default_schema, best_effort: true, ..step });
    }

    fn left_out(&mut self, table: &TableRef, what: &str) {
        self.notices.report(format!(
            "{what} `{}`.`{}` is left out: {} does not hold it",
            table.schema,
            table.table.name,
            self.dialect.name()
        ));
    }

    fn alter(&mut self, before: &TableRef, after: &TableRef) -> Result<(), Error> {
        match after.table.kind {
            TableKind::Table => {}
            TableKind::View => {
                self.view(after);
                return Ok(());
            }
            TableKind::Sequence => {
                self.left_out(after, "sequence");
                return Ok(());
            }
        }
        left_out::report(self.dialect, Some(&before.table), after, self.notices);
        let statements = if self.is_sqlite() {
            let place = self.place(&after.schema, &after.table.name);
            sqlite::alter(before, after, self.ddl, self.notices)
                .map_err(|source| Error::Unfitting { place, source: Box::new(source) })?
        } else {
            alter::statements(self.dialect, before, after, self.ddl, self.notices)
        };
        self.push_all(after, statements);
        Ok(())
    }

    /// Moves a table into the recycle bin.
    fn keep(&mut self, table: &TableRef) {
        if !self.is_sqlite() {
            let schema = Arc::from(recycle::SCHEMA);
            self.push(&schema, "", format!("CREATE DATABASE IF NOT EXISTS {}", backtick(recycle::SCHEMA)));
        }
        let rename = recycle::aside(table, self.ddl.commit_ts);
        let first = self.steps.len();
        self.rename(&rename);
        // What was dropped before the copy began, or was filtered out, is not there to be kept.
        let sqlite_name = |name: &rename::Name| sqlite_table_name(&name.0, &name.1);
        for (number, step) in self.steps.iter_mut().skip(first).enumerate() {
            step.if_there = Some(sqlite_name(if number == 0 { &rename.from } else { &rename.to }));
        }
    }

    fn drop_table(&mut self, table: &TableRef) {
        if self.bin.keeps(table) {
            return self.keep(table);
        }
        let verb = match (table.table.kind, self.is_sqlite()) {
            (TableKind::Table, _) => "DROP TABLE IF EXISTS",
            (TableKind::View, false) => "DROP VIEW IF EXISTS",
            (TableKind::Sequence, _) if self.dialect.kind == Kind::TiDb => "DROP SEQUENCE IF EXISTS",
            (TableKind::View, true) | (TableKind::Sequence, _) => return,
        };
        let sql = format!("{verb} {}", self.name(table));
        self.push(&table.schema, &table.table.name, sql);
    }

    fn renames(&mut self, renames: Vec<(&TableRef, &TableRef)>) {
        for step in rename::order(&renames) {
            if step.table.kind == TableKind::Sequence
                || (step.table.kind == TableKind::View && self.is_sqlite())
            {
                continue;
            }
            self.rename(&step);
        }
    }

    fn rename(&mut self, step: &Rename) {
        let schema = step.to.0.clone();
        if self.is_sqlite() {
            for sql in sqlite::rename(step) {
                self.push(&schema, &step.to.1, sql);
            }
        } else {
            let sql = format!(
                "RENAME TABLE {} TO {}",
                mysql_table(&step.from.0, &step.from.1),
                mysql_table(&step.to.0, &step.to.1)
            );
            self.push(&schema, &step.to.1, sql);
        }
    }

    fn charset_options(&mut self, charset: &str, collate: &str, whose: &str) -> String {
        create::charset_options(self.dialect, charset, collate, &format!("database `{whose}`"), self.notices)
    }
}
