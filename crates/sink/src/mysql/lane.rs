//! One downstream transaction with the progress in it: rows of tables without a key, or everything where upstream transactions
//! are kept whole.

use std::sync::Arc;

use binlog_catalog::{ChangeKind, Row};
use binlog_types::CommitTs;

use super::bookkeeping;
use super::books::Books;
use super::connection::{Connection, Pause};
use super::job::{DUPLICATE_KEY, Statement, StepSql, fits};
use super::mass::{self, Mass};
use crate::dml::batch::Ordered;
use crate::dml::multiset::{Counted, net};
use crate::dml::statement;
use crate::error::{Class, class_of, head, server_code};
use crate::layout::Layout;
use crate::position::Progress;
use crate::{Error, LeftOut, Place};

/// Rows whose net effect is one transaction: more of them spare more searches for rows that change again and again.
pub(super) const NET_ROWS: usize = 4000;

/// Bounds of a statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    /// The longest that the server takes.
    pub(super) packet: usize,
    /// The server has a JSON type of its own.
    pub(super) json_type: bool,
    /// Rows up to here may be as they shall be already; zero: none.
    pub(super) in_doubt_through: CommitTs,
}

/// A part of the transaction.
#[derive(Debug)]
pub(super) enum Part {
    /// A statement, and how many rows it must hit, if that is known.
    Sql {
        sql: Arc<String>,
        place: Place,
        must: Option<(&'static str, u64)>,
    },
    /// A change of one row, which may have been made already.
    InDoubt {
        sql: Arc<String>,
        place: Place,
        action: &'static str,
    },
    /// An INSERT; if a row is there already, the same as REPLACE.
    Insert(Statement),
    /// A change by itself.
    Step(StepSql),
    Mass(Mass),
}

/// The transaction.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) parts: Vec<Part>,
    /// The place of its last row.
    pub(super) place: Place,
    /// Where the lane is once this is applied; `None`: no rows without a key are in it, and it may run twice.
    pub(super) after: Option<Progress>,
}

impl Lane {
    pub(super) async fn run(self, connection: &mut Connection, books: Option<&Books>) -> Result<(), Error> {
        let mut pause = Pause::default();
        let mut replacing = false;
        loop {
            let Err((error, committing)) = self.transaction(connection, books, replacing).await else {
                return Ok(());
            };
            connection.rollback().await;
            let source = match error {
                // TiDB looks for duplicates of an optimistic transaction only at its end.
                Failure::Sql { source, .. } if committing && !replacing && is_duplicate(&source) => {
                    replacing = true;
                    continue;
                }
                Failure::Sql { source, .. } if class_of(&source) != Class::Permanent => source,
                other => return Err(other.into_error()),
            };
            if committing && let Some(after) = self.after {
                match books {
                    // The row lock on the progress lets this wait for a commit that is still under way.
                    Some(books) if books.read_progress(connection).await?.0 >= after => return Ok(()),
                    None if class_of(&source) == Class::Lost => {
                        return Err(Error::OutcomeUnknown { place: self.place, source });
                    }
                    Some(_) | None => {}
                }
            }
            if !pause.wait(&source).await {
                return Err(Error::statement(&self.place, "COMMIT", source));
            }
        }
    }

    /// The flag says whether COMMIT had been sent. `replacing`: rows that should not be there may be there.
    async fn transaction(
        &self,
        connection: &mut Connection,
        books: Option<&Books>,
        replacing: bool,
    ) -> Result<(), (Failure, bool)> {
        let failure =
            |sql: &str, source| Failure::Sql { place: self.place.clone(), sql: sql.to_owned(), source };
        let begin = "START TRANSACTION";
        connection.begin().await.map_err(|e| (failure(begin, e), false))?;
        for part in &self.parts {
            part.run(connection, &self.place, replacing).await.map_err(|error| (error, false))?;
        }
        if let (Some(books), Some(after)) = (books, self.after) {
            let sql = books.progress_sql(after);
            connection.execute_once(&sql).await.map_err(|e| match class_of(&e) {
                Class::Permanent => {
                    (Failure::Typed(bookkeeping("write the progress of tables without a key")(e)), false)
                }
                Class::Retry | Class::Elsewhere | Class::Lost => (failure(&sql, e), false),
            })?;
        }
        connection.commit().await.map_err(|e| (failure("COMMIT", e), true))?;
        Ok(())
    }
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    server_code(error) == Some(DUPLICATE_KEY)
}

