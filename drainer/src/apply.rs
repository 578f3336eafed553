//! Gives batches to the sink, and saves how far it is.

use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::Event;
use binlog_pull::EventBatch;
use binlog_sink::{Checkpoint, Sink};
use binlog_types::{CommitTs, SchemaVersion};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Error;
use crate::context::Context;

/// The checkpoint is saved at most this often, but at once after a DDL.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Batches that lie ready are applied together, up to this many.
const TOGETHER: usize = 16;

pub(crate) struct Applier {
    context: Arc<Context>,
    sink: Sink,
    position: Checkpoint,
    saved: Checkpoint,
    saved_at: Instant,
}

impl Applier {
    /// Takes up where `checkpoint` stands.
    pub(crate) fn new(context: Arc<Context>, sink: Sink, checkpoint: Option<Checkpoint>) -> Self {
        let none =
            Checkpoint { commit_ts: CommitTs::ZERO, schema_version: SchemaVersion(0), consistent: false };
        let position = Checkpoint { consistent: false, ..checkpoint.unwrap_or(none) };
        Applier { context, sink, position, saved: position, saved_at: Instant::now() }
    }

    /// Runs until no more batches come, then saves a last time. Batches that are still queued when `hurry` is over are left to the next start.
    pub(crate) async fn run(
        mut self,
        mut batches: mpsc::Receiver<EventBatch>,
        hurry: Duration,
    ) -> Result<(), Error> {
        let mut taken = Vec::with_capacity(TOGETHER);
        let mut deadline: Option<Instant> = None;
        loop {
            let dirty = self.position != self.saved;
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.saved_at + SAVE_EVERY), if dirty => self.save(false).await?,
                received = batches.recv_many(&mut taken, TOGETHER) => {
                    if received == 0 {
                        break;
                    }
                    if self.context.stop.is_cancelled() {
                        let end = *deadline.get_or_insert(Instant::now() + hurry);
                        if Instant::now() >= end {
                            break;
                        }
                    }
                    self.apply(&mut taken).await?;
                }
            }
        }
        drop(batches);
        if self.position.commit_ts > CommitTs::ZERO {
            self.save(true).await?;
        }
        let after = self.position.commit_ts;
        self.sink.close().await.map_err(|source| Error::Sink { after, source })
    }

    /// Applies several batches as one. They keep their bytes of the budget until the sink has made them durable.
    async fn apply(&mut self, batches: &mut Vec<EventBatch>) -> Result<(), Error> {
        let mut events: Vec<Event> = Vec::new();
        for batch in batches.iter_mut() {
            events.append(&mut batch.events);
            self.context.metrics.skipped.inc_by(batch.skipped);
        }
        let has_ddl = events.iter().any(|event| matches!(event, Event::Ddl(_)));
        if !events.is_empty() {
            self.context.metrics.count(&events);
            let timer = self.context.metrics.execute.start_timer();
            let after = self.position.commit_ts;
            self.sink.apply(events).await.map_err(|source| Error::Sink { after, source })?;
            timer.observe_duration();
            self.context.event_applied();
        }
        if let Some(last) = batches.last() {
            self.position.commit_ts = self.position.commit_ts.max(last.complete_through);
            self.position.schema_version = self.position.schema_version.max(last.schema_version);
        }
        batches.clear();
        if has_ddl || self.saved_at.elapsed() >= SAVE_EVERY {
            self.save(false).await?;
        }
        Ok(())
    }

    async fn save(&mut self, consistent: bool) -> Result<(), Error> {
        let checkpoint = Checkpoint { consistent, ..self.position };
        let after = self.saved.commit_ts;
        self.sink.save(checkpoint).await.map_err(|source| Error::Sink { after, source })?;
        self.saved = self.position;
        self.saved_at = Instant::now();
        self.context.set_saved(self.position.commit_ts);
        Ok(())
    }
}
