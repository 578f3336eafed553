//! Rows into a SQLite file: prepared statements of one shape, many rows each.

use binlog_catalog::{ChangeKind, Row};
use binlog_types::CommitTs;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Row as _};

use super::value::bind;
use crate::Error;
use crate::ddl::row_id;
use crate::dml::batch::{Batch, Keyed, Ordered};
use crate::dml::filler::filled;
use crate::dml::fold::Net;
use crate::dml::multiset::{Counted, net};
use crate::error::head;
use crate::layout::Layout;
use crate::names::{double_quote, sqlite_table};

/// Bound values a statement; SQLite's own limit is 32 766.
const VALUES: usize = 4000;

/// Writes a batch; to be run inside a transaction.
pub(super) async fn write(connection: &mut SqliteConnection, batch: &Batch<'_>) -> Result<(), Error> {
    for table in &batch.keyed {
        match table {
            Keyed::Net(folded) => {
                delete(connection, &folded.layout, &folded.deletes).await?;
                put(connection, &folded.layout, &folded.puts).await?;
            }
            Keyed::Steps(steps) => {
                for row in steps {
                    step(connection, row).await?;
                }
            }
        }
    }
    match net(&batch.lane) {
        Some(counts) => {
            for counted in &counts {
                change_count(connection, counted).await?;
            }
        }
        None => {
            for row in &batch.lane {
                step(connection, row).await?;
            }
        }
    }
    Ok(())
}

/// Inserts or deletes copies of a row.
async fn change_count(connection: &mut SqliteConnection, counted: &Counted<'_>) -> Result<(), Error> {
    let (layout, row) = (&*counted.layout, counted.row);
    let wanted = counted.change.unsigned_abs();
    if counted.change > 0 {
        let columns = layout.bound(row);
        let sql = insert("INSERT", layout, &columns, 1);
        for _ in 0..wanted {
            run(connection, layout, counted.commit_ts, &sql, &[(&columns, row)]).await?;
        }
        return Ok(());
    }
    let (condition, by) = condition(layout, row, wanted);
    let sql = format!("DELETE FROM {} WHERE {condition}", table(layout));
    let found = run(connection, layout, counted.commit_ts, &sql, &[(&by, row)]).await?;
    if found != wanted {
        let (place, statement) = (layout.place(counted.commit_ts), head(&sql));
        return Err(Error::RowNotFound { place, action: "delete", wanted, found, statement });
    }
    Ok(())
}

fn table(layout: &Layout) -> String {
    sqlite_table(&layout.table.schema, &layout.table.table.name)
}

fn name(layout: &Layout, at: usize) -> String {
    layout.table.table.columns.get(at).map(|c| double_quote(&c.name)).unwrap_or_default()
}

fn names(layout: &Layout, columns: &[usize]) -> String {
    columns.iter().map(|at| name(layout, *at)).collect::<Vec<_>>().join(",")
}

/// `(?,?),(?,?)`.
fn marks(rows: usize, columns: usize) -> String {
    let one = format!("({})", vec!["?"; columns].join(","));
    vec![one; rows].join(",")
}

type Bound<'q> = Query<'q, Sqlite, SqliteArguments>;

fn bind_columns<'q>(mut query: Bound<'q>, layout: &Layout, columns: &[usize], row: &Row) -> Bound<'q> {
    for at in columns {
        if let Some(column) = layout.table.table.columns.get(*at) {
            query = bind(query, row.get(*at).and_then(Option::as_ref), column);
        }
    }
    query
}

async fn run(
    connection: &mut SqliteConnection,
    layout: &Layout,
    commit_ts: CommitTs,
    sql: &str,
    rows: &[(&[usize], &Row)],
) -> Result<u64, Error> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    for (columns, row) in rows {
        query = bind_columns(query, layout, columns, row);
    }
    let done = query.execute(connection).await;
    done.map(|d| d.rows_affected()).map_err(|source| Error::statement(&layout.place(commit_ts), sql, source))
}

