//! Where a restore goes.

use std::collections::BTreeSet;
use std::time::Duration;

use binlog_catalog::Event;
use binlog_sink::{MySqlTarget, RecycleBin, Sink, SinkOptions, Target};
use binlog_types::{ClusterId, CommitTs, Range, TableId};

use crate::text::{Format, TextWriter};
use crate::{Config, DestType, Error};

const MYSQL_PORT: u16 = 3306;

/// A destination that is open.
pub(crate) enum Destination {
    Text(TextWriter),
    Database(Box<Sink>),
}

impl Destination {
    /// Opens what the configuration names.
    pub(crate) async fn open(config: &Config, cluster: ClusterId, range: Range) -> Result<Self, Error> {
        let target = match config.dest()? {
            DestType::Print => return text(Format::Print, config, range),
            DestType::Sql => return text(Format::Sql, config, range),
            DestType::Sqlite => Target::Sqlite(config.dest_path.clone()),
            DestType::MySql => {
                let db = config.dest_db.clone().unwrap_or_default();
                let port = if db.port == 0 { MYSQL_PORT } else { db.port };
                Target::MySql(MySqlTarget {
                    host: db.host,
                    port,
                    user: db.user,
                    password: db.password,
                    ..MySqlTarget::default()
                })
            }
        };
        let count = |n: i64| usize::try_from(n).unwrap_or(1).max(1);
        let options = SinkOptions {
            cluster,
            workers: count(config.worker_count),
            batch_rows: count(config.txn_batch),
            // One shot: what a crash leaves half done is restored anew.
            checkpoint: false,
            // What the range brings back is known when its schema history is.
            recycle_bin: RecycleBin::Tables(BTreeSet::new()),
            ..SinkOptions::default()
        };
        let sink = Sink::open(&target, options).await;
        Ok(Destination::Database(Box::new(
            sink.map_err(|source| Error::Sink { position: range.after, source })?,
        )))
    }

    /// Tables that the range brings back after it dropped them.
    pub(crate) fn expect_back(&mut self, tables: Vec<TableId>) {
        match self {
            Destination::Database(sink) if !tables.is_empty() => sink.expect_back(tables),
            Destination::Database(_) | Destination::Text(_) => {}
        }
    }

    /// Applies events; `position` is what was done before them.
    pub(crate) async fn apply(&mut self, events: Vec<Event>, position: CommitTs) -> Result<(), Error> {
        match self {
            Destination::Text(writer) => writer.write(&events),
            Destination::Database(_) if events.is_empty() => Ok(()),
            Destination::Database(sink) => {
                sink.apply(events).await.map_err(|source| Error::Sink { position, source })
            }
        }
    }

    /// Makes sure that everything is there, and closes.
    pub(crate) async fn finish(self, position: CommitTs) -> Result<(), Error> {
        match self {
            Destination::Text(mut writer) => writer.finish(),
            Destination::Database(sink) => {
                sink.close().await.map_err(|source| Error::Sink { position, source })
            }
        }
    }
}

fn text(format: Format, config: &Config, range: Range) -> Result<Destination, Error> {
    let mut writer = TextWriter::open(format, &config.dest_path)?;
    writer.begin(range)?;
    Ok(Destination::Text(writer))
}

/// How long closing may take after an interruption.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
