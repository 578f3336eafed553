//! The events of a range, one batch after the other.

use std::time::Duration;

use binlog_pull::{EventBatch, EventStream};
use binlog_types::CommitTs;
use tokio::sync::mpsc;

use crate::Error;

const IDLE_LOG: Duration = Duration::from_secs(10);
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// What a reader thread hands over.
pub(crate) type Parcel = Result<EventBatch, Error>;

/// A range on its way out of its source.
#[derive(Debug)]
pub struct Reading {
    from: From,
    position: CommitTs,
    /// Seconds since something came.
    idle: u64,
}

#[derive(Debug)]
enum From {
    Stream(Box<EventStream>),
    Thread(mpsc::Receiver<Parcel>),
}

impl Reading {
    /// Of pumps.
    pub(crate) fn of_stream(stream: EventStream, after: CommitTs) -> Self {
        Reading { from: From::Stream(Box::new(stream)), position: after, idle: 0 }
    }

    /// Of a thread that ends when the receiver is dropped.
    pub(crate) fn of_thread(parcels: mpsc::Receiver<Parcel>, after: CommitTs) -> Self {
        Reading { from: From::Thread(parcels), position: after, idle: 0 }
    }

    /// Everything at or below it was handed out.
    pub fn position(&self) -> CommitTs {
        self.position
    }

    /// The next batch. Cancel safe. After a batch that is the `end` it must not be called again.
    ///
    /// # Errors
    /// Stops only: what time heals was retried. Nothing coming for long is one, too: a restore must end.
    pub async fn next(&mut self) -> Result<EventBatch, Error> {
        let position = self.position;
        let batch = match &mut self.from {
            From::Thread(parcels) => match parcels.recv().await {
                Some(parcel) => parcel?,
                None => return Err(Error::ReaderDied { position }),
            },
            From::Stream(stream) => loop {
                tokio::select! {
                    batch = stream.next() => break batch.map_err(|source| Error::Pull { position, source })?,
                    () = tokio::time::sleep(IDLE_LOG) => {
                        self.idle += IDLE_LOG.as_secs();
                        let waits_for = stream.stream().waits_for();
                        tracing::warn!(position = position.raw(), idle_seconds = self.idle, waits_for, "nothing comes");
                        if self.idle >= IDLE_LIMIT.as_secs() {
                            return Err(Error::Stalled { position, seconds: self.idle, waits_for });
                        }
                    }
                }
            },
        };
        self.idle = 0;
        self.position = self.position.max(batch.complete_through);
        Ok(batch)
    }
}
