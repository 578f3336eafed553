//! What the sink keeps in the file: the checkpoint, the position that the last transaction reached, and how far it is in a record that
//! came in parts.
//!
//! The position holds the checkpoint that stood when it was written. If the stored checkpoint is lower than that, somebody has set
//! it back on purpose: the position is left out of account then, with a warning.

use binlog_types::{ClusterId, CommitTs, StartTs};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::bookkeeping;
use crate::checkpoint::{TsMap, decode, encode};
use crate::literal::sqlite_text;
use crate::names::sqlite_table;
use crate::position::{Position, Progress};
use crate::{Checkpoint, Error};

#[derive(Debug)]
pub(super) struct State {
    schema: String,
    cluster: ClusterId,
    checkpoint: Option<Checkpoint>,
    ts_map: TsMap,
    applied: Progress,
}

impl State {
    pub(super) async fn open(
        connection: &mut SqliteConnection,
        schema: &str,
        cluster: ClusterId,
    ) -> Result<Self, Error> {
        let mut state = State {
            schema: schema.to_owned(),
            cluster,
            checkpoint: None,
            ts_map: TsMap::default(),
            applied: Progress::default(),
        };
        let failed = bookkeeping("create the checkpoint tables");
        // TEXT keys: a cluster id has 64 bits, one more than SQLite's integers.
        for sql in [
            format!(
                "CREATE TABLE IF NOT EXISTS {} (clusterID TEXT PRIMARY KEY, checkPoint TEXT)",
                state.table("checkpoint")
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {} (clusterID TEXT PRIMARY KEY, commit_ts INTEGER NOT NULL, start_ts INTEGER NOT NULL, \
                 checkpoint_ts INTEGER NOT NULL)",
                state.table("progress")
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {} (clusterID TEXT PRIMARY KEY, commit_ts INTEGER NOT NULL, start_ts INTEGER NOT NULL, \
                 sequence INTEGER NOT NULL, checkpoint_ts INTEGER NOT NULL)",
                state.table("part")
            ),
        ] {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await.map_err(&failed)?;
        }
        state.read_checkpoint(connection).await?;
        state.read_applied(connection, "progress", &Progress::WHOLE.to_string()).await?;
        state.read_applied(connection, "part", "sequence").await?;
        Ok(state)
    }

    fn table(&self, name: &str) -> String {
        sqlite_table(&self.schema, name)
    }

    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
    }

    /// Everything at or below it is in the file.
    pub(super) fn applied(&self) -> Progress {
        self.applied
    }

    fn base(&self) -> i64 {
        self.checkpoint.map_or(0, |c| c.commit_ts.as_i64())
    }

    async fn read_checkpoint(&mut self, connection: &mut SqliteConnection) -> Result<(), Error> {
        let failed = bookkeeping("read the checkpoint");
        let sql = format!(
            "SELECT checkPoint FROM {} WHERE clusterID = '{}'",
            self.table("checkpoint"),
            self.cluster
        );
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_optional(connection).await.map_err(&failed)?;
        let Some(row) = row else { return Ok(()) };
        let text: String = row.try_get(0).map_err(&failed)?;
        (self.checkpoint, self.ts_map) = decode(&text).map_err(|why| Error::BadCheckpoint {
            cluster: self.cluster.0,
            why,
            text: text.clone(),
        })?;
        Ok(())
    }

    async fn read_applied(
        &mut self,
        connection: &mut SqliteConnection,
        table: &str,
        sequence: &str,
    ) -> Result<(), Error> {
        let failed = bookkeeping("read the position reached");
        let sql = format!(
            "SELECT commit_ts, start_ts, {sequence}, checkpoint_ts FROM {} WHERE clusterID = '{}'",
            self.table(table),
            self.cluster
        );
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_optional(connection).await.map_err(&failed)?;
        let Some(row) = row else { return Ok(()) };
        let field = |at: usize| row.try_get::<i64, _>(at).map_err(&failed);
        let (commit_ts, start_ts, sequence, base) = (field(0)?, field(1)?, field(2)?, field(3)?);
        if base > self.base() {
            tracing::warn!(
                checkpoint = self.base(),
                written_at = base,
                "the checkpoint was set back: what the file says about later records is left out of account"
            );
            return Ok(());
        }
        let at = Position {
            commit_ts: CommitTs::new(commit_ts.unsigned_abs()),
            start_ts: StartTs::new(start_ts.unsigned_abs()),
        };
        self.applied = self.applied.max(Progress { at, sequence: sequence.unsigned_abs() });
        Ok(())
    }

    /// Records the position; part of the transaction.
    pub(super) async fn reached(&self, connection: &mut SqliteConnection, to: Progress) -> Result<(), Error> {
        let (commit_ts, start_ts) = (to.at.commit_ts.as_i64(), to.at.start_ts.as_i64());
        let (table, place) = if to.sequence == Progress::WHOLE {
            ("progress", format!("{commit_ts}, {start_ts}"))
        } else {
            ("part", format!("{commit_ts}, {start_ts}, {}", to.sequence))
        };
        let sql = format!(
            "INSERT OR REPLACE INTO {} VALUES ('{}', {place}, {})",
            self.table(table),
            self.cluster,
            self.base()
        );
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
        done.map(drop).map_err(bookkeeping("write the position reached"))
    }

    /// The transaction that [`State::reached`] was part of is durable.
    pub(super) fn committed(&mut self, to: Progress) {
        self.applied = to;
    }

    pub(super) async fn save(
        &mut self,
        connection: &mut SqliteConnection,
        checkpoint: Checkpoint,
    ) -> Result<(), Error> {
        let sql = format!(
            "INSERT OR REPLACE INTO {} VALUES ('{}', {})",
            self.table("checkpoint"),
            self.cluster,
            sqlite_text(&encode(&checkpoint, &self.ts_map))
        );
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
        done.map_err(bookkeeping("save the checkpoint"))?;
        self.checkpoint = Some(checkpoint);
        Ok(())
    }
}
