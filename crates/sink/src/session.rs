//! A plain connection to a target: for what is asked, or done once, beside the stream of events.

use std::time::Duration;

use binlog_catalog::{Row, Table, TableRef};
use sqlx::mysql::MySqlRow;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Row as _};

use crate::dml::statement;
use crate::error::{Class, class_of, head, server_code};
use crate::layout::Layout;
use crate::mysql::connection::{Connection, Pause};
use crate::mysql::ddl::{ALREADY, MISSING};
use crate::mysql::describe;
use crate::names::{backtick, mysql_table, sqlite_table, sqlite_table_name};
use crate::sqlite::rows;
use crate::{Error, Target, literal};

/// Syntax error, unknown statement or option: the server does not know what the text is about.
const NOT_UNDERSTOOD: [u32; 4] = [1064, 1235, 1289, 1478];

/// A connection with the session settings that all statements of this crate rely on (UTC, no checks, utf8mb4).
#[derive(Debug)]
pub struct Session {
    backend: Backend,
    tidb: bool,
    json_type: bool,
}

#[derive(Debug)]
enum Backend {
    MySql(Box<Connection>),
    Sqlite(Box<SqliteConnection>),
}

/// What became of a statement that may have been run before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was run.
    Done,
    /// The server says that what it does is done: with the server's words.
    Already(String),
    /// The server does not know such statements: with the server's words.
    NotUnderstood(String),
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// When the target cannot be opened.
    pub async fn open(target: &Target) -> Result<Self, Error> {
        match target {
            Target::MySql(server) => {
                let mut connection = Connection::new(server);
                connection.open().await?;
                let backend = Backend::MySql(Box::new(connection));
                let mut session = Session { backend, tidb: false, json_type: false };
                let version = session.texts("SELECT VERSION()").await?;
                let version = version.first().and_then(|r| r.first().cloned().flatten()).unwrap_or_default();
                session.tidb = version.contains("TiDB");
                session.json_type = !version.contains("MariaDB");
                Ok(session)
            }
            Target::Sqlite(path) => {
                let settings = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(true)
                    .busy_timeout(Duration::from_secs(30))
                    .disable_statement_logging();
                let failed = |source| Error::Connect { target: path.display().to_string(), source };
                let backend = Backend::Sqlite(Box::new(settings.connect().await.map_err(failed)?));
                Ok(Session { backend, tidb: false, json_type: false })
            }
        }
    }

    /// Whether it is a SQLite file.
    pub fn is_sqlite(&self) -> bool {
        matches!(self.backend, Backend::Sqlite(_))
    }

    /// Whether it is TiDB.
    pub fn is_tidb(&self) -> bool {
        self.tidb
    }

    /// A table's name as statements take it: SQLite has no databases.
    pub fn table(&self, schema: &str, table: &str) -> String {
        if self.is_sqlite() { sqlite_table(schema, table) } else { mysql_table(schema, table) }
    }

    /// Runs one statement once; how many rows it hit.
    ///
    /// # Errors
    /// With the statement.
    pub async fn execute(&mut self, sql: &str) -> Result<u64, Error> {
        let done = match &mut self.backend {
            Backend::MySql(connection) => connection.execute_once(sql).await,
            Backend::Sqlite(connection) => {
                let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
                query.execute(&mut **connection).await.map(|d| d.rows_affected())
            }
        };
        done.map_err(|source| failed(sql, source))
    }

    /// Runs one statement that may run twice, until it succeeds or fails for good: a server that is away is waited for. How many rows it hit.
    ///
    /// # Errors
    /// With the statement.
    pub async fn repeat(&mut self, sql: &str) -> Result<u64, Error> {
        match &mut self.backend {
            Backend::MySql(connection) => connection.execute(sql).await.map_err(|source| failed(sql, source)),
            Backend::Sqlite(_) => self.execute(sql).await,
        }
    }

    /// Reads rows as text; `None` is NULL.
    ///
    /// # Errors
    /// With the statement.
    pub async fn texts(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        let rows = match &mut self.backend {
            Backend::MySql(connection) => connection.fetch(sql).await.and_then(|rows| {
                rows.iter()
                    .map(|row: &MySqlRow| (0..row.len()).map(|at| row.try_get_unchecked(at)).collect())
                    .collect()
            }),
            Backend::Sqlite(connection) => {
                let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
                query.fetch_all(&mut **connection).await.and_then(|rows| {
                    rows.iter()
                        .map(|row: &SqliteRow| (0..row.len()).map(|at| row.try_get_unchecked(at)).collect())
                        .collect()
                })
            }
        };
        rows.map_err(|source| failed(sql, source))
    }

    /// Reads one number.
    ///
    /// # Errors
    /// With the statement; also where it gives no number.
    pub async fn number(&mut self, sql: &str) -> Result<u64, Error> {
        let rows = self.texts(sql).await?;
        let text = rows.first().and_then(|row| row.first().cloned().flatten());
        let number = text.and_then(|text| text.parse().ok());
        number.ok_or_else(|| failed(sql, sqlx::Error::RowNotFound))
    }

    /// Runs the text of a DDL, with `database` for unqualified names. With `in_doubt` it may have run before.
    ///
    /// # Errors
    /// With the statement. The server's being away is waited out first.
    pub async fn ddl(
        &mut self,
        database: Option<&str>,
        sql: &str,
        mut in_doubt: bool,
    ) -> Result<Outcome, Error> {
        let mut pause = Pause::default();
        loop {
            let result = match &mut self.backend {
                Backend::Sqlite(_) => return self.execute(sql).await.map(|_| Outcome::Done),
                Backend::MySql(connection) => {
                    let mut result = Ok(0);
                    if let Some(database) = database {
                        result = connection.execute(&format!("USE {}", backtick(database))).await;
                    }
                    if result.is_ok() {
                        result = connection.execute_once(sql).await;
                    }
                    result
                }
            };
            let Err(error) = result else { return Ok(Outcome::Done) };
            let code = server_code(&error);
            let code_in = |codes: &[u32]| code.is_some_and(|c| codes.contains(&c));
            if code_in(&ALREADY) || (in_doubt && code_in(&MISSING)) {
                return Ok(Outcome::Already(error.to_string()));
            }
            if code_in(&NOT_UNDERSTOOD) {
                return Ok(Outcome::NotUnderstood(error.to_string()));
            }
            in_doubt |= class_of(&error) == Class::Lost;
            if class_of(&error) == Class::Permanent || !pause.wait(&error).await {
                return Err(failed(sql, error));
            }
        }
    }

    /// What the server says of a table: columns with their types, and keys; None: no such table. SQLite is not asked.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn describe(&mut self, schema: &str, table: &str) -> Result<Option<Table>, Error> {
        describe::table(self, schema, table).await
    }

    /// Whether there is a table or view of this name.
    ///
    /// # Errors
    /// With the statement.
    pub async fn has_table(&mut self, schema: &str, table: &str) -> Result<bool, Error> {
        let sql = if self.is_sqlite() {
            let name = literal::sqlite_text(&sqlite_table_name(schema, table));
            format!("SELECT COUNT(*) FROM sqlite_master WHERE type IN ('table', 'view') AND name = {name}")
        } else {
            format!(
                "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = {} AND table_name = {}",
                literal::text(schema),
                literal::text(table)
            )
        };
        Ok(self.number(&sql).await? > 0)
    }

    /// How many rows of `table` equal one of `rows` in every column that it binds, byte for byte.
    ///
    /// # Errors
    /// With the statement.
    pub async fn count_equal(&mut self, table: &TableRef, rows: &[&Row]) -> Result<u64, Error> {
        self.count(&Layout::new(table), rows).await
    }

    /// How many rows of `table` have the key of one of `rows`, byte for byte.
    ///
    /// # Errors
    /// With the statement.
    pub async fn count_keys(&mut self, table: &TableRef, rows: &[&Row]) -> Result<u64, Error> {
        let layout = Layout::new(table);
        let of_key = |at: usize| layout.key.iter().flatten().any(|key| *key == at);
        let keys: Vec<Row> = rows
            .iter()
            .map(|row| row.iter().enumerate().map(|(at, v)| v.clone().filter(|_| of_key(at))).collect())
            .collect();
        self.count(&layout, &keys.iter().collect::<Vec<_>>()).await
    }

    async fn count(&mut self, layout: &Layout, rows: &[&Row]) -> Result<u64, Error> {
        if let Backend::Sqlite(connection) = &mut self.backend {
            return rows::count(connection, layout, rows).await;
        }
        let condition = |row: &&Row| match statement::whole_row_condition(layout, row, self.json_type) {
            // A row of generated columns only.
            all if all.is_empty() => "TRUE".to_owned(),
            condition => format!("({condition})"),
        };
        let conditions: Vec<String> = rows.iter().map(condition).collect();
        let sql =
            format!("SELECT COUNT(*) FROM {} WHERE {}", statement::table(layout), conditions.join(" OR "));
        self.number(&sql).await
    }

    /// Closes the connection.
    pub async fn close(self) {
        match self.backend {
            Backend::MySql(connection) => connection.close().await,
            // Nothing is open in it.
            Backend::Sqlite(connection) => drop(connection.close().await),
        }
    }
}

fn failed(sql: &str, source: sqlx::Error) -> Error {
    Error::Query { statement: head(sql), source }
}