async fn delete(
    connection: &mut SqliteConnection,
    layout: &Layout,
    deletes: &[Net<'_>],
) -> Result<(), Error> {
    let key = layout.key.clone().unwrap_or_default();
    for chunk in deletes.chunks((VALUES / key.len().max(1)).max(1)) {
        let Some(last) = chunk.last() else { continue };
        let (names, marks) = (names(layout, &key), marks(chunk.len(), key.len()));
        let sql = format!("DELETE FROM {} WHERE ({names}) IN (VALUES {marks})", table(layout));
        let rows: Vec<(&[usize], &Row)> = chunk.iter().map(|net| (key.as_slice(), net.key_row)).collect();
        run(connection, layout, last.commit_ts, &sql, &rows).await?;
    }
    Ok(())
}

async fn put(connection: &mut SqliteConnection, layout: &Layout, puts: &[Net<'_>]) -> Result<(), Error> {
    let most = (VALUES / layout.writable.len().max(1)).max(1);
    let rows: Vec<(CommitTs, &Row)> = puts.iter().filter_map(|net| Some((net.commit_ts, net.row?))).collect();
    for chunk in rows.chunk_by(|(_, a), (_, b)| layout.bound(a) == layout.bound(b)) {
        let Some((_, first)) = chunk.first() else { continue };
        let columns = layout.bound(first);
        for chunk in chunk.chunks(most) {
            let Some((commit_ts, _)) = chunk.last() else { continue };
            let sql = insert("INSERT OR REPLACE", layout, &columns, chunk.len());
            let rows: Vec<(&[usize], &Row)> =
                chunk.iter().map(|(_, row)| (columns.as_slice(), *row)).collect();
            run(connection, layout, *commit_ts, &sql, &rows).await?;
        }
    }
    Ok(())
}

fn insert(verb: &str, layout: &Layout, columns: &[usize], rows: usize) -> String {
    if columns.is_empty() {
        return format!("{verb} INTO {} DEFAULT VALUES", table(layout));
    }
    format!(
        "{verb} INTO {} ({}) VALUES {}",
        table(layout),
        names(layout, columns),
        marks(rows, columns.len())
    )
}

/// One change by itself: in a table without a key it must hit exactly one row.
async fn step(connection: &mut SqliteConnection, step: &Ordered<'_>) -> Result<(), Error> {
    let layout = &*step.layout;
    let keyed = layout.key.is_some();
    let (action, found, sql) = match step.kind {
        ChangeKind::Insert(row) => {
            let row = &filled(layout, row, step.after);
            let columns = layout.bound(row);
            let verb = if keyed { "INSERT OR REPLACE" } else { "INSERT" };
            let sql = insert(verb, layout, &columns, 1);
            run(connection, layout, step.commit_ts, &sql, &[(&columns, row)]).await?;
            return Ok(());
        }
        ChangeKind::Delete(row) => {
            let (condition, by) = condition(layout, row, 1);
            let sql = format!("DELETE FROM {} WHERE {condition}", table(layout));
            ("delete", run(connection, layout, step.commit_ts, &sql, &[(&by, row)]).await?, sql)
        }
        ChangeKind::Update { before, after } => {
            let columns = layout.bound(after);
            let set: Vec<String> = columns.iter().map(|at| format!("{} = ?", name(layout, *at))).collect();
            let (condition, by) = condition(layout, before, 1);
            // In a table with a key, an older state of another row may stand in the way.
            let verb = if keyed { "UPDATE OR REPLACE" } else { "UPDATE" };
            let sql = format!("{verb} {} SET {} WHERE {condition}", table(layout), set.join(","));
            (
                "update",
                run(connection, layout, step.commit_ts, &sql, &[(&columns, after), (&by, before)]).await?,
                sql,
            )
        }
    };
    if found != 1 && !keyed {
        let statement = head(&sql);
        return Err(Error::RowNotFound {
            place: layout.place(step.commit_ts),
            action,
            wanted: 1,
            found,
            statement,
        });
    }
    Ok(())
}

/// How many rows equal one of `rows` in every column that it binds.
pub(crate) async fn count(
    connection: &mut SqliteConnection,
    layout: &Layout,
    rows: &[&Row],
) -> Result<u64, Error> {
    let most = (VALUES / layout.writable.len().max(1)).max(1);
    let mut found = 0;
    for chunk in rows.chunks(most) {
        let conditions: Vec<String> =
            chunk.iter().map(|row| format!("({})", equal(layout, &layout.bound(row)))).collect();
        let sql = format!("SELECT COUNT(*) FROM {} WHERE {}", table(layout), conditions.join(" OR "));
        let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
        for row in chunk {
            query = bind_columns(query, layout, &layout.bound(row), row);
        }
        let row = query.fetch_one(&mut *connection).await;
        let count = row.and_then(|row| row.try_get::<i64, _>(0));
        let count = count.map_err(|source| Error::Query { statement: head(&sql), source })?;
        found += u64::try_from(count).unwrap_or(0);
    }
    Ok(found)
}

/// Holds for rows that have the bound values in these columns.
fn equal(layout: &Layout, columns: &[usize]) -> String {
    if columns.is_empty() {
        return "1".to_owned();
    }
    columns.iter().map(|at| format!("{} IS ?", name(layout, *at))).collect::<Vec<_>>().join(" AND ")
}

/// What finds a row, or so many copies of it, and the columns whose values it takes.
fn condition(layout: &Layout, row: &Row, copies: u64) -> (String, Vec<usize>) {
    match &layout.key {
        Some(key) if layout.binds_key(row) => (equal(layout, key), key.clone()),
        // Without a key, or where that is not in the row.
        _ => {
            let columns = layout.bound(row);
            let id = row_id(&layout.table.table).unwrap_or("rowid");
            let all = equal(layout, &columns);
            (format!("{id} IN (SELECT {id} FROM {} WHERE {all} LIMIT {copies})", table(layout)), columns)
        }
    }
}
