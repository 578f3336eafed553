//! The original's checkpoint table: read once, then written only over what we wrote ourselves.
//!
//! The original replaces the row whatever it holds, so that two drainers of one cluster that share a table go back and forth in silence.
//! Here each save says what it expects to find; if something else is there, somebody else replicates this cluster to the same place, and
//! this sink stops. `checkpoint_history` beside it keeps what was saved before.

use std::time::Duration;

use binlog_types::ClusterId;
use sqlx::Row as _;
use tokio::time::Instant;

use super::bookkeeping;
use super::connection::Connection;
use crate::checkpoint::{TsMap, decode, encode};
use crate::names::backtick;
use crate::{Checkpoint, Error, SinkOptions, literal};

/// So many older checkpoints are kept …
const HISTORY: u64 = 120;
/// … this far apart.
const HISTORY_EVERY: Duration = Duration::from_secs(60);
/// As often as the original asks a TiDB target for its time.
const TARGET_TIME_EVERY: Duration = Duration::from_secs(60);

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
            next_slot: 0,
            history_at: None,
            target_time_at: None,
        }
    }

    /// Makes the tables where they are not there, and reads the checkpoint. `None`: nothing was applied yet.
    pub(super) async fn load(&mut self, main: &mut Connection) -> Result<(Option<Checkpoint>, TsMap), Error> {
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
        let failed = bookkeeping("read the checkpoint");
        let sql = format!(
            "select slot from {} where clusterID = {} order by saved_at desc, slot desc limit 1",
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
    ) -> Result<(), Error> {
        let json = encode(checkpoint, ts_map);
        if self.stored.as_ref() == Some(&json) {
            return Ok(());
        }
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
