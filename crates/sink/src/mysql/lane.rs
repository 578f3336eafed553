//! Rows of tables without a key: one transaction after the other, with the progress in it.

use std::sync::Arc;

use binlog_catalog::{ChangeKind, Row};
use binlog_types::CommitTs;

use super::bookkeeping;
use super::connection::{Connection, Pause};
use super::state::State;
use crate::dml::batch::Ordered;
use crate::dml::multiset::{Counted, net};
use crate::dml::statement;
use crate::error::{Class, class_of, head};
use crate::layout::Layout;
use crate::{Error, Place};

/// Bounds of a transaction and of a statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// The server has a JSON type of its own.
    pub(super) json_type: bool,
}

/// Rows whose net effect is one transaction: more of them spare more searches for rows that change again and again.
const NET_ROWS: usize = 4000;

/// A statement of the lane, and what it must hit.
struct Step {
    sql: String,
    place: Place,
    /// `Some`: it must hit exactly so many rows.
    must: Option<(&'static str, u64)>,
}

/// Applies `rows` in their order.
pub(super) async fn run(
    connection: &mut Connection,
    rows: &[Ordered<'_>],
    mut state: Option<&mut State>,
    limits: Limits,
) -> Result<(), Error> {
    for chunk in rows.chunks(limits.rows.max(NET_ROWS)) {
        let Some(last) = chunk.last() else { continue };
        let steps = match net(chunk) {
            Some(counts) => counted_steps(&counts, limits),
            None => ordered_steps(chunk, limits),
        };
        let mut pause = Pause::default();
        loop {
            let Err((error, committing)) = transaction(connection, &steps, last, state.as_deref()).await
            else {
                break;
            };
            connection.rollback().await;
            let source = match error {
                Failure::Sql { source, .. } if class_of(&source) != Class::Permanent => source,
                other => return Err(other.into_error()),
            };
            if committing && class_of(&source) == Class::Lost {
                match state.as_deref_mut() {
                    // The row lock on the progress lets this wait for a commit that is still under way.
                    Some(state) => {
                        if state.read_progress(connection).await? >= last.after {
                            break;
                        }
                    }
                    None => {
                        return Err(Error::OutcomeUnknown {
                            place: last.layout.place(last.commit_ts),
                            source,
                        });
                    }
                }
            }
            if !pause.wait(&source).await {
                return Err(Error::statement(&last.layout.place(last.commit_ts), "COMMIT", source));
            }
        }
        if let Some(state) = state.as_deref_mut() {
            state.progressed(last.after);
        }
    }
    Ok(())
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

/// One downstream transaction; the flag says whether COMMIT had been sent.
async fn transaction(
    connection: &mut Connection,
    steps: &[Step],
    last: &Ordered<'_>,
    state: Option<&State>,
) -> Result<(), (Failure, bool)> {
    let place = || last.layout.place(last.commit_ts);
    let sql_failure = |sql: &str, source| Failure::Sql { place: place(), sql: sql.to_owned(), source };
    let begin = "START TRANSACTION";
    connection.begin().await.map_err(|e| (sql_failure(begin, e), false))?;
    for step in steps {
        let found = connection.execute_once(&step.sql).await.map_err(|source| {
            (Failure::Sql { place: step.place.clone(), sql: step.sql.clone(), source }, false)
        })?;
        if let Some((action, wanted)) = step.must
            && found != wanted
        {
            let (place, statement) = (step.place.clone(), head(&step.sql));
            let error = Error::RowNotFound { place, action, wanted, found, statement };
            return Err((Failure::Typed(error), false));
        }
    }
    if let Some(state) = state {
        let sql = state.progress_sql(last.after);
        connection.execute_once(&sql).await.map_err(|e| {
            let error = bookkeeping("write the progress of tables without a key");
            match class_of(&e) {
                Class::Permanent => (Failure::Typed(error(e)), false),
                Class::Retry | Class::Lost => (sql_failure(&sql, e), false),
            }
        })?;
    }
    connection.execute_once("COMMIT").await.map_err(|e| (sql_failure("COMMIT", e), true))?;
    Ok(())
}

/// Multi-row INSERTs of one table and one set of columns.
#[derive(Default)]
struct Inserts {
    steps: Vec<Step>,
    /// The columns of the last step, if it is an INSERT that the next row may join.
    open: Option<(*const Layout, Vec<usize>)>,
}

impl Inserts {
    fn insert(&mut self, layout: &Arc<Layout>, row: &Row, commit_ts: CommitTs, bytes: usize) {
        let wanted = (Arc::as_ptr(layout), layout.bound(row));
        let joined = self.open.as_ref() == Some(&wanted);
        match self.steps.last_mut() {
            Some(step) if joined && step.sql.len() < bytes => {
                step.sql.push(',');
                statement::push_values(&mut step.sql, layout, &wanted.1, row);
                step.place.commit_ts = commit_ts;
            }
            _ => {
                let mut sql = statement::insert_head("INSERT", layout, &wanted.1);
                statement::push_values(&mut sql, layout, &wanted.1, row);
                self.steps.push(Step { sql, place: layout.place(commit_ts), must: None });
                self.open = Some(wanted);
            }
        }
    }

    fn other(&mut self, step: Step) {
        self.steps.push(step);
        self.open = None;
    }
}

fn counted_steps(counts: &[Counted<'_>], limits: Limits) -> Vec<Step> {
    let mut inserts = Inserts::default();
    for counted in counts {
        let layout = &counted.layout;
        let copies = counted.change.unsigned_abs();
        if counted.change < 0 {
            let condition = statement::whole_row_condition(layout, counted.row, limits.json_type);
            let sql = format!("DELETE FROM {} WHERE {condition} LIMIT {copies}", statement::table(layout));
            inserts.other(Step {
                sql,
                place: layout.place(counted.commit_ts),
                must: Some(("delete", copies)),
            });
        } else {
            for _ in 0..copies {
                inserts.insert(layout, counted.row, counted.commit_ts, limits.bytes);
            }
        }
    }
    inserts.steps
}

/// One statement a change: what some rows are, only the target knows.
fn ordered_steps(rows: &[Ordered<'_>], limits: Limits) -> Vec<Step> {
    let mut inserts = Inserts::default();
    for row in rows {
        let layout = &row.layout;
        let (sql, action) = match row.kind {
            ChangeKind::Insert(values) => {
                inserts.insert(layout, values, row.commit_ts, limits.bytes);
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
        inserts.other(Step { sql, place: layout.place(row.commit_ts), must: Some((action, 1)) });
    }
    inserts.steps
}
