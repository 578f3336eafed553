//! The events of a range, one batch after the other.

use std::time::Duration;

use binlog_pull::{EventBatch, EventStream};
use binlog_types::CommitTs;
use tokio::sync::mpsc;

use super::Hole;
use crate::Error;

const IDLE_LOG: Duration = Duration::from_secs(10);
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// What a reader thread hands over.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    pub(crate) batch: EventBatch,
    /// What turned out to be missing, and was allowed to be.
    pub(crate) holes: Vec<Hole>,
}

/// Hands over what `next` makes, to the end or to the first error.
pub(crate) fn hand_over(
    out: &mpsc::Sender<Result<Parcel, Error>>,
    mut next: impl FnMut() -> Result<Parcel, Error>,
) {
    loop {
        let parcel = next();
        let last = parcel.as_ref().map_or(true, |parcel| parcel.batch.end);
        // A receiver that is gone wants no more.
        if out.blocking_send(parcel).is_err() || last {
            return;
        }
    }
}

/// A range on its way out of its source.
#[derive(Debug)]
pub struct Reading {
    from: From,
    position: CommitTs,
    holes: Vec<Hole>,
    /// Seconds since something came.
    idle: u64,
}

#[derive(Debug)]
enum From {
    Stream(Box<EventStream>),
    Thread(mpsc::Receiver<Result<Parcel, Error>>),
}

impl Reading {
    /// Of pumps.
    pub(crate) fn of_stream(stream: EventStream, after: CommitTs) -> Self {
        Reading { from: From::Stream(Box::new(stream)), position: after, holes: Vec::new(), idle: 0 }
    }

    /// Of a thread that ends when the receiver is dropped.
    pub(crate) fn of_thread(parcels: mpsc::Receiver<Result<Parcel, Error>>, after: CommitTs) -> Self {
        Reading { from: From::Thread(parcels), position: after, holes: Vec::new(), idle: 0 }
    }

    /// Everything at or below it was handed out.
    pub fn position(&self) -> CommitTs {
        self.position
    }

    /// What turned out to be missing while it was read, and was allowed to be.
    pub fn holes(&self) -> &[Hole] {
        &self.holes
    }

    /// The next batch. Cancel safe. After a batch that is the `end` it must not be called again.
    ///
    /// # Errors
    /// Stops only: what time heals was retried. Nothing coming for long is one, too: a restore must end.
    pub async fn next(&mut self) -> Result<EventBatch, Error> {
        let position = self.position;
        let batch = match &mut self.from {
            From::Thread(parcels) => match parcels.recv().await {
                Some(parcel) => {
                    let parcel = parcel?;
                    self.holes.extend(parcel.holes);
                    parcel.batch
                }
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
