//! Rows of tables without a key: one after the other, with the progress in the same transaction.

use binlog_catalog::ChangeKind;

use super::bookkeeping;
use super::connection::{Connection, Pause};
use super::state::State;
use crate::Error;
use crate::dml::batch::Ordered;
use crate::dml::statement;
use crate::error::{Class, class_of, head};

/// Bounds of a transaction and of a statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// The server has a JSON type of its own.
    pub(super) json_type: bool,
}

/// A statement of the lane, and what it must hit.
struct Step<'a> {
    sql: String,
    row: &'a Ordered<'a>,
    /// `Some`: it must hit exactly one row.
    single: Option<&'static str>,
}

/// Applies `rows` in their order.
pub(super) async fn run(
    connection: &mut Connection,
    rows: &[Ordered<'_>],
    mut state: Option<&mut State>,
    limits: Limits,
) -> Result<(), Error> {
    for chunk in rows.chunks(limits.rows) {
        let Some(last) = chunk.last() else { continue };
        let steps = steps(chunk, limits);
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
    Sql { place: crate::Place, sql: String, source: sqlx::Error },
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
    steps: &[Step<'_>],
    last: &Ordered<'_>,
    state: Option<&State>,
) -> Result<(), (Failure, bool)> {
    let place = || last.layout.place(last.commit_ts);
    let sql_failure = |sql: &str, source| Failure::Sql { place: place(), sql: sql.to_owned(), source };
    let begin = "START TRANSACTION";
    connection.execute_once(begin).await.map_err(|e| (sql_failure(begin, e), false))?;
    for step in steps {
        let place = step.row.layout.place(step.row.commit_ts);
        let found = connection.execute_once(&step.sql).await.map_err(|source| {
            (Failure::Sql { place: place.clone(), sql: step.sql.clone(), source }, false)
        })?;
        if let Some(action) = step.single
            && found != 1
        {
            let statement = head(&step.sql);
            return Err((Failure::Typed(Error::RowNotFound { place, action, found, statement }), false));
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

fn steps<'a>(rows: &'a [Ordered<'a>], limits: Limits) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    // The insert that the next row may still join: its columns.
    let mut open: Option<Vec<usize>> = None;
    for row in rows {
        let layout = &*row.layout;
        match row.kind {
            ChangeKind::Insert(values) => {
                let columns = layout.bound(values);
                let joined = match (steps.last_mut(), &open) {
                    (Some(step), Some(bound))
                        if *bound == columns
                            && std::sync::Arc::ptr_eq(&step.row.layout, &row.layout)
                            && step.sql.len() < limits.bytes =>
                    {
                        step.sql.push(',');
                        statement::push_values(&mut step.sql, layout, &columns, values);
                        step.row = row;
                        true
                    }
                    _ => false,
                };
                if !joined {
                    let mut sql = statement::insert_head("INSERT", layout, &columns);
                    statement::push_values(&mut sql, layout, &columns, values);
                    steps.push(Step { sql, row, single: None });
                    open = Some(columns);
                }
            }
            ChangeKind::Delete(values) => {
                let condition = statement::whole_row_condition(layout, values, limits.json_type);
                let sql = format!("DELETE FROM {} WHERE {condition} LIMIT 1", statement::table(layout));
                steps.push(Step { sql, row, single: Some("delete") });
                open = None;
            }
            ChangeKind::Update { before, after } => {
                let condition = statement::whole_row_condition(layout, before, limits.json_type);
                let set = statement::assignments(layout, after);
                let sql = format!("UPDATE {} SET {set} WHERE {condition} LIMIT 1", statement::table(layout));
                steps.push(Step { sql, row, single: Some("update") });
                open = None;
            }
        }
    }
    steps
}
