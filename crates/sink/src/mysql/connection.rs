//! One connection with the session that every statement of this crate relies on, opened when it is needed and opened again when it broke.

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Row as _};
use tokio::time::Instant;

use crate::error::{Class, class_of, server_code};
use crate::{Error, MySqlTarget, Query, Watch, literal};

/// Attempts at a statement or a connection before the error is given to the caller: with the pauses below, over four minutes,
/// which a restart of the server fits into.
const ATTEMPTS: u32 = 60;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Session settings that must hold. `sql_mode` holds no check, for the source has checked (with other rules, maybe): nothing is
/// refused or adjusted here that the source took. Two modes are on that only keep values as they are: an explicit 0 in an
/// AUTO_INCREMENT column stays 0, and dates like 2020-02-31 stay dates. Setting it also undoes `IGNORE_SPACE`, which the driver
/// asks for and under which a table named `count` cannot be created.
const REQUIRED: [&str; 4] = [
    "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'",
    "SET SESSION time_zone = '+00:00'",
    "SET NAMES utf8mb4",
    "SET SESSION foreign_key_checks = 0",
];

/// As above.
const REQUIRED_MODES: &str = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES";

/// Settings that only some servers have, or let everyone set: the refusal of one is no error.
const WHERE_KNOWN: [&str; 6] = [
    // MariaDB turns a long IN list into a join with a table of guessed types.
    "SET SESSION in_predicate_conversion_threshold = 0",
    "SET SESSION check_constraint_checks = 0",
    "SET SESSION explicit_defaults_for_timestamp = 1",
    "SET SESSION allow_auto_random_explicit_insert = 1",
    "SET SESSION tidb_txn_mode = 'optimistic'",
    "SET SESSION tidb_placement_mode = 'ignore'",
];

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    target: MySqlTarget,
    live: Option<MySqlConnection>,
    /// The server's number of the last connection: after it broke, the server may still be at work on its last statement.
    id: Option<u64>,
    /// The first statement of every transaction; see [`super::marks`].
    mark: Option<Arc<String>>,
    watch: Option<Arc<dyn Watch>>,
}

impl Connection {
    pub(crate) fn new(target: &MySqlTarget) -> Self {
        Connection { target: target.clone(), live: None, id: None, mark: None, watch: None }
    }

    /// The same, for rows: its transactions are marked, and how long they take is told.
    pub(crate) fn for_rows(
        target: &MySqlTarget,
        mark: Option<String>,
        watch: Option<Arc<dyn Watch>>,
    ) -> Self {
        Connection { mark: mark.map(Arc::new), watch, ..Self::new(target) }
    }

