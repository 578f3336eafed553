//! The original's checkpoint table: read once, then written only over what we wrote ourselves.
//!
//! The original replaces the row whatever it holds, so that two drainers of one cluster that share a table go back and forth in silence.
//! Here each save says what it expects to find; if something else is there, somebody else replicates this cluster to the same place, and
//! this sink stops. `checkpoint_history` beside it keeps what was saved before, and in two rows of their own the checkpoint's id, where it
//! needs one, and what this program saved last: a checkpoint beyond that is another's.

use std::time::Duration;

use binlog_types::{ClusterId, CommitTs};
use sqlx::Row as _;
use tokio::time::Instant;

use super::bookkeeping;
use super::connection::Connection;
use crate::checkpoint::{TsMap, decode, encode};
use crate::names::backtick;
use crate::{Checkpoint, Error, SinkOptions, literal};

/// The table's name where none is set.
const USUAL_TABLE: &str = "checkpoint";
/// So many older checkpoints are kept …
const HISTORY: u64 = 120;
/// … this far apart.
const HISTORY_EVERY: Duration = Duration::from_secs(60);
/// As often as the original asks a TiDB target for its time.
const TARGET_TIME_EVERY: Duration = Duration::from_secs(60);

/// The row of the history that holds the checkpoint's id …
const ID_SLOT: i32 = -1;
/// … and the one that says what this program saved last.
const OWN_SLOT: i32 = -2;
/// The original saves every three seconds, and applies a batch in between: milliseconds within which what it had applied is behind
/// its checkpoint.
const ORIGINAL_LAGS: u64 = 10_000;

/// What this program saved last, as the history holds it: commit_ts, and through where the target's state was in doubt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Own {
    saved: u64,
    in_doubt_through: u64,
}

impl Own {
    fn parse(text: &str) -> Option<Self> {
        let (saved, in_doubt_through) = text.split_once(' ')?;
        Some(Own { saved: saved.parse().ok()?, in_doubt_through: in_doubt_through.parse().ok()? })
    }

    fn text(self) -> String {
        format!("{} {}", self.saved, self.in_doubt_through)
    }
}

#[derive(Debug)]
pub(super) struct CheckpointTable {
    cluster: ClusterId,
    schema: String,
    /// `` `schema`.`table` ``.
    table: String,
    history: String,
    /// Where the table is, if not where the rows are.
    elsewhere: Option<Connection>,
    /// What the row holds; None: there is none, or it is NULL.
    stored: Option<String>,
    /// Whether it is the one that a drainer has where nothing else is set.
    usual: bool,
    own: Option<Own>,
    next_slot: u64,
    history_at: Option<Instant>,
    target_time_at: Option<Instant>,
}

impl CheckpointTable {
    pub(super) fn new(options: &SinkOptions) -> Self {
        let schema = backtick(&options.checkpoint_schema);
        let history = format!("{}_history", options.checkpoint_table);
        CheckpointTable {
            cluster: options.cluster,
            table: format!("{schema}.{}", backtick(&options.checkpoint_table)),
            history: format!("{schema}.{}", backtick(&history)),
            schema,
            elsewhere: options.checkpoint_target.as_ref().map(Connection::new),
            stored: None,
            usual: options.checkpoint_target.is_none() && options.checkpoint_table == USUAL_TABLE,
            own: None,
            next_slot: 0,
            history_at: None,
            target_time_at: None,
        }
    }

    /// Makes the tables where they are not there. Gives the checkpoint's id; empty for the usual one.
    pub(super) async fn make(&mut self, main: &mut Connection) -> Result<String, Error> {
        let connection = self.elsewhere.as_mut().unwrap_or(main);
        connection.open().await?;
        let failed = bookkeeping("create the checkpoint table");
        for sql in [
            format!("create schema if not exists {}", self.schema),
            format!(
                "create table if not exists {}(clusterID bigint unsigned primary key, checkPoint MEDIUMTEXT)",
                self.table
            ),
            format!(
                "create table if not exists {}(clusterID bigint unsigned not null, slot int not null, checkPoint mediumtext, \
                 saved_at timestamp not null default current_timestamp, primary key (clusterID, slot))",
                self.history
            ),
        ] {
            connection.execute(&sql).await.map_err(&failed)?;
        }
        if self.usual {
            return Ok(String::new());
        }
        let sql = format!(
            "insert ignore into {} (clusterID, slot, checkPoint) values({}, {ID_SLOT}, replace(uuid(), '-', ''))",
            self.history, self.cluster
        );
        connection.execute(&sql).await.map_err(&failed)?;
        let id = self.slot(main, ID_SLOT).await?.unwrap_or_default();
        Ok(id.chars().filter(char::is_ascii_alphanumeric).take(32).collect())
    }

    async fn slot(&mut self, main: &mut Connection, slot: i32) -> Result<Option<String>, Error> {
        let failed = bookkeeping("read the checkpoint's history");
        let sql = format!(
            "select checkPoint from {} where clusterID = {} and slot = {slot}",
            self.history, self.cluster
        );
        let connection = self.elsewhere.as_mut().unwrap_or(main);
        let rows = connection.fetch(&sql).await.map_err(&failed)?;
        rows.first().map_or(Ok(None), |row| row.try_get(0).map_err(&failed))
    }

