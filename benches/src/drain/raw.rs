//! The raw loader: ready-made multi-row INSERTs, as fast as the database takes them.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use binlog_testkit::Mariadb;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

/// Loads the rows of `sb.bulk` once more into a table of the same make; rows a second.
pub(super) async fn mysql(server: &Mariadb, batch: usize, connections: usize) -> anyhow::Result<f64> {
    let connect = || {
        let options = MySqlConnectOptions::new().host("127.0.0.1").port(server.port()).username("root");
        options.charset("utf8mb4").ssl_mode(MySqlSslMode::Preferred).disable_statement_logging()
    };
    let mut first = connect().connect().await?;
    let columns = "SELECT COLUMN_NAME FROM information_schema.columns WHERE table_schema = 'sb' AND table_name = 'bulk' ORDER BY ordinal_position";
    let names: Vec<String> = sqlx::query_scalar(columns).fetch_all(&mut first).await?;
    let list: Vec<String> = names.iter().map(|name| format!("CAST(`{name}` AS CHAR)")).collect();
    let quoted = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(",");
    let select = format!("SELECT {} FROM sb.bulk ORDER BY 1", list.join(","));
    let mut rows = Vec::new();
    for row in sqlx::raw_sql(AssertSqlSafe(select)).fetch_all(&mut first).await? {
        let values: Vec<Option<String>> =
            (0..names.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>()?;
        rows.push(values);
    }
    let statements = statements(&rows, batch, &format!("INSERT INTO raw.bulk ({quoted}) VALUES "));
    let count = rows.len();
    drop(rows);
    sqlx::raw_sql("CREATE DATABASE raw; CREATE TABLE raw.bulk LIKE sb.bulk").execute(&mut first).await?;
    let mut workers: Vec<MySqlConnection> = Vec::new();
    for _ in 0..connections {
        workers.push(connect().connect().await?);
    }
    let queue = Arc::new(Mutex::new(VecDeque::from(statements)));
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut connection in workers {
        let queue = Arc::clone(&queue);
        tasks.spawn(async move {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(sql) = next else { return Ok::<(), sqlx::Error>(()) };
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let speed = count as f64 / begun.elapsed().as_secs_f64();
    let same = sqlx::raw_sql("CHECKSUM TABLE sb.bulk, raw.bulk").fetch_all(&mut first).await?;
    let sums: Vec<i64> = same.iter().map(|row| row.try_get(1)).collect::<Result<_, _>>()?;
    anyhow::ensure!(sums.windows(2).all(|w| w.first() == w.last()), "the copies differ: {sums:?}");
    Ok(speed)
}

/// The same for a SQLite file: one connection, a COMMIT every [`SQLITE_COMMIT`] rows.
pub(super) async fn sqlite(path: &Path, batch: usize) -> anyhow::Result<f64> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info('sb.bulk') ORDER BY cid")
        .fetch_all(&mut connection)
        .await?;
    let list: Vec<String> = names.iter().map(|name| format!("CAST(\"{name}\" AS TEXT)")).collect();
    let select = format!("SELECT {} FROM \"sb.bulk\"", list.join(","));
    let mut rows = Vec::new();
    for row in sqlx::raw_sql(AssertSqlSafe(select)).fetch_all(&mut connection).await? {
        let values: Vec<Option<String>> =
            (0..names.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>()?;
        rows.push(values);
    }
    let create: Vec<String> = sqlx::query_scalar(
        "SELECT replace(sql, 'sb.bulk', 'raw.bulk') FROM sqlite_master WHERE tbl_name = 'sb.bulk' AND sql IS NOT NULL",
    )
    .fetch_all(&mut connection)
    .await?;
    for sql in create {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .context("make the raw loader's table")?;
    }
    let count = rows.len();
    let statements = statements(&rows, batch, "INSERT INTO \"raw.bulk\" VALUES ");
    drop(rows);
    let begun = Instant::now();
    for chunk in statements.chunks((SQLITE_COMMIT / batch.max(1)).max(1)) {
        sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
        for sql in chunk {
            sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut connection).await?;
        }
        sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
    }
    let speed = count as f64 / begun.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(speed)
}

/// Rows of a transaction of the raw loader into SQLite: about what lies in a batch of the stream.
const SQLITE_COMMIT: usize = 20_000;

/// Numbers stand bare; text is doubled-quoted, which both databases take.
fn statements(rows: &[Vec<Option<String>>], batch: usize, head: &str) -> Vec<String> {
    let mut out = Vec::new();
    for chunk in rows.chunks(batch.max(1)) {
        let mut sql = head.to_owned();
        for (at, row) in chunk.iter().enumerate() {
            sql.push_str(if at == 0 { "(" } else { ",(" });
            for (at, value) in row.iter().enumerate() {
                if at > 0 {
                    sql.push(',');
                }
                match value {
                    None => sql.push_str("NULL"),
                    Some(number) if number.len() < 19 && number.parse::<i64>().is_ok() => {
                        sql.push_str(number)
                    }
                    Some(text) => {
                        sql.push('\'');
                        sql.push_str(&text.replace('\'', "''").replace('\\', "\\\\"));
                        sql.push('\'');
                    }
                }
            }
            sql.push(')');
        }
        out.push(sql);
    }
    out
}
