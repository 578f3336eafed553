//! What the sink keeps in the checkpoint schema: the original's `checkpoint` table as it is, and beside it `progress` (rows of
//! tables without a key) and `ddl_intent` (the DDL begun last).
//!
//! Both hold the checkpoint that stood when they were written. If the stored checkpoint is lower than that, somebody has set it
//! back on purpose, and they say nothing about the downstream any more: they are left out of account, with a warning.

use binlog_types::{ClusterId, CommitTs, StartTs};
use sqlx::Row as _;

use super::bookkeeping;
use super::checkpoint::CheckpointTable;
use super::connection::Connection;
use crate::checkpoint::TsMap;
use crate::names::backtick;
use crate::position::{Position, Progress};
use crate::{Checkpoint, Error, SinkOptions, literal};

/// The sink's own tables, with what they hold.
#[derive(Debug)]
pub(super) struct State {
    schema: String,
    cluster: ClusterId,
    checkpoint: Option<Checkpoint>,
    ts_map: TsMap,
    table: CheckpointTable,
    progress: Progress,
    intent: Option<Intent>,
}

/// The DDL begun last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intent {
    pub(super) at: Position,
    /// Statements of it that ended; the next one may have taken effect too.
    pub(super) step: u64,
    /// All of them ended.
    pub(super) done: bool,
}

impl State {
    pub(super) async fn open(connection: &mut Connection, options: &SinkOptions) -> Result<Self, Error> {
        let (quoted, cluster) = (backtick(&options.checkpoint_schema), options.cluster);
        let failed = bookkeeping("create the checkpoint tables");
        for sql in [
            format!("create schema if not exists {quoted}"),
            format!(
                "create table if not exists {quoted}.progress(clusterID bigint unsigned primary key, commit_ts bigint unsigned not null, \
                 start_ts bigint unsigned not null, sequence bigint unsigned not null, checkpoint_ts bigint unsigned not null)"
            ),
            format!(
                "create table if not exists {quoted}.ddl_intent(clusterID bigint unsigned primary key, commit_ts bigint unsigned not null, \
                 start_ts bigint unsigned not null, job_id bigint not null, step bigint unsigned not null, done tinyint not null, \
                 checkpoint_ts bigint unsigned not null, query mediumtext)"
            ),
        ] {
            connection.execute(&sql).await.map_err(&failed)?;
        }
        let mut table = CheckpointTable::new(options);
        let (checkpoint, ts_map) = table.load(connection).await?;
        let mut state = State {
            schema: quoted,
            cluster,
            checkpoint,
            ts_map,
            table,
            progress: Progress::default(),
            intent: None,
        };
        let (progress, base) = state.fetch_progress(connection).await?;
        if state.still_holds(base, "progress") {
            state.progress = progress;
        }
        let (intent, base) = state.fetch_intent(connection).await?;
        if state.still_holds(base, "ddl_intent") {
            state.intent = intent;
        }
        Ok(state)
    }

    fn still_holds(&self, base: u64, table: &str) -> bool {
        let stored = self.base();
        if base > stored {
            tracing::warn!(
                table,
                checkpoint = stored,
                written_at = base,
                "the checkpoint was set back: what the table says about later records is left out of account"
            );
        }
        base <= stored
    }

    fn base(&self) -> u64 {
        self.checkpoint.map_or(0, |c| c.commit_ts.raw())
    }

    /// Everything before it is applied.
    pub(super) fn floor(&self) -> Position {
        self.intent.map(|i| i.at).unwrap_or_default()
    }

    pub(super) fn intent(&self) -> Option<Intent> {
        self.intent
    }

    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    pub(super) fn progressed(&mut self, to: Progress) {
        self.progress = self.progress.max(to);
    }

