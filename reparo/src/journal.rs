//! What a destination database knows of the restores into it: which one was begun last, how it stands, and what it had to leave out.
//!
//! It lies in a schema of its own, beside which the sink keeps how far it is; so a restore that was cut off goes on where it was.

mod row;

use std::time::Duration;

use binlog_sink::{Session, Target};
use binlog_types::{ClusterId, CommitTs};
use tokio::time::Instant;

pub(crate) use self::row::{Entry, State, plain};
use crate::Error;

/// Schema of all that a restore keeps in its destination.
pub(crate) const SCHEMA: &str = "tidb_binlog_reparo";
const TABLE: &str = "restore";
/// How long the lock of a restore that was killed may outlive it.
const LOCK_SECONDS: u32 = 10;
/// The connection is used this often while a restore runs: whatever lies between ends what is silent for long, and the lock with it.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// For how long the server may hear nothing, in seconds, while a single statement of the restore takes its time. The longest it knows.
const IDLE_SECONDS: u32 = 31_536_000;

/// The record of restores, open for as long as one runs.
#[derive(Debug)]
pub(crate) struct Journal {
    session: Session,
    table: String,
    kept_at: Instant,
}

fn failed(source: binlog_sink::Error) -> Error {
    Error::Journal { source }
}

impl Journal {
    /// Opens it, and makes sure that no other restore is at work there.
    pub(crate) async fn open(target: &Target) -> Result<Self, Error> {
        let session = Session::open(target).await.map_err(failed)?;
        let table = session.table(SCHEMA, TABLE);
        let mut journal = Journal { session, table, kept_at: Instant::now() };
        journal.make().await?;
        journal.lock(LOCK_SECONDS).await?;
        Ok(journal)
    }

    /// What it says, without making or locking anything.
    pub(crate) async fn peek(target: &Target) -> Result<Option<Entry>, Error> {
        let Some(mut journal) = Self::look(target).await? else { return Ok(None) };
        let last = if journal.is_there(TABLE).await? { journal.last().await } else { Ok(None) };
        journal.close().await;
        last
    }

    /// How far the restore of a cluster's binlogs that was begun last is, without making or locking anything; None: it has not said so.
    pub(crate) async fn position(target: &Target, cluster: ClusterId) -> Result<Option<CommitTs>, Error> {
        let Some(mut journal) = Self::look(target).await? else { return Ok(None) };
        let mut position = None;
        if journal.is_there("checkpoint").await? {
            let table = journal.session.table(SCHEMA, "checkpoint");
            let sql = format!("SELECT checkPoint FROM {table} WHERE clusterID = '{cluster}'");
            let rows = journal.session.texts(&sql).await.map_err(failed)?;
            let text = rows.into_iter().flatten().flatten().next().unwrap_or_default();
            let row: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            position = row.get("commitTS").and_then(serde_json::Value::as_u64).map(CommitTs::new);
        }
        journal.close().await;
        Ok(position)
    }

    /// A connection; None: there is no such file yet.
    async fn look(target: &Target) -> Result<Option<Self>, Error> {
        if let Target::Sqlite(path) = target
            && !path.exists()
        {
            return Ok(None);
        }
        let session = Session::open(target).await.map_err(failed)?;
        let table = session.table(SCHEMA, TABLE);
        Ok(Some(Journal { session, table, kept_at: Instant::now() }))
    }

    async fn is_there(&mut self, table: &str) -> Result<bool, Error> {
        let sql = if self.session.is_sqlite() {
            format!("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = '{SCHEMA}.{table}'")
        } else {
            format!(
                "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{SCHEMA}' AND table_name = '{table}'"
            )
        };
        self.session.number(&sql).await.map(|found| found > 0).map_err(failed)
    }

