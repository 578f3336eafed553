//! A destination database: what a restore does there, and how it goes on after a crash.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use binlog_catalog::Event;
use binlog_pull::EventBatch;
use binlog_sink::{Checkpoint, MySqlTarget, RecycleBin, Sink, SinkOptions, Target, Ticket, TlsFiles};
use binlog_types::{CommitTs, Range, SchemaVersion, TableId};
use tokio::time::Instant;

use crate::bind::Binder;
use crate::journal::{Entry, Journal, SCHEMA};
use crate::{Config, DestType, Error, Origin, Selection, utc};

const MYSQL_PORT: u16 = 3306;
/// How far a restore is, is noted this often, and around each DDL.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// An open database.
#[derive(Debug)]
pub(crate) struct Database {
    sink: Sink,
    journal: Journal,
    entry: Entry,
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
        DestType::Print | DestType::Sql | DestType::Json | DestType::Csv => None,
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

/// Where the last restore into the destination ended: where `-continue` starts.
pub(crate) async fn last_end(config: &Config) -> Result<CommitTs, Error> {
    let Some(target) = target(config)? else {
        return Err(Error::Config(
            "-continue needs a database as destination: it knows where it is".to_owned(),
        ));
    };
    let mut journal = Journal::open(&target).await?;
    let last = journal.last().await?;
    journal.close().await;
    match last {
        None => Err(Error::Config("-continue: nothing was restored into this destination yet".to_owned())),
        Some(entry) if !entry.finished => Err(Error::Unfinished { began: entry.identity }),
        Some(entry) => Ok(entry.through),
    }
}

impl Database {
    /// Opens it; says after which position the restore goes on.
    pub(crate) async fn open(
        config: &Config,
        target: &Target,
        selection: &Selection,
    ) -> Result<(Self, CommitTs), Error> {
        let range = selection.range;
        let mut journal = Journal::open(target).await?;
        let mut entry =
            Entry { identity: identity(config, selection), finished: false, through: range.through };
        let last = match journal.last().await {
            Err(Error::JournalUnreadable { .. }) if config.restart => None,
            last => last?,
        };
        let resumed = match last {
            Some(last) if !last.finished && !config.restart => {
                if last.identity != entry.identity {
                    return Err(Error::OtherRestore { began: last.identity, asked: entry.identity });
                }
                entry.through = entry.through.max(last.through);
                true
            }
            last => {
                if last.is_some_and(|last| last.finished && last.identity == entry.identity) {
                    tracing::warn!(
                        "this restore came to its end before, and is done again: rows of tables without a key come twice unless the tables are \
                         empty; -continue would go on from there"
                    );
                }
                journal.begin(&entry).await?;
                false
            }
        };
        let count = |n: i64| usize::try_from(n).unwrap_or(1).max(1);
        let options = SinkOptions {
            cluster: selection.input.cluster(),
            workers: count(config.worker_count),
            batch_rows: count(config.txn_batch),
            checkpoint_schema: SCHEMA.to_owned(),
            // What the range brings back is known when its schema history is.
            recycle_bin: RecycleBin::Tables(BTreeSet::new()),
            ..SinkOptions::default()
        };
        let failed = |source| Error::Sink { position: range.after, source };
        let sink = Sink::open(target, options).await.map_err(failed)?;
        let checkpoint = sink.checkpoint().await.map_err(failed)?;
        let binder = match config.origin()? {
            Origin::Files(_) => Some(Binder::open(target).await?),
            Origin::Registry | Origin::Addresses(_) | Origin::Stores(_) => None,
        };
        let after = checkpoint.map_or(range.after, |c| c.commit_ts.max(range.after));
        if resumed {
            tracing::info!(
                "going on with a restore that was cut off: everything through {after} ({}) is there (-restart begins anew)",
                utc(after.ts())
            );
        }
        let version = checkpoint.map_or(SchemaVersion(0), |c| c.schema_version);
        let saved_at = Instant::now();
        let (in_doubt, in_flight, reached) = (resumed, VecDeque::new(), after);
        let database =
            Database { sink, journal, entry, binder, in_doubt, in_flight, reached, version, saved_at };
        Ok((database, after))
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
        let entry = Entry { finished: true, through: position, ..self.entry };
        self.journal.write(&entry).await?;
        self.journal.close().await;
        Ok(())
    }

    /// Something went wrong: what is there stays, and the same command goes on from it.
    pub(crate) async fn abandon(self) {
        if let Err(error) = self.sink.close().await {
            tracing::warn!(%error, "closing the destination failed as well");
        }
        self.journal.close().await;
    }
}

/// What makes a restore the same one when its command is given again.
fn identity(config: &Config, selection: &Selection) -> String {
    let Range { after, .. } = selection.asked;
    let through = selection.stop.map_or("what there is".to_owned(), |through| through.to_string());
    let source = selection.input.identity();
    let tables = |list: &[crate::TableName]| -> Vec<String> {
        list.iter().map(|t| format!("{}.{}", t.db_name, t.tbl_name)).collect()
    };
    let mut out = format!("{source}, after {after}, through {through}");
    for (what, list) in [
        ("databases", [config.replicate_do_db.clone(), config.db.clone()].concat()),
        ("tables", [tables(&config.replicate_do_table), config.table.clone()].concat()),
        ("without databases", config.replicate_ignore_db.clone()),
        ("without tables", tables(&config.replicate_ignore_table)),
    ] {
        if !list.is_empty() {
            out.push_str(&format!(", {what} {}", list.join(" ")));
        }
    }
    // It is kept as it is compared.
    out.replace('\\', "/")
}
