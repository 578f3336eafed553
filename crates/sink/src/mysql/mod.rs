//! MySQL, MariaDB and TiDB.

mod apply;
mod checkpoint;
pub(crate) mod connection;
pub(crate) mod ddl;
pub(crate) mod describe;
mod lane;
pub(crate) mod marks;
mod partial;
mod server;
mod state;

use binlog_catalog::{Event, Transaction};
use binlog_types::TableId;
use sqlx::Row as _;

use crate::ddl::dialect::Kind;
use crate::ddl::recycle::{self, Bin};
use crate::dml::batch::{Batch, cut};
use crate::notices::Notices;
use crate::position::Position;
use crate::{Checkpoint, Error, MySqlTarget, RecycleBin, SinkOptions};
use connection::Connection;
use partial::TargetColumns;
use server::Server;
use state::State;

/// An open server.
#[derive(Debug)]
pub(crate) struct MySqlSink {
    options: SinkOptions,
    server: Server,
    /// Bookkeeping and DDL, and the lane of tables without a key.
    main: Connection,
    workers: Vec<Connection>,
    /// What this sink keeps beside the data; `None`: nothing.
    state: Option<State>,
    notices: Notices,
    bin: Bin,
    columns: TargetColumns,
}

impl MySqlSink {
    pub(crate) async fn open(target: &MySqlTarget, mut options: SinkOptions) -> Result<Self, Error> {
        options.workers = options.workers.max(1);
        options.batch_rows = options.batch_rows.max(1);
        let mark = |id| options.marks.map(|marks| marks::statement(marks, id));
        let mut main = Connection::marked(target, mark(options.workers));
        let server = Server::ask(&mut main).await?;
        if let Some(marks) = options.marks {
            marks::open(&mut main, marks, options.workers + 1).await?;
        }
        let state = if options.checkpoint { Some(State::open(&mut main, &options).await?) } else { None };
        let bin = bin(&mut main, &server, options.recycle_bin.clone()).await?;
        let workers = (0..options.workers).map(|id| Connection::marked(target, mark(id))).collect();
        tracing::info!(target = %target, server = server.version, dialect = server.dialect.name(), "sink is open");
        Ok(MySqlSink {
            options,
            server,
            main,
            workers,
            state,
            notices: Notices::default(),
            bin,
            columns: TargetColumns::default(),
        })
    }

    pub(crate) fn expect_back(&mut self, tables: Vec<TableId>) {
        self.bin.expect(tables);
    }

    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.state.as_ref().and_then(State::checkpoint)
    }

    pub(crate) async fn save(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        match &mut self.state {
            Some(state) => state.save(&mut self.main, checkpoint, self.server.dialect.is_tidb()).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn apply(&mut self, events: &[Event]) -> Result<(), Error> {
        // A DDL is begun only after all before it is durable: what lies before the last one was applied by an earlier run.
        let floor = self.state.as_ref().map(|s| s.floor()).unwrap_or_default();
        let mut run: Vec<&Transaction> = Vec::new();
        for event in events {
            let at = Position::of(event);
            match event {
                Event::Transaction(txn) if at > floor => run.push(txn),
                Event::Transaction(_) => {}
                Event::Ddl(ddl) => {
                    self.rows(std::mem::take(&mut run)).await?;
                    if at >= floor {
                        self.schema_change(ddl, at).await?;
                    }
                }
            }
        }
        self.rows(run).await
    }

    async fn rows(&mut self, run: Vec<&Transaction>) -> Result<(), Error> {
        for run in cut(run) {
            self.batch(run).await?;
        }
        Ok(())
    }

    async fn batch(&mut self, run: Vec<&Transaction>) -> Result<(), Error> {
        let done = self.state.as_ref().map(|s| s.progress()).unwrap_or_default();
        let batch = Batch::new(run, done)?;
        let keyed = apply::Keyed::new(&batch.keyed, self.options.batch_rows, self.server.statement_bytes);
        let lane = lane::run(
            &mut self.main,
            &batch.lane,
            self.state.as_mut(),
            lane::Limits {
                rows: self.options.batch_rows,
                bytes: self.server.statement_bytes,
                json_type: self.server.dialect.has_json_type(),
            },
        );
        let keyed = keyed.run(&mut self.workers);
        // Both are let run to their end: a statement cut off in the middle would leave its connection unusable.
        let (lane, keyed) = futures::future::join(Box::pin(lane), Box::pin(keyed)).await;
        lane.and(keyed)
    }

    /// Applies events whose rows may have more columns than the target's tables.
    pub(crate) async fn apply_narrowed(&mut self, mut events: Vec<Event>) -> Result<(), Error> {
        if !self.options.partial_columns {
            return self.apply(&events).await;
        }
        // What a table has is asked for anew after each DDL, so what is between two of them is looked at by itself.
        while !events.is_empty() {
            let end = events
                .iter()
                .position(|event| matches!(event, Event::Ddl(_)))
                .map_or(events.len(), |ddl| ddl + 1);
            let rest = events.split_off(end);
            self.columns.narrow(&mut self.main, &mut events).await?;
            self.apply(&events).await?;
            if matches!(events.last(), Some(Event::Ddl(_))) {
                self.columns.forget();
            }
            events = rest;
        }
        Ok(())
    }

    pub(crate) async fn close(mut self) {
        if let Some(marks) = self.options.marks {
            marks::close(&mut self.main, marks).await;
        }
        if let Some(state) = self.state {
            state.close().await;
        }
        self.main.close().await;
        for worker in self.workers {
            worker.close().await;
        }
    }
}

/// TiDB brings back what it dropped by itself, from the statement's text.
async fn bin(main: &mut Connection, server: &Server, policy: RecycleBin) -> Result<Bin, Error> {
    if policy == RecycleBin::Off || server.dialect.kind == Kind::TiDb {
        return Ok(Bin::default());
    }
    let sql = format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = '{}'",
        recycle::SCHEMA
    );
    let failed = bookkeeping("look into the recycle bin");
    let rows = main.fetch(&sql).await.map_err(&failed)?;
    let names: Vec<String> =
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(&failed)?;
    Ok(Bin::new(policy, names.iter().map(String::as_str)))
}

/// Statement and position for errors of statements that concern the sink's own tables.
pub(crate) fn bookkeeping(what: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Bookkeeping { what, source }
}