enum Failure {
    Sql { place: Place, sql: String, source: sqlx::Error },
    Typed(Error),
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Failure::Sql { place, sql, source } => Error::statement(&place, &sql, source),
            Failure::Typed(error) => error,
        }
    }
}

impl Part {
    async fn run(&self, connection: &mut Connection, last: &Place, replacing: bool) -> Result<(), Failure> {
        match self {
            Part::Sql { sql, place, must } => {
                let found = connection.within(sql).await.map_err(|source| Failure::Sql {
                    place: place.clone(),
                    sql: sql.to_string(),
                    source,
                })?;
                if let Some((action, wanted)) = *must
                    && found != wanted
                {
                    let (place, statement) = (place.clone(), head(sql));
                    return Err(Failure::Typed(Error::RowNotFound {
                        place,
                        action,
                        wanted,
                        found,
                        statement,
                    }));
                }
            }
            Part::InDoubt { sql, place, action } => {
                let found = match connection.within(sql).await {
                    Err(error) if is_duplicate(&error) => 0,
                    result => result.map_err(|source| Failure::Sql {
                        place: place.clone(),
                        sql: sql.to_string(),
                        source,
                    })?,
                };
                if found == 0 {
                    tracing::warn!(%place, action, statement = head(sql), "left out: most likely another drainer has applied it before it was killed");
                    connection.left_out(LeftOut::Row);
                }
            }
            Part::Insert(statement) => {
                let over = if replacing { statement.over_duplicates() } else { None };
                let mut result = connection.within(over.as_ref().unwrap_or(&statement.sql)).await;
                if result.as_ref().is_err_and(is_duplicate)
                    && let Some(sql) = statement.over_duplicates()
                {
                    result = connection.within(&sql).await;
                }
                result.map_err(|source| Failure::Sql {
                    place: statement.place.clone(),
                    sql: statement.sql.to_string(),
                    source,
                })?;
            }
            Part::Step(step) => step.apply(connection, true).await.map_err(|(sql, source)| Failure::Sql {
                place: step.place.clone(),
                sql: sql.to_string(),
                source,
            })?,
            Part::Mass(mass) => match mass.run(connection).await {
                Ok(result) => result.map_err(Failure::Typed)?,
                Err((source, sql)) => {
                    let place = mass.place().unwrap_or_else(|| last.clone());
                    return Err(Failure::Sql { place, sql, source });
                }
            },
        }
        Ok(())
    }
}