    /// What begins a transaction: with the mark, where there is one.
    pub(crate) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.limited(&Arc::new("START TRANSACTION".to_owned())).await?;
        if let Some(mark) = self.mark.clone() {
            self.timed(Query::UpdateMarkTable, &mark).await?;
        }
        Ok(())
    }

    /// What ends it.
    pub(crate) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.timed(Query::Commit, &Arc::new("COMMIT".to_owned())).await.map(drop)
    }

    /// Runs a row statement that may run twice, as a transaction of its own, until it succeeds or fails for good.
    pub(crate) async fn execute_rows(&mut self, sql: &Arc<String>) -> Result<u64, sqlx::Error> {
        let mut pause = Pause::default();
        loop {
            let result = if self.mark.is_some() {
                let result = self.marked_once(sql).await;
                if result.is_err() {
                    self.rollback().await;
                }
                result
            } else {
                self.within(sql).await
            };
            match result {
                Err(error) if class_of(&error) != Class::Permanent && pause.wait(&error).await => {}
                result => return result,
            }
        }
    }

    async fn marked_once(&mut self, sql: &Arc<String>) -> Result<u64, sqlx::Error> {
        self.begin().await?;
        let rows = self.within(sql).await?;
        self.commit().await?;
        Ok(rows)
    }

    /// Runs one statement of rows once, within the read time-out; rows hit or matched.
    pub(crate) async fn within(&mut self, sql: &Arc<String>) -> Result<u64, sqlx::Error> {
        self.timed(Query::Exec, sql).await
    }

    async fn timed(&mut self, query: Query, sql: &Arc<String>) -> Result<u64, sqlx::Error> {
        let begun = Instant::now();
        let result = self.limited(sql).await;
        if let Some(watch) = &self.watch {
            watch.took(query, begun.elapsed());
        }
        result
    }

    async fn limited(&mut self, sql: &Arc<String>) -> Result<u64, sqlx::Error> {
        let Some(limit) = self.target.read_timeout else { return self.execute_once_shared(sql).await };
        match tokio::time::timeout(limit, self.execute_once_shared(sql)).await {
            Ok(result) => result,
            Err(_) => {
                // The answer would be taken for that of the next statement.
                self.live = None;
                let text = format!("no answer within the read-timeout of {limit:?}");
                Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text)))
            }
        }
    }

    /// The connection, opened if need be. One attempt.
    async fn get(&mut self) -> Result<&mut MySqlConnection, sqlx::Error> {
        if self.live.is_none() {
            let mut connection = connect(&self.target).await?;
            let row = sqlx::raw_sql("SELECT CONNECTION_ID()").fetch_one(&mut connection).await?;
            let id: u64 = row.try_get(0)?;
            if let Some(old) = self.id.replace(id) {
                end_session(&mut connection, old).await;
            }
            self.live = Some(connection);
        }
        match self.live.as_mut() {
            Some(live) => Ok(live),
            None => Err(sqlx::Error::WorkerCrashed),
        }
    }

    /// Runs one statement once; rows hit or matched.
    pub(crate) async fn execute_once(&mut self, sql: &str) -> Result<u64, sqlx::Error> {
        self.execute_once_shared(&Arc::new(sql.to_owned())).await
    }

    /// The same without a copy of a long statement.
    async fn execute_once_shared(&mut self, sql: &Arc<String>) -> Result<u64, sqlx::Error> {
        let result = match self.get().await {
            Ok(live) => {
                let query = sqlx::raw_sql(AssertSqlSafe(Arc::clone(sql)));
                query.execute(live).await.map(|d| d.rows_affected())
            }
            Err(error) => Err(error),
        };
        self.drop_if_lost(result)
    }

    /// Runs a statement that may run twice, until it succeeds or fails for good.
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<u64, sqlx::Error> {
        let sql = Arc::new(sql.to_owned());
        let mut pause = Pause::default();
        loop {
            match self.execute_once_shared(&sql).await {
                Err(error) if class_of(&error) != Class::Permanent && pause.wait(&error).await => {}
                result => return result,
            }
        }
    }

    /// Reads rows once.
    pub(crate) async fn fetch_once(&mut self, sql: &str) -> Result<Vec<MySqlRow>, sqlx::Error> {
        let result = match self.get().await {
            Ok(live) => sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(live).await,
            Err(error) => Err(error),
        };
        self.drop_if_lost(result)
    }

    /// Reads rows, with the same patience as [`Connection::execute`].
    pub(crate) async fn fetch(&mut self, sql: &str) -> Result<Vec<MySqlRow>, sqlx::Error> {
        let mut pause = Pause::default();
        loop {
            match self.fetch_once(sql).await {
                Err(error) if class_of(&error) != Class::Permanent && pause.wait(&error).await => {}
                result => return result,
            }
        }
    }

    /// Ends statements that an earlier run with the same mark has left at work: they would take effect after those of this one.
    /// Threads of the same account may be seen and ended without privileges.
    pub(crate) async fn end_leftovers(&mut self, mark: &str) -> Result<(), sqlx::Error> {
        let sql = format!(
            "SELECT CAST(ID AS UNSIGNED) FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND LEFT(INFO, 200) LIKE '%{}%'",
            mark.replace('\\', "\\\\").replace('\'', "''")
        );
        let mut left = Vec::new();
        for row in self.fetch(&sql).await? {
            left.push(row.try_get::<u64, _>(0)?);
        }
        let live = self.get().await?;
        for id in left {
            tracing::warn!(id, "ending a statement that an earlier run has left at work");
            end_session(live, id).await;
        }
        Ok(())
    }

    /// The first connection: an error names the server.
    pub(crate) async fn open(&mut self) -> Result<(), Error> {
        match self.get().await {
            Ok(_) => Ok(()),
            Err(source) => Err(Error::Connect { target: self.target.to_string(), source }),
        }
    }

    fn drop_if_lost<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if let Err(error) = &result
            && class_of(error) == Class::Lost
        {
            self.live = None;
        }
        result
    }

    /// Gives up whatever transaction is open.
    pub(crate) async fn rollback(&mut self) {
        if self.live.is_some() && self.execute_once("ROLLBACK").await.is_err() {
            self.live = None;
        }
    }

    pub(crate) async fn close(self) {
        if let Some(live) = self.live {
            // Nothing is open in it; a server that is gone needs no goodbye.
            let _ = live.close().await;
        }
    }
}