    async fn make(&mut self) -> Result<(), Error> {
        // Whatever the server's own character set is: names are kept as they are.
        let charset = if self.session.is_sqlite() { "" } else { " CHARACTER SET utf8mb4" };
        if !self.session.is_sqlite() {
            self.run(&format!("CREATE DATABASE IF NOT EXISTS `{SCHEMA}`{charset}")).await?;
        }
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {} (id INT PRIMARY KEY, identity MEDIUMTEXT NOT NULL, finished INT NOT NULL, through_ts BIGINT NOT NULL, \
             after_ts BIGINT, first_ts BIGINT, holes MEDIUMTEXT){charset}",
            self.table
        );
        self.run(&sql).await?;
        // Those that a table of an earlier version lacks.
        for (column, kind) in [("after_ts", "BIGINT"), ("first_ts", "BIGINT"), ("holes", "MEDIUMTEXT")] {
            if self.session.texts(&format!("SELECT COUNT({column}) FROM {}", self.table)).await.is_err() {
                self.run(&format!("ALTER TABLE {} ADD COLUMN {column} {kind}", self.table)).await?;
            }
        }
        Ok(())
    }

    /// Takes the lock of restores into this server, if it is not ours already.
    async fn lock(&mut self, seconds: u32) -> Result<(), Error> {
        self.kept_at = Instant::now();
        if self.session.is_sqlite() {
            return Ok(());
        }
        if let Err(error) = self.session.execute(&format!("SET SESSION wait_timeout = {IDLE_SECONDS}")).await
        {
            tracing::debug!(%error, "the server chooses for how long it may hear nothing");
        }
        match self.session.number(&format!("SELECT GET_LOCK('{SCHEMA}', {seconds})")).await {
            Ok(0) => return Err(Error::Busy),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the server has no such locks"),
        }
        Ok(())
    }

    /// Uses the connection now and then, so that neither it nor the lock is lost while the sink works on others; where they were lost, they are
    /// taken again.
    ///
    /// # Errors
    /// [`Error::Busy`] where another restore has the lock now.
    pub(crate) async fn keep(&mut self) -> Result<(), Error> {
        if self.kept_at.elapsed() < KEEP_EVERY { Ok(()) } else { self.lock(0).await }
    }

    async fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.session.execute(sql).await.map(drop).map_err(failed)
    }

    /// The restore that was begun last.
    pub(crate) async fn last(&mut self) -> Result<Option<Entry>, Error> {
        let sql = format!("SELECT * FROM {} WHERE id = 1", self.table);
        let rows = self.session.texts(&sql).await.map_err(failed)?;
        rows.first().map(|row| Entry::from_row(row)).transpose()
    }

    /// Leaves nothing of the record, whatever is in it.
    pub(crate) async fn forget_all(&mut self) -> Result<(), Error> {
        if self.session.is_sqlite() {
            self.forget(true).await?;
        } else {
            self.run(&format!("DROP DATABASE IF EXISTS `{SCHEMA}`")).await?;
        }
        self.make().await
    }

    /// A restore begins anew: what earlier ones have noted of their progress is forgotten. Cut off in between, it has not begun, but where it
    /// begins is known.
    pub(crate) async fn begin(&mut self, entry: &mut Entry) -> Result<(), Error> {
        entry.state = State::Beginning;
        self.write(entry).await?;
        self.forget(false).await?;
        entry.state = State::Begun;
        self.write(entry).await
    }

    /// Drops what the sink keeps beside the record, and with `all` the record.
    async fn forget(&mut self, all: bool) -> Result<(), Error> {
        let sql = if self.session.is_sqlite() {
            format!(
                "SELECT substr(name, {}) FROM sqlite_master WHERE type = 'table' AND name LIKE '{SCHEMA}.%'",
                SCHEMA.len() + 2
            )
        } else {
            format!("SELECT table_name FROM information_schema.tables WHERE table_schema = '{SCHEMA}'")
        };
        let rows = self.session.texts(&sql).await.map_err(failed)?;
        for name in rows.into_iter().filter_map(|row| row.into_iter().next().flatten()) {
            if all || name != TABLE {
                let table = self.session.table(SCHEMA, &name);
                self.run(&format!("DROP TABLE {table}")).await?;
            }
        }
        Ok(())
    }

    /// Notes how a restore stands. A server that is away is waited for.
    pub(crate) async fn write(&mut self, entry: &Entry) -> Result<(), Error> {
        let sql = format!("REPLACE INTO {} VALUES {}", self.table, entry.to_values());
        self.session.repeat(&sql).await.map(drop).map_err(failed)
    }

    /// The last word on a restore, which another one must not have followed.
    pub(crate) async fn finish(mut self, entry: &Entry) -> Result<(), Error> {
        self.lock(0).await?;
        self.write(entry).await?;
        self.close().await;
        Ok(())
    }

    pub(crate) async fn close(self) {
        self.session.close().await;
    }
}

#[cfg(test)]
mod tests;
