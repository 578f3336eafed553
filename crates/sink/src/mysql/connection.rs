//! One connection with the session that every statement of this crate relies on, opened when it is needed and opened again when it broke.

use std::sync::Arc;
use std::time::Duration;

use binlog_types::Zone;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tokio::time::Instant;

use super::opening::{self, At};
use crate::error::{Class, class_of};
use crate::{Error, LeftOut, MySqlTarget, Query, Watch, literal};

/// Attempts at a statement or a connection before the error is given to the caller: with the pauses below, over four minutes,
/// which a restart of the server fits into.
const ATTEMPTS: u32 = 60;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the server is asked whether it is still at a long statement, where no read time-out says so.
const ATTENTION: Duration = Duration::from_secs(60);
/// How long an answer may be on its way.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    target: MySqlTarget,
    live: Option<MySqlConnection>,
    /// The last session: after it broke, the server may still be at work on its last statement.
    at: Option<At>,
    /// The first statement of every transaction; see [`super::marks`].
    mark: Option<Arc<String>>,
    watch: Option<Arc<dyn Watch>>,
}

impl Connection {
    pub(crate) fn new(target: &MySqlTarget) -> Self {
        Connection { target: target.clone(), live: None, at: None, mark: None, watch: None }
    }

    /// The same, for rows: its transactions are marked, and how long they take is told.
    pub(crate) fn for_rows(
        target: &MySqlTarget,
        mark: Option<String>,
        watch: Option<Arc<dyn Watch>>,
    ) -> Self {
        Connection { mark: mark.map(Arc::new), watch, ..Self::new(target) }
    }

    /// See [`MySqlTarget::ddl_time_zone`].
    pub(crate) fn ddl_time_zone(&self) -> Option<&str> {
        self.target.ddl_time_zone.as_deref()
    }

    /// Tells that something was left out.
    pub(crate) fn left_out(&self, what: LeftOut) {
        if let Some(watch) = &self.watch {
            watch.left_out(what);
        }
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

    /// Runs a statement of rows that may run twice: within a transaction once, else until it succeeds or fails for good.
    pub(crate) async fn step(&mut self, sql: &Arc<String>, within: bool) -> Result<u64, sqlx::Error> {
        if within { self.within(sql).await } else { self.execute_rows(sql).await }
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
        let limit = self.target.read_timeout;
        let result = match self.get().await {
            Ok(live) => {
                let query = sqlx::raw_sql(AssertSqlSafe(Arc::clone(sql)));
                opening::no_longer_than(limit, query.execute(live)).await.map(|d| d.rows_affected())
            }
            Err(error) => Err(error),
        };
        self.drop_if_lost(result)
    }

    /// The connection, opened if need be. One attempt.
    async fn get(&mut self) -> Result<&mut MySqlConnection, sqlx::Error> {
        if self.live.is_none() {
            let (live, at) = opening::open(&self.target, self.at.as_ref()).await?;
            self.at = Some(at);
            self.live = Some(live);
        }
        match self.live.as_mut() {
            Some(live) => Ok(live),
            None => Err(sqlx::Error::WorkerCrashed),
        }
    }

    /// Runs one statement once, within the read time-out; rows hit or matched.
    pub(crate) async fn execute_once(&mut self, sql: &str) -> Result<u64, sqlx::Error> {
        self.limited(&Arc::new(sql.to_owned())).await
    }

    /// The same for a statement that may take as long as it takes. Meanwhile the server is asked now and then whether it is still at it: a
    /// connection of which the other side is gone would be waited for without end.
    pub(crate) async fn execute_long(&mut self, sql: &str) -> Result<u64, sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        self.get().await?;
        let (Some(live), Some(at)) = (&mut self.live, &self.at) else {
            return Err(sqlx::Error::WorkerCrashed);
        };
        let result = attended(&self.target, at, query.execute(live)).await.map(|d| d.rows_affected());
        self.drop_if_lost(result)
    }

    /// Reads rows once; as [`Connection::execute_long`].
    pub(crate) async fn fetch_long(&mut self, sql: &str) -> Result<Vec<MySqlRow>, sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        self.get().await?;
        let (Some(live), Some(at)) = (&mut self.live, &self.at) else {
            return Err(sqlx::Error::WorkerCrashed);
        };
        let result = attended(&self.target, at, query.fetch_all(live)).await;
        self.drop_if_lost(result)
    }

    /// Runs a statement that may run twice, until it succeeds or fails for good.
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<u64, sqlx::Error> {
        let sql = Arc::new(sql.to_owned());
        let mut pause = Pause::default();
        loop {
            match self.limited(&sql).await {
                Err(error) if class_of(&error) != Class::Permanent && pause.wait(&error).await => {}
                result => return result,
            }
        }
    }

    /// Reads rows once, within the read time-out.
    async fn fetch_once(&mut self, sql: &str) -> Result<Vec<MySqlRow>, sqlx::Error> {
        let limit = self.target.read_timeout;
        let result = match self.get().await {
            Ok(live) => {
                let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
                opening::no_longer_than(limit, query.fetch_all(live)).await
            }
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
            opening::end_session(live, id).await;
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
            && matches!(class_of(error), Class::Lost | Class::Elsewhere)
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

    /// Makes the session show and read TIMESTAMPs in `zone`, until [`Connection::renew`] or the end of the connection.
    pub(crate) async fn enter_zone(&mut self, zone: &Zone) -> Result<u64, sqlx::Error> {
        self.execute_once(&format!("SET SESSION time_zone = {}", literal::text(zone.name()))).await
    }

    /// Ends the connection: the next one has the settings that all sessions have.
    pub(crate) async fn renew(&mut self) {
        self.at = None;
        if let Some(live) = self.live.take() {
            // Nothing is open in it.
            let _ = live.close().await;
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

/// What `work` gives, unless the server says that it is not at it any more, and no answer has come.
async fn attended<T>(
    target: &MySqlTarget,
    at: &At,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let every = target.read_timeout.unwrap_or(ATTENTION);
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result,
            () = tokio::time::sleep(every) => {}
        }
        if at.is_idle(target).await {
            let answer = tokio::time::timeout(UNDER_WAY, &mut work).await;
            return answer.unwrap_or_else(|_| {
                Err(opening::timed_out(
                    "the server has ended the statement, and its answer did not arrive".to_owned(),
                ))
            });
        }
    }
}
