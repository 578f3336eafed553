//! Where a restore goes.

use std::time::Duration;

use binlog_pull::EventBatch;
use binlog_types::{CommitTs, Range, TableId};

use crate::database::{self, Database};
use crate::text::{Format, TextWriter};
use crate::{Config, DestType, Error, Selection};

/// A destination that is open.
pub(crate) enum Destination {
    Text(TextWriter),
    Database(Box<Database>),
}

impl Destination {
    /// Opens what the configuration names; says after which position the restore goes on.
    pub(crate) async fn open(config: &Config, selection: &Selection) -> Result<(Self, CommitTs), Error> {
        if let Some(target) = database::target(config)? {
            let (database, after) = Box::pin(Database::open(config, &target, selection)).await?;
            return Ok((Destination::Database(Box::new(database)), after));
        }
        let format = Format::of(config.dest()?).unwrap_or(Format::Print);
        Ok((text(format, config, selection.range)?, selection.range.after))
    }

    /// Tables that the range brings back after it dropped them.
    pub(crate) fn expect_back(&mut self, tables: Vec<TableId>) {
        match self {
            Destination::Database(database) if !tables.is_empty() => database.expect_back(tables),
            Destination::Database(_) | Destination::Text(_) => {}
        }
    }

    /// Applies a batch; with it everything through `through` is there. In a database that goes on in the background.
    pub(crate) async fn apply(&mut self, batch: EventBatch, through: CommitTs) -> Result<(), Error> {
        match self {
            Destination::Text(writer) => writer.write(&batch.events),
            Destination::Database(database) => database.apply(batch, through).await,
        }
    }

    /// Makes sure that everything is there, and closes.
    pub(crate) async fn finish(self, position: CommitTs) -> Result<(), Error> {
        match self {
            Destination::Text(mut writer) => writer.finish(),
            Destination::Database(database) => database.finish(position).await,
        }
    }

    /// Closes after an error.
    pub(crate) async fn abandon(self) {
        let closing = async {
            match self {
                Destination::Text(mut writer) => {
                    if let Err(error) = writer.finish() {
                        tracing::warn!(%error, "closing the destination failed as well");
                    }
                }
                Destination::Database(database) => database.abandon().await,
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }
}

fn text(format: Format, config: &Config, range: Range) -> Result<Destination, Error> {
    let mut writer = TextWriter::open(format, &config.dest_path)?;
    writer.begin(range)?;
    Ok(Destination::Text(writer))
}

impl Format {
    /// The text of a destination; None: it is a database.
    pub(crate) fn of(dest: DestType) -> Option<Self> {
        match dest {
            DestType::Print => Some(Format::Print),
            DestType::Sql => Some(Format::Sql),
            DestType::Json => Some(Format::Json),
            DestType::Csv => Some(Format::Csv),
            DestType::MySql | DestType::Sqlite => None,
        }
    }
}

/// How long closing may take after an interruption.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
