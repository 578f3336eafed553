//! Many rows of a table without a key deleted in a few passes over the table, not one pass a row.
//!
//! Every copy of the row that the target holds matches; so first the copies are counted, in the same transaction. Where there are
//! exactly as many as are to go, one DELETE takes the rows together; where there are more, a DELETE with a LIMIT takes its share.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use binlog_catalog::Value;
use sqlx::Row as _;

use super::connection::Connection;
use super::lane::Limits;
use crate::dml::multiset::Counted;
use crate::dml::statement;
use crate::error::head;
use crate::layout::Layout;
use crate::names::backtick;
use crate::{Error, Place, literal};

/// Rows one pass looks for.
const ROWS: usize = 256;
/// Fewer are not worth a count.
const WORTH: usize = 4;

/// Rows to delete, as they are best looked for.
#[derive(Debug)]
pub(super) enum Chunk<'a> {
    Together(Mass),
    /// By itself, with its condition.
    Single(&'a Counted<'a>, String),
}

/// Cuts `rows` of one table so that no statement gets too long.
pub(super) fn cut<'a>(layout: &Arc<Layout>, rows: &[&'a Counted<'a>], limits: Limits) -> Vec<Chunk<'a>> {
    let mut chunks = Vec::new();
    let mut open: Vec<(&'a Counted<'a>, String)> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let condition = statement::whole_row_condition(layout, row.row, limits.json_type);
        // Its values stand in the list that narrows the rows down, too.
        let length = 2 * condition.len();
        if open.len() >= ROWS || bytes + length > limits.bytes {
            close(layout, std::mem::take(&mut open), &mut chunks);
            bytes = 0;
        }
        bytes += length;
        open.push((row, condition));
    }
    close(layout, open, &mut chunks);
    chunks
}

fn close<'a>(layout: &Arc<Layout>, open: Vec<(&'a Counted<'a>, String)>, chunks: &mut Vec<Chunk<'a>>) {
    if open.len() >= WORTH {
        chunks.push(Chunk::Together(Mass::new(layout, open)));
    } else {
        chunks.extend(open.into_iter().map(|(row, condition)| Chunk::Single(row, condition)));
    }
}

/// One row to delete.
#[derive(Debug)]
struct Doomed {
    condition: String,
    copies: u64,
    place: Place,
}

/// Rows of one table to delete, with what narrows them down.
#[derive(Debug)]
pub(super) struct Mass {
    table: String,
    /// A condition that all of them meet and few others do; empty: none was found.
    narrow: String,
    rows: Vec<Doomed>,
}

