//! Gives batches to the sink, and saves how far it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::Event;
use binlog_pull::EventBatch;
use binlog_sink::{Checkpoint, Sink, Ticket};
use binlog_types::{CommitTs, SchemaVersion};
use prometheus::HistogramTimer;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Error;
use crate::context::Context;

/// The checkpoint is saved at most this often, but at once after a DDL.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Batches that lie ready are folded together, up to this many …
const TOGETHER: usize = 16;
/// … or until they hold so many row changes: enough to fold, and little enough that the next are folded while these are applied …
const ROWS: usize = 20_000;
/// … or this part of the budget, for the same reason.
const BUDGET_PART: usize = 8;

/// What was given to the sink and is not durable yet.
struct InFlight {
    ticket: Ticket,
    complete_through: CommitTs,
    schema_version: SchemaVersion,
    has_ddl: bool,
    /// They keep their bytes of the budget until then.
    _batches: Vec<EventBatch>,
    /// Observes how long it took when it is dropped.
    timer: Option<HistogramTimer>,
}

pub(crate) struct Applier {
    context: Arc<Context>,
    sink: Sink,
    in_flight: VecDeque<InFlight>,
    position: Checkpoint,
    saved: Checkpoint,
    saved_at: Instant,
    /// The newest that was given to the sink is a part of a transaction, and not its last.
    middle: bool,
}

impl Applier {
    /// Takes up where `checkpoint` stands.
    pub(crate) fn new(context: Arc<Context>, sink: Sink, checkpoint: Option<Checkpoint>) -> Self {
        let none =
            Checkpoint { commit_ts: CommitTs::ZERO, schema_version: SchemaVersion(0), consistent: false };
        let position = Checkpoint { consistent: false, ..checkpoint.unwrap_or(none) };
        let in_flight = VecDeque::new();
        Applier {
            context,
            sink,
            in_flight,
            position,
            saved: position,
            saved_at: Instant::now(),
            middle: false,
        }
    }

    /// Runs until no more batches come, then saves a last time. Batches that are still queued when `hurry` is over are left to the next start.
    pub(crate) async fn run(
        mut self,
        mut batches: mpsc::Receiver<EventBatch>,
        hurry: Duration,
    ) -> Result<(), Error> {
        let mut deadline: Option<Instant> = None;
        loop {
            let dirty = self.position != self.saved;
            let after = self.position.commit_ts;
            self.context.metrics.queued(batches.len(), self.sink.waiting(), self.context.settings.workers);
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.saved_at + SAVE_EVERY), if dirty => self.save(false).await?,
                done = self.sink.progress(), if !self.in_flight.is_empty() => {
                    let done = done.map_err(|source| Error::Sink { after, source })?;
                    self.acknowledge(done).await?;
                }
                received = batches.recv(), if self.sink.has_room() => {
                    let Some(first) = received else { break };
                    if self.context.stop.is_cancelled() {
                        let end = *deadline.get_or_insert(Instant::now() + hurry);
                        if Instant::now() >= end {
                            break;
                        }
                    }
                    let most = self.context.settings.budget / BUDGET_PART;
                    self.submit(together(first, &mut batches, most)).await?;
                }
            }
        }
        drop(batches);
        while !self.in_flight.is_empty() {
            let after = self.position.commit_ts;
            let done = self.sink.progress().await.map_err(|source| Error::Sink { after, source })?;
            self.acknowledge(done).await?;
        }
        if self.position.commit_ts > CommitTs::ZERO {
            self.save(!self.middle).await?;
        }
        let after = self.position.commit_ts;
        self.sink.close().await.map_err(|source| Error::Sink { after, source })
    }

    /// Gives several batches to the sink as one. They keep their bytes of the budget until the sink has made them durable.
    async fn submit(&mut self, mut batches: Vec<EventBatch>) -> Result<(), Error> {
        let mut events: Vec<Event> = Vec::new();
        for batch in &mut batches {
            events.append(&mut batch.events);
            self.context.metrics.skipped.inc_by(batch.skipped);
        }
        let Some(last) = batches.last() else { return Ok(()) };
        let (complete_through, schema_version) = (last.complete_through, last.schema_version);
        self.middle = last.middle;
        if events.is_empty() && self.in_flight.is_empty() {
            self.reached(complete_through, schema_version);
            return Ok(());
        }
        let has_ddl = events.iter().any(|event| matches!(event, Event::Ddl(_)));
        let timer = (!events.is_empty()).then(|| self.context.metrics.execute.start_timer());
        self.context.metrics.count(&events);
        let after = self.position.commit_ts;
        let ticket = self.sink.submit(events).await.map_err(|source| Error::Sink { after, source })?;
        self.in_flight.push_back(InFlight {
            ticket,
            complete_through,
            schema_version,
            has_ddl,
            _batches: batches,
            timer,
        });
        Ok(())
    }

    /// Everything up to `done` is durable.
    async fn acknowledge(&mut self, done: Ticket) -> Result<(), Error> {
        let mut has_ddl = false;
        while let Some(first) = self.in_flight.pop_front_if(|first| first.ticket <= done) {
            has_ddl |= first.has_ddl;
            if let Some(timer) = first.timer {
                timer.observe_duration();
                self.context.event_applied();
            }
            self.reached(first.complete_through, first.schema_version);
        }
        // The sink may ask for a moment at which nothing is under way.
        let quiet = self.in_flight.is_empty() && !self.sink.has_room();
        let due = self.saved_at.elapsed() >= SAVE_EVERY;
        if has_ddl || (self.position != self.saved && (due || quiet)) {
            self.save(false).await?;
        }
        Ok(())
    }

    fn reached(&mut self, commit_ts: CommitTs, schema_version: SchemaVersion) {
        self.position.commit_ts = self.position.commit_ts.max(commit_ts);
        self.position.schema_version = self.position.schema_version.max(schema_version);
        self.context.set_applied(self.position.commit_ts);
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

/// `first` and what lies ready behind it, of about `most` bytes.
fn together(first: EventBatch, batches: &mut mpsc::Receiver<EventBatch>, most: usize) -> Vec<EventBatch> {
    let rows = |batch: &EventBatch| -> usize {
        batch
            .events
            .iter()
            .map(|event| if let Event::Transaction(t) = event { t.changes.len() } else { 1 })
            .sum()
    };
    let (mut found, mut bytes) = (rows(&first), first.bytes());
    let mut taken = vec![first];
    while taken.len() < TOGETHER
        && found < ROWS
        && bytes < most
        && let Ok(next) = batches.try_recv()
    {
        found += rows(&next);
        bytes += next.bytes();
        taken.push(next);
    }
    taken
}
