//! Rows of a table into the table that takes its place, in the types that it has.

use binlog_catalog::{Column, Value};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::value::{Raw, bind};
use crate::ddl::{Copy, Source};
use crate::names::double_quote;
use crate::{Error, Place};

/// Rows that are in memory at once.
const ROWS: usize = 500;

/// Copies all rows; to be run inside a transaction.
pub(super) async fn run(connection: &mut SqliteConnection, copy: &Copy, place: &Place) -> Result<(), Error> {
    let names: Vec<String> = copy.columns.iter().map(|(column, _)| double_quote(&column.name)).collect();
    let head = format!("INSERT INTO {} ({})", copy.to, names.join(","));
    if copy.casts() {
        return by_rows(connection, copy, &head, place).await;
    }
    let sources: Vec<String> = copy.columns.iter().map(|(_, source)| selected(source)).collect();
    let sql = format!("{head} SELECT {} FROM {}", sources.join(","), copy.from);
    let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
    for (column, source) in &copy.columns {
        query = match source {
            Source::Same(_, Some(value)) | Source::Value(value) => bind(query, Some(value), column),
            Source::Same(_, None) | Source::Cast(..) => query,
        };
    }
    let done = query.execute(connection).await;
    done.map(drop).map_err(|source| Error::statement(place, &sql, source))
}

fn selected(source: &Source) -> String {
    match source {
        Source::Same(name, None) | Source::Cast(name, _) => name.clone(),
        Source::Same(name, Some(_)) => format!("coalesce({name},?)"),
        Source::Value(_) => "?".to_owned(),
    }
}

/// Reads the rows page by page, and writes each in its new types.
async fn by_rows(
    connection: &mut SqliteConnection,
    copy: &Copy,
    head: &str,
    place: &Place,
) -> Result<(), Error> {
    let read: Vec<&str> = copy
        .columns
        .iter()
        .filter_map(|(_, source)| match source {
            Source::Same(name, _) | Source::Cast(name, _) => Some(name.as_str()),
            Source::Value(_) => None,
        })
        .collect();
    let insert = format!("{head} VALUES ({})", vec!["?"; copy.columns.len()].join(","));
    let id = copy.row_id.unwrap_or("0");
    let select = format!("SELECT {id},{} FROM {}", read.join(","), copy.from);
    // By row id a page is found at once; where columns have taken its names, by counting.
    let (first, next) = match copy.row_id {
        Some(id) => (
            format!("{select} ORDER BY {id} LIMIT {ROWS}"),
            format!("{select} WHERE {id} > ? ORDER BY {id} LIMIT {ROWS}"),
        ),
        None => (format!("{select} LIMIT {ROWS}"), format!("{select} LIMIT {ROWS} OFFSET ?")),
    };
    let mut after: Option<i64> = None;
    loop {
        let sql = if after.is_some() { &next } else { &first };
        let failed = |source| Error::statement(place, sql, source);
        let query = sqlx::query(AssertSqlSafe(sql.clone()));
        let query = if let Some(after) = after { query.bind(after) } else { query };
        let rows = query.fetch_all(&mut *connection).await.map_err(failed)?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = match copy.row_id {
            Some(_) => Some(last.try_get(0).map_err(failed)?),
            None => Some(after.unwrap_or(0) + rows.len() as i64),
        };
        for row in &rows {
            let mut query = sqlx::query(AssertSqlSafe(insert.clone()));
            // The row id stands in front.
            let mut at = 0;
            for (column, source) in &copy.columns {
                if let Source::Value(value) = source {
                    query = bind(query, Some(value), column);
                    continue;
                }
                at += 1;
                let raw = Raw::of(row, at).map_err(failed)?;
                query = match (source, raw) {
                    (Source::Same(_, filler), Raw::Null) => bind(query, filler.as_ref(), column),
                    (Source::Cast(_, old), raw) => {
                        bind(query, Some(&cast(raw, old, column, copy, place)?), column)
                    }
                    (_, raw) => raw.bind(query),
                };
            }
            let done = query.execute(&mut *connection).await;
            done.map_err(|source| Error::statement(place, &insert, source))?;
        }
    }
}

fn cast(raw: Raw, old: &Column, new: &Column, copy: &Copy, place: &Place) -> Result<Value, Error> {
    let value = raw.value(old).and_then(|value| old.cast(&value, new, copy.zone.as_ref()));
    match value {
        Ok(Value::Null) if new.ty.is_not_null() => Ok(new.zero()),
        Ok(value) => Ok(value),
        Err(source) => Err(Error::Unfitting { place: place.clone(), source: Box::new(source) }),
    }
}