impl Mass {
    fn new(layout: &Arc<Layout>, rows: Vec<(&Counted<'_>, String)>) -> Self {
        let narrow = narrow(layout, &rows.iter().map(|(counted, _)| *counted).collect::<Vec<_>>());
        let rows = rows.into_iter().map(|(counted, condition)| Doomed {
            condition,
            copies: counted.change.unsigned_abs(),
            place: layout.place(counted.commit_ts),
        });
        Mass { table: statement::table(layout), narrow, rows: rows.collect() }
    }

    /// Of the last row.
    pub(super) fn place(&self) -> Option<Place> {
        self.rows.last().map(|row| row.place.clone())
    }

    /// Deletes them; to be run in a transaction. Outer error: the statement failed. Inner: the rows are not as they should be.
    pub(super) async fn run(
        &self,
        connection: &mut Connection,
    ) -> Result<Result<(), Error>, (sqlx::Error, String)> {
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let mut count = String::from("SELECT CAST(CASE");
        for (number, row) in self.rows.iter().enumerate() {
            let _ = write!(count, " WHEN {} THEN {number}", row.condition);
        }
        let _ = write!(
            count,
            " END AS UNSIGNED), CAST(COUNT(*) AS UNSIGNED) FROM {} WHERE {} GROUP BY 1",
            self.table,
            self.condition(&all)
        );
        let mut found = vec![0u64; self.rows.len()];
        let rows = connection.fetch_long(&count).await.map_err(|e| (e, count.clone()))?;
        for row in rows {
            let read = |at: usize| row.try_get::<Option<u64>, _>(at).map_err(|e| (e, count.clone()));
            if let (Some(number), Some(copies)) = (read(0)?, read(1)?)
                && let Some(slot) = usize::try_from(number).ok().and_then(|n| found.get_mut(n))
            {
                *slot = copies;
            }
        }
        let mut together = Vec::new();
        let mut wanted = 0;
        for (number, (row, found)) in self.rows.iter().zip(found).enumerate() {
            if found == row.copies {
                together.push(number);
                wanted += found;
                continue;
            }
            let sql = format!("DELETE FROM {} WHERE {} LIMIT {}", self.table, row.condition, row.copies);
            let hit = if found < row.copies {
                found
            } else {
                connection.execute_long(&sql).await.map_err(|e| (e, sql.clone()))?
            };
            if hit != row.copies {
                return Ok(Err(not_found(&row.place, row.copies, hit, &sql)));
            }
        }
        if !together.is_empty() {
            let sql = format!("DELETE FROM {} WHERE {}", self.table, self.condition(&together));
            let hit = connection.execute_long(&sql).await.map_err(|e| (e, sql.clone()))?;
            if let Some(last) = self.rows.last()
                && hit != wanted
            {
                return Ok(Err(not_found(&last.place, wanted, hit, &sql)));
            }
        }
        Ok(Ok(()))
    }

    fn condition(&self, rows: &[usize]) -> String {
        let mut out = self.narrow.clone();
        let mut first = true;
        for row in rows.iter().filter_map(|at| self.rows.get(*at)) {
            out.push_str(if first { "(" } else { " OR " });
            let _ = write!(out, "({})", row.condition);
            first = false;
        }
        out.push(')');
        out
    }
}

fn not_found(place: &Place, wanted: u64, found: u64, sql: &str) -> Error {
    Error::RowNotFound { place: place.clone(), action: "delete", wanted, found, statement: head(sql) }
}

/// `` (`a`,`b`) IN (…) AND `` over the columns whose values differ most; every row's own condition says the same of them. Servers sort
/// such a list and search it, so that rows that are not meant cost little.
fn narrow(layout: &Layout, counted: &[&Counted<'_>]) -> String {
    let mut columns: Vec<(usize, Vec<String>)> = Vec::new();
    for column in layout.writable.iter().filter_map(|at| layout.table.table.columns.get(*at)) {
        let literals: Option<Vec<String>> = counted
            .iter()
            .map(|c| match c.row.get(column.offset) {
                Some(Some(Value::Null | Value::Json(_) | Value::Float(_) | Value::Double(_)) | None)
                | None => None,
                Some(Some(Value::Text(bytes) | Value::Bytes(bytes))) if bytes.len() > 64 => None,
                Some(Some(value)) => {
                    let mut text = String::new();
                    literal::push_mysql(&mut text, value, column);
                    Some(text)
                }
            })
            .collect();
        columns.extend(literals.map(|literals| (column.offset, literals)));
    }
    let distinct = |literals: &[String]| literals.iter().collect::<HashSet<_>>().len();
    columns.sort_by_key(|(at, literals)| (std::cmp::Reverse(distinct(literals)), *at));
    columns.truncate(NARROW_COLUMNS);
    if columns.is_empty() {
        return String::new();
    }
    let names: Vec<String> = columns
        .iter()
        .filter_map(|(at, _)| layout.table.table.columns.get(*at))
        .map(|column| backtick(&column.name))
        .collect();
    let tuple = |row: usize| {
        let values: Vec<&str> = columns.iter().filter_map(|(_, l)| l.get(row)).map(String::as_str).collect();
        format!("({})", values.join(","))
    };
    let tuples: BTreeSet<String> = (0..counted.len()).map(tuple).collect();
    let tuples: Vec<String> = tuples.into_iter().collect();
    format!("({}) IN ({}) AND ", names.join(","), tuples.join(","))
}

/// Columns of the list that narrows the rows down.
const NARROW_COLUMNS: usize = 3;
