//! SQLite files held against what the workload expects.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use binlog_workload::{RowHasher, Snapshot, TableDigest};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

/// One table: what it should hold and what it holds; `None`: there is no such table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableResult {
    pub(crate) name: String,
    pub(crate) expected: TableDigest,
    pub(crate) found: Option<TableDigest>,
}

/// All tables of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comparison(Vec<TableResult>);

impl Comparison {
    /// Whether every table holds exactly the rows that it should.
    pub(crate) fn equal(&self) -> bool {
        self.0.iter().all(|t| t.found == Some(t.expected))
    }

    /// Whether none of the tables is there.
    pub(crate) fn gone(&self) -> bool {
        self.0.iter().all(|t| t.found.is_none())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "    {:<16} {:>9} {:>9}   {:<18} {:<18}",
            "table", "expected", "found", "expected digest", "found digest"
        )?;
        for table in &self.0 {
            let short = |digest: TableDigest| format!("{digest:.16}…", digest = digest.to_string());
            let found = table.found.map_or_else(|| "none".to_owned(), |d| d.rows.to_string());
            let digest = table.found.map_or_else(String::new, short);
            let verdict = match table.found {
                Some(found) if found == table.expected => "equal",
                Some(_) => "DIFFERENT",
                None => "GONE",
            };
            write!(
                f,
                "\n    {:<16} {:>9} {found:>9}   {:<18} {digest:<18} {verdict}",
                table.name,
                table.expected.rows,
                short(table.expected)
            )?;
        }
        Ok(())
    }
}

/// Reads the tables of `snapshot` from a SQLite file.
pub(crate) async fn compare(path: &Path, snapshot: &Snapshot) -> anyhow::Result<Comparison> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(30))
        .disable_statement_logging();
    let mut connection = options.connect().await.with_context(|| format!("open {}", path.display()))?;
    // One transaction: all tables at one moment, though somebody may be writing.
    let mut reading = connection.begin().await?;
    let mut tables = Vec::new();
    for (name, expected) in &snapshot.tables {
        let found =
            digest(&mut reading, name).await.with_context(|| format!("read {name} of {}", path.display()))?;
        tables.push(TableResult { name: name.clone(), expected: *expected, found });
    }
    reading.rollback().await?;
    connection.close().await?;
    Ok(Comparison(tables))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn digest(connection: &mut SqliteConnection, table: &str) -> anyhow::Result<Option<TableDigest>> {
    let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?) ORDER BY cid")
        .bind(table)
        .fetch_all(&mut *connection)
        .await?;
    if columns.is_empty() {
        return Ok(None);
    }
    let mut list = String::new();
    for column in &columns {
        let separator = if list.is_empty() { "" } else { ", " };
        write!(list, "{separator}CAST({} AS TEXT)", quoted(column))?;
    }
    let sql = format!("SELECT {list} FROM {}", quoted(table));
    let mut digest = TableDigest::default();
    for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await? {
        let mut hasher = RowHasher::new();
        for at in 0..columns.len() {
            let text: Option<String> = row.try_get(at)?;
            hasher.column(text.as_deref().map(str::as_bytes));
        }
        digest.add(hasher);
    }
    Ok(Some(digest))
}

#[cfg(test)]
mod tests {
    use binlog_types::Ts;

    use super::*;

    async fn file(path: &Path, statements: &[&'static str]) {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        for statement in statements {
            sqlx::query(*statement).execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
    }

    fn snapshot(rows: &[&[Option<&str>]]) -> Snapshot {
        let mut digest = TableDigest::default();
        for row in rows {
            let mut hasher = RowHasher::new();
            row.iter().for_each(|text| hasher.column(text.map(str::as_bytes)));
            digest.add(hasher);
        }
        Snapshot { ts: Ts::ZERO, tables: [("a.t".to_owned(), digest)].into() }
    }

    #[tokio::test]
    async fn a_file_is_equal_different_or_without_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sqlite");
        file(
            &path,
            &[
                "CREATE TABLE \"a.t\"(id INTEGER PRIMARY KEY, v TEXT)",
                "INSERT INTO \"a.t\" VALUES (1, 'x'), (2, NULL)",
            ],
        )
        .await;
        let equal = compare(&path, &snapshot(&[&[Some("2"), None], &[Some("1"), Some("x")]])).await.unwrap();
        assert!(equal.equal() && !equal.gone(), "{equal}");
        let different =
            compare(&path, &snapshot(&[&[Some("2"), Some("")], &[Some("1"), Some("x")]])).await.unwrap();
        assert!(!different.equal() && different.to_string().contains("DIFFERENT"), "{different}");
        file(&path, &["DROP TABLE \"a.t\""]).await;
        let gone = compare(&path, &snapshot(&[])).await.unwrap();
        assert!(gone.gone() && !gone.equal(), "{gone}");
        assert!(compare(&dir.path().join("none"), &snapshot(&[])).await.is_err());
    }
}
