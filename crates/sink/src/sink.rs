//! The sink itself.

use binlog_catalog::Event;
use binlog_types::TableId;

use crate::mysql::MySqlSink;
use crate::sqlite::{SqliteActor, SqliteSink};
use crate::{Checkpoint, Error, SinkOptions, Target};

/// An open sink.
#[derive(Debug)]
pub struct Sink {
    backend: Backend,
}

#[derive(Debug)]
enum Backend {
    MySql(Box<MySqlSink>),
    Sqlite(Box<SqliteActor>),
}

/// Names events that were submitted together. Later ones are larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(crate) u64);

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
                let sink = Box::pin(SqliteSink::open(path, options)).await?;
                Backend::Sqlite(Box::new(SqliteActor::spawn(sink)))
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

    /// Whether more should be submitted now. Nothing goes wrong if it is done anyway; it only lies in memory.
    pub fn has_room(&self) -> bool {
        match &self.backend {
            Backend::MySql(sink) => sink.has_room(),
            Backend::Sqlite(sink) => sink.has_room(),
        }
    }

    /// Pieces of work that are under way or wait in the sink; for metrics.
    pub fn waiting(&self) -> usize {
        match &self.backend {
            Backend::MySql(sink) => sink.waiting(),
            Backend::Sqlite(sink) => sink.waiting(),
        }
    }

    /// Takes events in order, to be applied in the background. After a crash the same events may come again from the checkpoint on,
    /// and are applied exactly once in effect.
    ///
    /// What may pass is retried inside (deadlocks, lost connections). After an error the sink is to be opened again and fed from
    /// the checkpoint on.
    ///
    /// # Errors
    /// When an event cannot be turned into statements, with the table and the position. What statements fail with comes out of
    /// [`Sink::progress`].
    pub async fn submit(&mut self, events: Vec<Event>) -> Result<Ticket, Error> {
        match &mut self.backend {
            Backend::MySql(sink) => sink.submit(events).await,
            Backend::Sqlite(sink) => sink.submit(events).await,
        }
        .map(Ticket)
    }

    /// Waits for news, and says which ticket is durable together with all before it. Cancel safe.
    ///
    /// # Errors
    /// With the table, the position and the statement. Then nothing of the sink is at work any more.
    pub async fn progress(&mut self) -> Result<Ticket, Error> {
        match &mut self.backend {
            Backend::MySql(sink) => sink.progress().await,
            Backend::Sqlite(sink) => sink.progress().await,
        }
        .map(Ticket)
    }

    /// Applies events in order; when it returns Ok, everything in them is durable.
    ///
    /// # Errors
    /// As [`Sink::submit`] and [`Sink::progress`].
    pub async fn apply(&mut self, events: Vec<Event>) -> Result<(), Error> {
        let ticket = self.submit(events).await?;
        while self.progress().await? < ticket {}
        Ok(())
    }

    /// Saves the checkpoint: everything at or below it is durable ([`Sink::progress`]), or was filtered out. Does nothing where no
    /// checkpoint is kept.
    ///
    /// # Errors
    /// When the target cannot be written.
    pub async fn save(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        match &mut self.backend {
            Backend::MySql(sink) => Box::pin(sink.save(checkpoint)).await,
            Backend::Sqlite(sink) => sink.save(checkpoint).await,
        }
    }

    /// Closes the connections.
    ///
    /// # Errors
    /// When a SQLite file cannot be closed properly. Nothing is lost: all that was acknowledged is durable.
    pub async fn close(self) -> Result<(), Error> {
        match self.backend {
            Backend::MySql(sink) => {
                Box::pin(sink.close()).await;
                Ok(())
            }
            Backend::Sqlite(sink) => sink.close().await,
        }
    }
}