/// The parts that apply a chunk of the lane.
///
/// # Errors
/// When a row's statement is longer than the server takes.
pub(super) fn parts(chunk: &[Ordered<'_>], limits: Limits) -> Result<Vec<Part>, Error> {
    let (doubtful, certain) =
        chunk.split_at(chunk.partition_point(|row| row.commit_ts <= limits.in_doubt_through));
    // Counts of rows say nothing of which of the changes were applied: one by one.
    let mut parts = ordered(doubtful, limits, true);
    parts.extend(match net(certain) {
        Some(counts) => counted(&counts, limits),
        None => ordered(certain, limits, false),
    });
    for part in &parts {
        if let Part::Sql { sql, place, .. } | Part::InDoubt { sql, place, .. } = part {
            fits(sql, place, limits.packet)?;
        }
    }
    Ok(parts)
}

/// Multi-row INSERTs of one table and one set of columns.
#[derive(Default)]
struct Parts {
    done: Vec<Part>,
    /// The INSERT that the next row may join.
    open: Option<Open>,
}

struct Open {
    layout: *const Layout,
    columns: Vec<usize>,
    sql: String,
    place: Place,
}

impl Parts {
    fn insert(&mut self, layout: &Arc<Layout>, row: &Row, commit_ts: CommitTs, bytes: usize) {
        let columns = layout.bound(row);
        let mut values = String::new();
        statement::push_values(&mut values, layout, &columns, row);
        match &mut self.open {
            Some(open)
                if open.layout == Arc::as_ptr(layout)
                    && open.columns == columns
                    && open.sql.len() + values.len() < bytes =>
            {
                open.sql.push(',');
                open.sql.push_str(&values);
                open.place.commit_ts = commit_ts;
            }
            _ => {
                self.close();
                let sql = statement::insert_head("INSERT", layout, &columns) + &values;
                let place = layout.place(commit_ts);
                self.open = Some(Open { layout: Arc::as_ptr(layout), columns, sql, place });
            }
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.done.push(Part::Sql { sql: Arc::new(open.sql), place: open.place, must: None });
        }
    }

    fn other(&mut self, part: Part) {
        self.close();
        self.done.push(part);
    }

    fn end(mut self) -> Vec<Part> {
        self.close();
        self.done
    }
}

fn counted(counts: &[Counted<'_>], limits: Limits) -> Vec<Part> {
    let mut parts = Parts::default();
    let gone = counts.iter().take_while(|c| c.change < 0).count();
    let (gone, come) = counts.split_at(gone);
    let mut tables: Vec<(&Arc<Layout>, Vec<&Counted<'_>>)> = Vec::new();
    for row in gone {
        match tables.iter_mut().find(|(layout, _)| Arc::ptr_eq(layout, &row.layout)) {
            Some((_, rows)) => rows.push(row),
            None => tables.push((&row.layout, vec![row])),
        }
    }
    for (layout, rows) in tables {
        for chunk in mass::cut(layout, &rows, limits) {
            match chunk {
                mass::Chunk::Together(mass) => parts.other(Part::Mass(mass)),
                mass::Chunk::Single(row, condition) => {
                    let copies = row.change.unsigned_abs();
                    let sql =
                        format!("DELETE FROM {} WHERE {condition} LIMIT {copies}", statement::table(layout));
                    let place = layout.place(row.commit_ts);
                    parts.other(Part::Sql { sql: Arc::new(sql), place, must: Some(("delete", copies)) });
                }
            }
        }
    }
    for row in come {
        for _ in 0..row.change.unsigned_abs() {
            parts.insert(&row.layout, row.row, row.commit_ts, limits.bytes);
        }
    }
    parts.end()
}

/// One statement a change: what some rows are, only the target knows.
fn ordered(rows: &[Ordered<'_>], limits: Limits, in_doubt: bool) -> Vec<Part> {
    let mut parts = Parts::default();
    for row in rows {
        let layout = &row.layout;
        let (sql, action) = match row.kind {
            ChangeKind::Insert(values) if in_doubt => {
                let columns = layout.bound(values);
                let mut sql = statement::insert_head("INSERT", layout, &columns);
                statement::push_values(&mut sql, layout, &columns, values);
                (sql, "insert")
            }
            ChangeKind::Insert(values) => {
                parts.insert(layout, values, row.commit_ts, limits.bytes);
                continue;
            }
            ChangeKind::Delete(values) => {
                let condition = statement::whole_row_condition(layout, values, limits.json_type);
                (format!("DELETE FROM {} WHERE {condition} LIMIT 1", statement::table(layout)), "delete")
            }
            ChangeKind::Update { before, after } => {
                let condition = statement::whole_row_condition(layout, before, limits.json_type);
                let set = statement::assignments(layout, after);
                (format!("UPDATE {} SET {set} WHERE {condition} LIMIT 1", statement::table(layout)), "update")
            }
        };
        let (sql, place) = (Arc::new(sql), layout.place(row.commit_ts));
        parts.other(if in_doubt {
            Part::InDoubt { sql, place, action }
        } else {
            Part::Sql { sql, place, must: Some((action, 1)) }
        });
    }
    parts.end()
}
