//! A SQLite file.
//!
//! All that one `apply` does is one transaction, with the position reached: so everything is applied exactly once, DDL and rows
//! without a key too.

mod actor;
mod copy;
pub(crate) mod rows;
mod state;
mod value;

use std::path::Path;
use std::time::Duration;

use binlog_catalog::{Ddl, Event, Transaction};
use binlog_types::TableId;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Row as _};

use crate::ddl::recycle::{self, Bin};
use crate::ddl::{self, dialect::Dialect};
use crate::dml::batch::{Batch, cut};
use crate::layout::Layout;
use crate::literal::sqlite_text;
use crate::names::{sqlite_table, sqlite_table_name};
use crate::notices::Notices;
use crate::position::Progress;
use crate::{Checkpoint, Error, RecycleBin, SinkOptions};
pub(crate) use actor::SqliteActor;
use state::State;

/// An open file.
#[derive(Debug)]
pub(crate) struct SqliteSink {
    connection: SqliteConnection,
    dialect: Dialect,
    state: Option<State>,
    notices: Notices,
    bin: Bin,
}

fn bookkeeping(what: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Bookkeeping { what, source }
}

impl SqliteSink {
    pub(crate) async fn open(path: &Path, options: SinkOptions) -> Result<Self, Error> {
        let settings = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode, NORMAL would not sync at COMMIT: what was acknowledged could be lost.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(false)
            .busy_timeout(Duration::from_secs(30))
            .disable_statement_logging();
        let failed = |source| Error::Connect { target: path.display().to_string(), source };
        let mut connection = settings.connect().await.map_err(failed)?;
        let state = if options.checkpoint {
            Some(State::open(&mut connection, &options.checkpoint_schema, options.cluster).await?)
        } else {
            None
        };
        let bin = bin(&mut connection, options.recycle_bin).await?;
        Ok(SqliteSink { bin, connection, dialect: Dialect::sqlite(), state, notices: Notices::default() })
    }

    pub(crate) fn expect_back(&mut self, tables: Vec<TableId>) {
        self.bin.expect(tables);
    }

    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.state.as_ref().and_then(State::checkpoint)
    }

    pub(crate) async fn save(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        match &mut self.state {
            Some(state) => state.save(&mut self.connection, checkpoint).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn apply(&mut self, events: &[Event]) -> Result<(), Error> {
        let done = self.state.as_ref().map(State::applied).unwrap_or_default();
        let events: Vec<&Event> =
            events.iter().filter(|e| Progress::behind(e) > done || self.state.is_none()).collect();
        let Some(last) = events.last() else { return Ok(()) };
        let last = Progress::behind(last);
        self.control("BEGIN IMMEDIATE").await?;
        let mut result = self.events(&events).await;
        if result.is_ok()
            && let Some(state) = &mut self.state
        {
            result = state.reached(&mut self.connection, last).await;
        }
        if result.is_ok() {
            result = self.control("COMMIT").await;
        }
        match result {
            Ok(()) => {
                if let Some(state) = &mut self.state {
                    state.committed(last);
                }
                Ok(())
            }
            Err(error) => {
                // Fails where SQLite has rolled back by itself.
                let _ = self.control("ROLLBACK").await;
                Err(error)
            }
        }
    }

    async fn control(&mut self, sql: &'static str) -> Result<(), Error> {
        let done = sqlx::raw_sql(sql).execute(&mut self.connection).await;
        done.map(drop).map_err(bookkeeping("begin or end a transaction"))
    }

    async fn events(&mut self, events: &[&Event]) -> Result<(), Error> {
        let mut run: Vec<&Transaction> = Vec::new();
        for event in events {
            match event {
                Event::Transaction(txn) => run.push(txn),
                Event::Ddl(ddl) => {
                    self.rows(std::mem::take(&mut run)).await?;
                    self.schema_change(ddl).await?;
                }
            }
        }
        self.rows(run).await
    }

    async fn schema_change(&mut self, ddl: &Ddl) -> Result<(), Error> {
        for (id, name) in self.bin.expired(ddl.commit_ts) {
            let sql = format!("DROP TABLE IF EXISTS {}", sqlite_table(recycle::SCHEMA, &name));
            let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await;
            done.map_err(bookkeeping("empty the recycle bin"))?;
            self.bin.forget(id);
        }
        for step in ddl::plan(&self.dialect, ddl, &self.bin, false, &mut self.notices)? {
            let failed = |source| Error::statement(&step.place, &step.sql, source);
            if let Some(table) = &step.if_there {
                let sql = format!("SELECT 1 FROM sqlite_master WHERE name = {}", sqlite_text(table));
                let found = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_optional(&mut self.connection).await;
                if found.map_err(failed)?.is_none() {
                    continue;
                }
            }
            if let Some(copy) = &step.copy {
                copy::run(&mut self.connection, copy, &step.place).await?;
                continue;
            }
            let done = sqlx::raw_sql(AssertSqlSafe(step.sql.clone())).execute(&mut self.connection).await;
            done.map_err(failed)?;
        }
        for change in &ddl.changes {
            self.bin.applied(change, ddl.commit_ts);
        }
        Ok(())
    }

    async fn rows(&mut self, run: Vec<&Transaction>) -> Result<(), Error> {
        // Of a record that was applied in part, in parts that were cut elsewhere.
        let done = self.state.as_ref().map(State::applied).unwrap_or_default();
        for run in cut(run) {
            let batch = Batch::new(run, done, |_, _| false, Layout::new)?;
            rows::write(&mut self.connection, &batch).await?;
        }
        Ok(())
    }

    pub(crate) async fn close(self) -> Result<(), Error> {
        self.connection.close().await.map_err(bookkeeping("close the file"))
    }
}

async fn bin(connection: &mut SqliteConnection, policy: RecycleBin) -> Result<Bin, Error> {
    let prefix = sqlite_table_name(recycle::SCHEMA, "");
    let failed = bookkeeping("look into the recycle bin");
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table'";
    let rows = sqlx::raw_sql(sql).fetch_all(connection).await.map_err(&failed)?;
    let names: Vec<String> =
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(&failed)?;
    Ok(Bin::new(policy, names.iter().filter_map(|name| name.strip_prefix(prefix.as_str()))))
}
