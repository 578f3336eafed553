//! Where a restore goes.

use std::time::Duration;

use binlog_pull::EventBatch;
use binlog_types::{CommitTs, Range, TableId};

use crate::database::Database;
use crate::standing::{Standing, Way};
use crate::text::{Format, TextWriter};
use crate::{Config, Error, Hole, Selection};

/// A destination that is open.
pub(crate) enum Destination {
    Text(TextWriter),
    Database(Box<Database>),
}

impl Destination {
    /// Opens what the configuration names, for a selection that is checked: the database that stands so, or text.
    pub(crate) async fn open(
        config: &Config,
        database: Option<(Standing, Way)>,
        selection: &Selection,
    ) -> Result<Self, Error> {
        if let Some((standing, way)) = database {
            let database = Box::pin(Database::open(config, standing, way, selection)).await?;
            return Ok(Destination::Database(Box::new(database)));
        }
        let format = Format::of(config)?.unwrap_or(Format::Print);
        text(format, config, selection.range)
    }

    /// Keeps in mind what turned out to be missing.
    pub(crate) async fn note_holes(&mut self, holes: &[Hole]) -> Result<(), Error> {
        match self {
            Destination::Database(database) => database.note_holes(holes).await,
            Destination::Text(_) => Ok(()),
        }
    }

    /// Keeps in mind the first event, of a restore that stops before the next DDL.
    pub(crate) async fn note_first(&mut self, first: CommitTs) -> Result<(), Error> {
        match self {
            Destination::Database(database) => database.note_first(first).await,
            Destination::Text(_) => Ok(()),
        }
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

/// How long closing may take after an interruption.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