/// Growing pauses between attempts.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    attempts: u32,
}

impl Pause {
    /// Waits; false when enough was tried.
    pub(crate) async fn wait(&mut self, error: &sqlx::Error) -> bool {
        self.attempts += 1;
        if self.attempts >= ATTEMPTS {
            return false;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.attempts.min(10)).min(LONGEST_PAUSE);
        if self.attempts > 3 {
            tracing::warn!(attempt = self.attempts, %error, "the downstream is not available, trying again");
        }
        tokio::time::sleep(pause).await;
        true
    }
}

async fn connect(target: &MySqlTarget) -> Result<MySqlConnection, sqlx::Error> {
    let mut options = MySqlConnectOptions::new()
        .username(&target.user)
        .ssl_mode(if target.tls.is_some() { MySqlSslMode::VerifyIdentity } else { MySqlSslMode::Preferred })
        .charset("utf8mb4")
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false)
        .disable_statement_logging();
    if !target.password.is_empty() {
        options = options.password(&target.password);
    }
    if let Some(tls) = &target.tls {
        options = options.ssl_ca(&tls.ca);
        if !tls.cert.is_empty() {
            options = options.ssl_client_cert(&tls.cert).ssl_client_key(&tls.key);
        }
    }
    options = match &target.socket {
        Some(path) => options.socket(path),
        None => options.host(&target.host).port(target.port),
    };
    let mut connection = options.connect().await?;
    for statement in REQUIRED {
        sqlx::raw_sql(statement).execute(&mut connection).await?;
    }
    for statement in WHERE_KNOWN {
        match sqlx::raw_sql(statement).execute(&mut connection).await {
            Ok(_) => {}
            // Unknown variable, read-only variable, not for this account, global only, unknown value.
            Err(error) if matches!(server_code(&error), Some(1193 | 1227 | 1228 | 1229 | 1231 | 1238)) => {}
            Err(error) => return Err(error),
        }
    }
    if !target.sql_mode.is_empty() {
        let modes = format!("{REQUIRED_MODES},{}", target.sql_mode.join(","));
        let sql = format!("SET SESSION sql_mode = {}", literal::text(&modes));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    }
    for (name, value) in &target.session {
        // A name is checked where it comes from; a number stays one, for many variables take nothing else.
        let value = if value.parse::<i64>().is_ok() { value.clone() } else { literal::text(value) };
        sqlx::raw_sql(AssertSqlSafe(format!("SET SESSION {name} = {value}")))
            .execute(&mut connection)
            .await?;
    }
    Ok(connection)
}

/// Makes sure that the server does no more work for a connection that broke: its last statement could otherwise take effect after
/// later ones. Not every account may do that, and the connection is mostly gone already; so an error is only logged.
async fn end_session(connection: &mut MySqlConnection, id: u64) {
    for _ in 0..50 {
        match sqlx::raw_sql(AssertSqlSafe(format!("KILL {id}"))).execute(&mut *connection).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            // 1094: no such thread.
            Err(error) => {
                if server_code(&error) != Some(1094) {
                    tracing::debug!(%error, id, "cannot end the broken session");
                }
                return;
            }
        }
    }
    tracing::warn!(id, "the session of a broken connection is still at work");
}
