//! The sink itself.

use binlog_catalog::Event;
use binlog_types::TableId;

use crate::mysql::MySqlSink;
use crate::sqlite::SqliteSink;
use crate::{Checkpoint, Error, SinkOptions, Target};

/// An open sink.
#[derive(Debug)]
pub struct Sink {
    backend: Backend,
}

#[derive(Debug)]
enum Backend {
    MySql(Box<MySqlSink>),
    Sqlite(Box<SqliteSink>),
}

impl Sink {
    /// Connects, asks what kind of server it is, and makes the sink's own tables where a checkpoint is kept.
    ///
    /// # Errors
    /// When the target cannot be opened, or holds a checkpoint that cannot be read.
    pub async fn open(target: &Target, options: SinkOptions) -> Result<Self, Error> {
        let backend = match target {
            Target::MySql(server) => {
                Backend::MySql(Box::new(Box::pin(MySqlSink::open(server, options)).await?))
            }
            Target::Sqlite(path) => {
                Backend::Sqlite(Box::new(Box::pin(SqliteSink::open(path, options)).await?))
            }
        };
        Ok(Sink { backend })
    }

    /// Where the sink is, as it was read when it was opened or saved since; `None`: never written, or no checkpoint is kept.
    ///
    /// # Errors
    /// None today; reading it anew may fail one day.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        Ok(match &self.backend {
            Backend::MySql(sink) => sink.checkpoint(),
            Backend::Sqlite(sink) => sink.checkpoint(),
        })
    }

    /// Tables that a later event will bring back: with [`RecycleBin::Tables`](crate::RecycleBin::Tables), they are kept when they go.
    pub fn expect_back(&mut self, tables: Vec<TableId>) {
        match &mut self.backend {
            Backend::MySql(sink) => sink.expect_back(tables),
            Backend::Sqlite(sink) => sink.expect_back(tables),
        }
    }

    /// Applies events in order; when it returns Ok, everything in them is durable. After a crash the same events may come again
    /// from the checkpoint on, and are applied exactly once in effect.
    ///
    /// What may pass is retried inside (deadlocks, lost connections). After an error the sink is to be opened again and fed from
    /// the checkpoint on.
    ///
    /// # Errors
    /// With the table, the position and the statement.
    pub async fn apply(&mut self, events: Vec<Event>) -> Result<(), Error> {
        match &mut self.backend {
            Backend::MySql(sink) => Box::pin(sink.apply_narrowed(events)).await,
            Backend::Sqlite(sink) => Box::pin(sink.apply(&events)).await,
        }
    }

    /// Saves the checkpoint: everything at or below it was given to [`Sink::apply`], or was filtered out. Does nothing where no
    /// checkpoint is kept.
    ///
    /// # Errors
    /// When the target cannot be written.
    pub async fn save(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        match &mut self.backend {
            Backend::MySql(sink) => Box::pin(sink.save(checkpoint)).await,
            Backend::Sqlite(sink) => Box::pin(sink.save(checkpoint)).await,
        }
    }

    /// Closes the connections.
    ///
    /// # Errors
    /// When a SQLite file cannot be closed properly. Nothing is lost: all that was applied is durable.
    pub async fn close(self) -> Result<(), Error> {
        match self.backend {
            Backend::MySql(sink) => {
                Box::pin(sink.close()).await;
                Ok(())
            }
            Backend::Sqlite(sink) => Box::pin(sink.close()).await,
        }
    }
}
