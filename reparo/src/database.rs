//! A destination database: what a restore does there, and how it goes on after a crash.

use std::collections::VecDeque;
use std::time::Duration;

use binlog_catalog::Event;
use binlog_pull::EventBatch;
use binlog_sink::{Checkpoint, MySqlTarget, Sink, Target, Ticket, TlsFiles};
use binlog_types::{CommitTs, SchemaVersion, TableId};
use tokio::time::Instant;

use crate::bind::Binder;
use crate::journal::{Entry, Journal, State};
use crate::standing::{Standing, Way};
use crate::{Config, DestType, Error, Hole, Origin, Selection, utc};

const MYSQL_PORT: u16 = 3306;
/// How far a restore is, is noted this often, and around each DDL.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// An open database.
#[derive(Debug)]
pub(crate) struct Database {
    sink: Sink,
    journal: Journal,
    /// What the record says.
    way: Way,
    /// Of binlog files.
    binder: Option<Binder>,
    /// The first DDL may have been run before.
    in_doubt: bool,
    /// What the sink has and has not made durable yet.
    in_flight: VecDeque<InFlight>,
    /// Everything at or below it is durable.
    reached: CommitTs,
    version: SchemaVersion,
    saved_at: Instant,
}

/// A batch on its way.
#[derive(Debug)]
struct InFlight {
    ticket: Ticket,
    /// Where the restore is when it is durable.
    through: CommitTs,
    /// Keeps its bytes of the budget until then.
    _batch: EventBatch,
}

/// The database that the configuration names; None: the destination is text.
pub(crate) fn target(config: &Config) -> Result<Option<Target>, Error> {
    Ok(match config.dest()? {
        DestType::Print | DestType::Sql | DestType::Json | DestType::Csv | DestType::Memory => None,
        DestType::Sqlite => Some(Target::Sqlite(config.dest_path.clone())),
        DestType::MySql => {
            let db = config.dest_db.clone().unwrap_or_default();
            let port = if db.port == 0 { MYSQL_PORT } else { db.port };
            let security = db.security;
            Some(Target::MySql(MySqlTarget {
                host: db.host,
                port,
                user: db.user,
                password: db.password,
                tls: (!security.ssl_ca.is_empty()).then_some(TlsFiles {
                    ca: security.ssl_ca,
                    cert: security.ssl_cert,
                    key: security.ssl_key,
                }),
                ..MySqlTarget::default()
            }))
        }
    })
}

impl Database {
    /// Opens it, to begin or to go on with `selection`, which is checked.
    pub(crate) async fn open(
        config: &Config,
        mut standing: Standing,
        mut way: Way,
        selection: &Selection,
    ) -> Result<Self, Error> {
        let sink = way.start(&mut standing, config, selection).await?;
        let binder = match config.origin()? {
            Origin::Files(_) => Some(Binder::open(&standing.target).await?),
            Origin::Registry | Origin::Addresses(_) | Origin::Stores(_) => None,
        };
        if way.resumed {
            tracing::info!(
                "going on with a restore that was cut off: everything through {} ({}) is there (-restart begins anew)",
                selection.range.after,
                utc(selection.range.after.ts())
            );
        }
        Ok(Database {
            sink,
            journal: standing.journal,
            binder,
            in_doubt: way.resumed,
            in_flight: VecDeque::new(),
            reached: selection.range.after,
            version: way.version,
            saved_at: Instant::now(),
            way,
        })
    }

    /// What earlier runs had to leave out is in the record already; this one tells what it finds while it reads.
    pub(crate) async fn note_holes(&mut self, holes: &[Hole]) -> Result<(), Error> {
        let mut news = false;
        for hole in holes {
            news |= self.way.note_hole(&hole.to_string());
        }
        if news { self.journal.write(&self.way.entry).await } else { Ok(()) }
    }

    /// The first event of a restore that stops before the next DDL: cut off, it must know whether that one was done.
    pub(crate) async fn note_first(&mut self, first: CommitTs) -> Result<(), Error> {
        self.way.entry.first = Some(first);
        self.journal.write(&self.way.entry).await
    }

    /// Tables that the range brings back after it dropped them.
    pub(crate) fn expect_back(&mut self, tables: Vec<TableId>) {
        self.sink.expect_back(tables);
    }

