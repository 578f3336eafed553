//! What the sink keeps in the checkpoint schema: the original's `checkpoint` table as it is, and beside it `progress` (rows of
//! tables without a key) and `ddl_intent` (the DDLs begun behind the checkpoint). Where the checkpoint is another than the usual one, the
//! names of these two end with its id.
//!
//! Both hold the checkpoint that stood when they were written. If the stored checkpoint is lower than that, somebody has set it
//! back on purpose, and they say nothing about the downstream any more: they are left out of account, with a warning.

use std::collections::HashMap;
use std::sync::Arc;

use binlog_types::{CommitTs, StartTs};
use sqlx::Row as _;

use super::bookkeeping;
use super::books::{Books, Intent};
use super::checkpoint::CheckpointTable;
use super::connection::Connection;
use super::scope::{Floors, Scope};
use crate::checkpoint::TsMap;
use crate::names::backtick;
use crate::position::{Position, Progress};
use crate::{Checkpoint, Error, SinkOptions};

/// The sink's own tables, with what they held when the sink was opened.
#[derive(Debug)]
pub(super) struct State {
    books: Arc<Books>,
    checkpoint: Option<Checkpoint>,
    ts_map: TsMap,
    table: CheckpointTable,
    progress: Progress,
    /// DDLs that an earlier run began behind the checkpoint.
    intents: HashMap<Position, Intent>,
    floors: Floors,
    /// What lies between the checkpoint and this, a drainer that knows no progress may have applied.
    in_doubt_through: CommitTs,
    /// There may be intents at or below the next checkpoint.
    intended: bool,
}

impl State {
    pub(super) async fn open(connection: &mut Connection, options: &SinkOptions) -> Result<Self, Error> {
        let schema = backtick(&options.checkpoint_schema);
        let failed = bookkeeping("create the checkpoint tables");
        connection.execute(&format!("create schema if not exists {schema}")).await.map_err(&failed)?;
        let mut table = CheckpointTable::new(options);
        let owner = table.make(connection).await?;
        let books = Arc::new(Books::new(&options.checkpoint_schema, options.cluster, &owner));
        for sql in [
            format!(
                "create table if not exists {}(clusterID bigint unsigned primary key, commit_ts bigint unsigned not null, \
                 start_ts bigint unsigned not null, sequence bigint unsigned not null, checkpoint_ts bigint unsigned not null)",
                books.progress
            ),
            format!(
                "create table if not exists {}(clusterID bigint unsigned not null, commit_ts bigint unsigned not null, \
                 start_ts bigint unsigned not null, job_id bigint not null, step bigint unsigned not null, done tinyint not null, \
                 checkpoint_ts bigint unsigned not null, query mediumtext, scope mediumtext, \
                 primary key(clusterID, commit_ts, start_ts))",
                books.intents
            ),
        ] {
            connection.execute(&sql).await.map_err(&failed)?;
        }
        // What an earlier run has left at work must not take effect after this.
        let ending = bookkeeping("end what an earlier run has left at work");
        connection.end_leftovers(books.mark()).await.map_err(ending)?;
        let (checkpoint, ts_map) = table.load(connection).await?;
        books.set_base(checkpoint.map_or(CommitTs::ZERO, |c| c.commit_ts));
        let in_doubt_through = table.in_doubt_through(checkpoint);
        if let Some(checkpoint) = checkpoint
            && in_doubt_through > checkpoint.commit_ts
        {
            tracing::warn!(
                checkpoint = %checkpoint.commit_ts, through = %in_doubt_through,
                "the checkpoint was left behind by another drainer that did not stop in order: what follows it may be applied already"
            );
        }
        let mut state = State {
            books,
            checkpoint,
            ts_map,
            table,
            progress: Progress::default(),
            intents: HashMap::new(),
            floors: Floors::default(),
            in_doubt_through,
            intended: true,
        };
        let (progress, base) = state.books.read_progress(connection).await?;
        if state.still_holds(base, "progress") {
            state.progress = progress;
        }
        state.load_intents(connection).await?;
        Ok(state)
    }

    pub(super) fn books(&self) -> &Arc<Books> {
        &self.books
    }

    /// See [`Books::mark`].
    pub(super) fn mark(&self) -> String {
        self.books.mark().to_owned()
    }

    /// Up to where nobody knows what is applied: zero, but where another drainer was killed.
    pub(super) fn in_doubt_through(&self) -> CommitTs {
        self.in_doubt_through
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

    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
    }

    /// What an earlier run did of the lane.
    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// How far an earlier run came with the DDL at `at`.
    pub(super) fn intent(&self, at: Position) -> Option<Intent> {
        self.intents.get(&at).copied()
    }

    /// Which rows an earlier run must have applied, because it began a DDL of their table.
    pub(super) fn floors(&self) -> &Floors {
        &self.floors
    }

    /// A DDL will be recorded.
    pub(super) fn will_intend(&mut self) {
        self.intended = true;
    }

    /// Whether the next save should name the time of a TiDB target.
    pub(super) fn wants_target_time(&self) -> bool {
        self.table.wants_target_time()
    }

    /// Saves where the sink is. `exact`: the target is a TiDB, everything at or below `checkpoint` is applied to it and nothing above,
    /// so its time right now is one at which it equals the source at `checkpoint`.
    pub(super) async fn save(
        &mut self,
        connection: &mut Connection,
        checkpoint: Checkpoint,
        exact: bool,
    ) -> Result<(), Error> {
        if exact && self.table.wants_target_time() {
            self.table.asks_target_time();
            let position = target_time(connection).await;
            if position > 0 {
                self.ts_map.clear();
                self.ts_map.insert("primary-ts".to_owned(), checkpoint.commit_ts.raw().into());
                self.ts_map.insert("secondary-ts".to_owned(), position.into());
            }
        }
        self.table.save(connection, &checkpoint, &self.ts_map, self.in_doubt_through).await?;
        self.checkpoint = Some(checkpoint);
        self.books.set_base(checkpoint.commit_ts);
        if std::mem::take(&mut self.intended) {
            let sql = format!(
                "delete from {} where clusterID = {} and commit_ts <= {}",
                self.books.intents, self.books.cluster, checkpoint.commit_ts
            );
            connection.execute(&sql).await.map_err(bookkeeping("forget DDLs behind the checkpoint"))?;
        }
        Ok(())
    }

    pub(super) async fn close(self) {
        self.table.close().await;
    }

    async fn load_intents(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let failed = bookkeeping("read the DDLs begun");
        let sql = format!(
            "select commit_ts, start_ts, step, cast(done as unsigned), checkpoint_ts, scope from {} where clusterID = {}",
            self.books.intents, self.books.cluster
        );
        for row in connection.fetch(&sql).await.map_err(&failed)? {
            let field = |at: usize| row.try_get::<u64, _>(at).map_err(&failed);
            let at = Position { commit_ts: CommitTs::new(field(0)?), start_ts: StartTs::new(field(1)?) };
            if !self.still_holds(field(4)?, "ddl_intent") {
                continue;
            }
            let scope: String = row.try_get(5).map_err(&failed)?;
            let scope: Scope =
                serde_json::from_str(&scope).map_err(|e| failed(sqlx::Error::Decode(e.into())))?;
            self.floors.raise(&scope, at);
            self.intents.insert(at, Intent { at, step: field(2)?, done: field(3)? != 0 });
        }
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