    /// Saves where the sink is. Everything at or below `checkpoint` is applied, and nothing above it: so the time of a TiDB target
    /// right now is one at which it equals the source at `checkpoint`.
    pub(super) async fn save(
        &mut self,
        connection: &mut Connection,
        checkpoint: Checkpoint,
        tidb: bool,
    ) -> Result<(), Error> {
        if tidb && self.table.wants_target_time() {
            let position = target_time(connection).await;
            if position > 0 {
                self.ts_map.clear();
                self.ts_map.insert("primary-ts".to_owned(), checkpoint.commit_ts.raw().into());
                self.ts_map.insert("secondary-ts".to_owned(), position.into());
            }
        }
        self.table.save(connection, &checkpoint, &self.ts_map).await?;
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    pub(super) async fn close(self) {
        self.table.close().await;
    }

    /// To be run in the transaction of the rows.
    pub(super) fn progress_sql(&self, to: Progress) -> String {
        format!(
            "replace into {}.progress values({}, {}, {}, {}, {})",
            self.schema,
            self.cluster,
            to.at.commit_ts,
            to.at.start_ts,
            to.sequence,
            self.base()
        )
    }

    /// Reads the progress again, waiting for a transaction that is writing it.
    pub(super) async fn read_progress(&mut self, connection: &mut Connection) -> Result<Progress, Error> {
        let (progress, _) = self.fetch_progress(connection).await?;
        self.progressed(progress);
        Ok(self.progress)
    }

    async fn fetch_progress(&self, connection: &mut Connection) -> Result<(Progress, u64), Error> {
        let failed = bookkeeping("read the progress of tables without a key");
        let sql = format!(
            "select commit_ts, start_ts, sequence, checkpoint_ts from {}.progress where clusterID = {} for update",
            self.schema, self.cluster
        );
        let rows = connection.fetch(&sql).await.map_err(&failed)?;
        let Some(row) = rows.first() else { return Ok(Default::default()) };
        let field = |at: usize| row.try_get::<u64, _>(at).map_err(&failed);
        let at = Position { commit_ts: CommitTs::new(field(0)?), start_ts: StartTs::new(field(1)?) };
        Ok((Progress { at, sequence: field(2)? }, field(3)?))
    }

    async fn fetch_intent(&self, connection: &mut Connection) -> Result<(Option<Intent>, u64), Error> {
        let failed = bookkeeping("read the DDL begun last");
        let sql = format!(
            "select commit_ts, start_ts, step, cast(done as unsigned), checkpoint_ts from {}.ddl_intent where clusterID = {}",
            self.schema, self.cluster
        );
        let rows = connection.fetch(&sql).await.map_err(&failed)?;
        let Some(row) = rows.first() else { return Ok((None, 0)) };
        let field = |at: usize| row.try_get::<u64, _>(at).map_err(&failed);
        let at = Position { commit_ts: CommitTs::new(field(0)?), start_ts: StartTs::new(field(1)?) };
        Ok((Some(Intent { at, step: field(2)?, done: field(3)? != 0 }), field(4)?))
    }

    /// Records that the DDL at `at` is begun, has ended `step` statements, or is done.
    pub(super) async fn intend(
        &mut self,
        connection: &mut Connection,
        intent: Intent,
        job: i64,
        query: &str,
    ) -> Result<(), Error> {
        let sql = format!(
            "replace into {}.ddl_intent values({}, {}, {}, {job}, {}, {}, {}, {})",
            self.schema,
            self.cluster,
            intent.at.commit_ts,
            intent.at.start_ts,
            intent.step,
            u8::from(intent.done),
            self.base(),
            literal::text(query)
        );
        connection.execute(&sql).await.map_err(bookkeeping("record the DDL"))?;
        self.intent = Some(intent);
        Ok(())
    }
}

/// The current timestamp of a TiDB target; 0 where it does not say: some accounts may not ask, and nothing depends on it.
async fn target_time(connection: &mut Connection) -> u64 {
    let rows = connection.fetch("SHOW MASTER STATUS").await;
    let position = rows.ok().and_then(|rows| {
        let row = rows.first()?;
        row.try_get::<u64, _>("Position")
            .ok()
            .or_else(|| row.try_get::<i64, _>("Position").ok()?.try_into().ok())
            .or_else(|| row.try_get::<String, _>("Position").ok()?.parse().ok())
    });
    position.unwrap_or(0)
}