    /// Applies a batch in the background; with it everything through `through` is there.
    pub(crate) async fn apply(&mut self, mut batch: EventBatch, through: CommitTs) -> Result<(), Error> {
        self.version = self.version.max(batch.schema_version);
        let events = std::mem::take(&mut batch.events);
        let has_ddl = events.iter().any(|event| matches!(event, Event::Ddl(_)));
        if self.binder.is_some() {
            self.apply_bound(events, batch, through).await?;
        } else {
            self.submit(events, batch, through).await?;
        }
        if has_ddl || self.saved_at.elapsed() >= SAVE_EVERY {
            self.look().await?;
            self.save(self.reached, false).await?;
        }
        Ok(())
    }

    /// Rows go by the destination's tables, DDL by its text.
    async fn apply_bound(
        &mut self,
        events: Vec<Event>,
        batch: EventBatch,
        through: CommitTs,
    ) -> Result<(), Error> {
        let mut rows = Vec::new();
        for event in events {
            match event {
                Event::Transaction(txn) => {
                    let Some(binder) = &mut self.binder else { continue };
                    rows.push(Event::Transaction(binder.transaction(txn).await?));
                }
                Event::Ddl(ddl) => {
                    // A crash from here on leaves nothing in doubt but this statement.
                    let before = ddl.commit_ts.ts().prev().into();
                    self.submit(std::mem::take(&mut rows), EventBatch::default(), before).await?;
                    self.settle().await?;
                    self.save(before, false).await?;
                    if let Some(binder) = &mut self.binder {
                        binder.ddl(&ddl, self.in_doubt).await?;
                    }
                    self.reached = ddl.commit_ts;
                    self.save(self.reached, false).await?;
                }
            }
            self.in_doubt = false;
        }
        self.submit(rows, batch, through).await
    }

    /// Hands events to the sink as soon as it has room for them.
    async fn submit(
        &mut self,
        events: Vec<Event>,
        batch: EventBatch,
        through: CommitTs,
    ) -> Result<(), Error> {
        if events.is_empty() {
            match self.in_flight.back_mut() {
                Some(last) => last.through = through,
                None => self.reached = through,
            }
            return Ok(());
        }
        while !self.sink.has_room() {
            self.wait().await?;
        }
        let position = self.reached;
        let ticket = self.sink.submit(events).await.map_err(|source| Error::Sink { position, source })?;
        self.in_flight.push_back(InFlight { ticket, through, _batch: batch });
        Ok(())
    }

    /// Waits until the sink has something to tell.
    async fn wait(&mut self) -> Result<(), Error> {
        let position = self.reached;
        let done = self.sink.progress().await.map_err(|source| Error::Sink { position, source })?;
        while let Some(first) = self.in_flight.pop_front_if(|first| first.ticket <= done) {
            self.reached = first.through;
        }
        Ok(())
    }

    /// Hears what the sink has to tell already.
    async fn look(&mut self) -> Result<(), Error> {
        while !self.in_flight.is_empty() {
            match tokio::time::timeout(Duration::ZERO, self.wait()).await {
                Ok(heard) => heard?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Waits until everything is durable.
    async fn settle(&mut self) -> Result<(), Error> {
        while !self.in_flight.is_empty() {
            self.wait().await?;
        }
        Ok(())
    }

    async fn save(&mut self, commit_ts: CommitTs, consistent: bool) -> Result<(), Error> {
        self.saved_at = Instant::now();
        let checkpoint = Checkpoint { commit_ts, schema_version: self.version, consistent };
        self.journal.keep().await?;
        self.sink.save(checkpoint).await.map_err(|source| Error::Sink { position: commit_ts, source })
    }

    /// Everything through `position`, the end of the range, is there.
    pub(crate) async fn finish(mut self, position: CommitTs) -> Result<(), Error> {
        self.settle().await?;
        self.save(position, true).await?;
        self.sink.close().await.map_err(|source| Error::Sink { position, source })?;
        if let Some(binder) = self.binder {
            binder.close().await;
        }
        let entry = Entry { state: State::Finished, through: position, ..self.way.entry };
        self.journal.finish(&entry).await
    }

    /// Something went wrong: what is there stays, and the same command goes on from it.
    pub(crate) async fn abandon(self) {
        if let Err(error) = self.sink.close().await {
            tracing::warn!(%error, "closing the destination failed as well");
        }
        self.journal.close().await;
    }
}