    /// Up to where a drainer that this program knows nothing of may have applied what follows `checkpoint`.
    pub(super) fn in_doubt_through(&self, checkpoint: Option<Checkpoint>) -> CommitTs {
        match (checkpoint, self.own) {
            (Some(checkpoint), own)
                if !checkpoint.consistent && own.is_none_or(|own| own.saved < checkpoint.commit_ts.raw()) =>
            {
                CommitTs::new(checkpoint.commit_ts.raw() + (ORIGINAL_LAGS << 18))
            }
            (_, own) => CommitTs::new(own.unwrap_or_default().in_doubt_through),
        }
    }

    /// Reads the checkpoint. `None`: nothing was applied yet.
    pub(super) async fn load(&mut self, main: &mut Connection) -> Result<(Option<Checkpoint>, TsMap), Error> {
        self.own = self.slot(main, OWN_SLOT).await?.as_deref().and_then(Own::parse);
        let connection = self.elsewhere.as_mut().unwrap_or(main);
        let failed = bookkeeping("read the checkpoint");
        let sql = format!(
            "select slot from {} where clusterID = {} and slot >= 0 order by saved_at desc, slot desc limit 1",
            self.history, self.cluster
        );
        let last: Option<i64> = match connection.fetch(&sql).await.map_err(&failed)?.first() {
            Some(row) => Some(row.try_get::<i32, _>(0).map_err(&failed)?.into()),
            None => None,
        };
        self.next_slot = last.and_then(|slot| u64::try_from(slot + 1).ok()).unwrap_or(0) % HISTORY;
        self.stored = self.read(main).await?;
        match &self.stored {
            Some(text) => decode(text).map_err(|why| Error::BadCheckpoint {
                cluster: self.cluster.0,
                why,
                text: text.clone(),
            }),
            None => Ok((None, TsMap::default())),
        }
    }

    async fn read(&mut self, main: &mut Connection) -> Result<Option<String>, Error> {
        let failed = bookkeeping("read the checkpoint");
        let sql = format!("select checkPoint from {} where clusterID = {}", self.table, self.cluster);
        let connection = self.elsewhere.as_mut().unwrap_or(main);
        let rows = connection.fetch(&sql).await.map_err(&failed)?;
        match rows.first() {
            Some(row) => row.try_get(0).map_err(&failed),
            None => Ok(None),
        }
    }

    /// Whether it is time to ask a TiDB target for its time again.
    pub(super) fn wants_target_time(&self) -> bool {
        self.target_time_at.is_none_or(|at| at.elapsed() >= TARGET_TIME_EVERY)
    }

    /// It is asked now.
    pub(super) fn asks_target_time(&mut self) {
        self.target_time_at = Some(Instant::now());
    }

    pub(super) async fn save(
        &mut self,
        main: &mut Connection,
        checkpoint: &Checkpoint,
        ts_map: &TsMap,
        in_doubt_through: CommitTs,
    ) -> Result<(), Error> {
        let json = encode(checkpoint, ts_map);
        if self.stored.as_ref() == Some(&json) {
            return Ok(());
        }
        // Before the checkpoint itself: what is saved is then never beyond it.
        let own = Own {
            saved: checkpoint.commit_ts.raw(),
            in_doubt_through: if checkpoint.commit_ts < in_doubt_through {
                in_doubt_through.raw()
            } else {
                0
            },
        };
        let sql = format!(
            "replace into {} (clusterID, slot, checkPoint, saved_at) values({}, {OWN_SLOT}, {}, current_timestamp)",
            self.history,
            self.cluster,
            literal::text(&own.text())
        );
        let connection = self.elsewhere.as_mut().unwrap_or(main);
        connection.execute(&sql).await.map_err(bookkeeping("save the checkpoint"))?;
        self.own = Some(own);
        let (table, cluster, new) = (self.table.clone(), self.cluster, literal::text(&json));
        let sql = match &self.stored {
            Some(old) => format!(
                "update {table} set checkPoint = {new} where clusterID = {cluster} and checkPoint = {}",
                literal::text(old)
            ),
            // A row without text is one without a checkpoint.
            None => format!(
                "insert into {table} values({cluster}, {new}) on duplicate key update checkPoint = ifnull(checkPoint, values(checkPoint))"
            ),
        };
        let connection = self.elsewhere.as_mut().unwrap_or(main);
        let hit = connection.execute(&sql).await.map_err(bookkeeping("save the checkpoint"))?;
        // A statement that was repeated after a lost connection may have hit the row the first time; what an INSERT hit, servers count
        // in different ways. Only the row itself tells.
        if hit != 1 || self.stored.is_none() {
            let found = self.read(main).await?;
            if found.as_ref() != Some(&json) {
                return Err(Error::CheckpointTaken {
                    cluster: cluster.0,
                    table,
                    ours: self.stored.clone().unwrap_or_default(),
                    found: found.unwrap_or_default(),
                });
            }
        }
        self.stored = Some(json);
        self.remember(main).await
    }

    async fn remember(&mut self, main: &mut Connection) -> Result<(), Error> {
        if self.history_at.is_some_and(|at| at.elapsed() < HISTORY_EVERY) {
            return Ok(());
        }
        let sql = format!(
            "replace into {} (clusterID, slot, checkPoint, saved_at) values({}, {}, {}, current_timestamp)",
            self.history,
            self.cluster,
            self.next_slot,
            literal::text(self.stored.as_deref().unwrap_or_default())
        );
        let connection = self.elsewhere.as_mut().unwrap_or(main);
        connection.execute(&sql).await.map_err(bookkeeping("save the checkpoint's history"))?;
        self.next_slot = (self.next_slot + 1) % HISTORY;
        self.history_at = Some(Instant::now());
        Ok(())
    }

    pub(super) async fn close(self) {
        if let Some(connection) = self.elsewhere {
            connection.close().await;
        }
    }
}
