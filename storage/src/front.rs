//! The writer's front: admits writes, syncs them, and answers.
//!
//! A large prewrite is written piece by piece, and a large record moves into `log` piece by piece; between two pieces the
//! others have a turn ([`Front::breathe`]). The last piece is written as any other write, and only then is the prewrite
//! known: to the pairing state, to whoever waits for its answer, and to recovery, which deletes a prewrite that ends too
//! early. Until then nothing else of that transaction is looked at. The oracle gives out its commit_ts after the answer, so
//! that the watermark passes others meanwhile is no harm.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use binlog_types::{CommitTs, StartTs};

use crate::admit::{Admission, Admitted, Scratch};
use crate::answers::{Results, Submission, Ticket};
use crate::failpoint::FailPoint;
use crate::format::{meta, sealed};
use crate::observer::BatchReport;
use crate::queue::Item;
use crate::rocks::{Batch, Cf, Db, Durability};
use crate::shared::Shared;
use crate::{Error, Prewrite, Write};

/// What one batch takes.
pub(crate) enum Part {
    Write(Ticket, Write),
    /// A prewrite whose first pieces are written.
    Rest(Ticket, Prewrite, u32),
    IdleTs(CommitTs),
}

/// See the module.
pub(crate) struct Front {
    shared: Arc<Shared>,
    db: Arc<Db>,
    scratch: Scratch,
    /// Bytes put into `bundle` and `pending` since the last cycle began.
    pub(crate) pending_bytes: usize,
    /// How long the last sync took.
    pub(crate) last_sync: Duration,
    /// The watermark as `meta` has it.
    stored_watermark: CommitTs,
    /// What came while something long was under way and has to wait for its end.
    put_off: VecDeque<Item>,
}

impl Front {
    pub(crate) fn new(shared: Arc<Shared>, db: Arc<Db>) -> Self {
        Front {
            shared,
            db,
            scratch: Scratch::default(),
            pending_bytes: 0,
            last_sync: Duration::ZERO,
            stored_watermark: CommitTs::ZERO,
            put_off: VecDeque::new(),
        }
    }

    /// What had to wait.
    pub(crate) fn take_put_off(&mut self) -> VecDeque<Item> {
        std::mem::take(&mut self.put_off)
    }

    /// Whether a prewrite is written piece by piece.
    pub(crate) fn is_large(&self, prewrite: &Prewrite) -> bool {
        let tuning = &self.shared.tuning;
        prewrite.payload.len() > (tuning.batch_bytes / 2).max(tuning.fragment_bytes)
    }

    /// One batch: admit, sync, tell. An error poisons the store; everyone has been told.
    pub(crate) fn turn(&mut self, parts: &mut Vec<Part>) -> Result<(), Error> {
        let mut results = Results::default();
        let written = match self.shared.health.check() {
            Ok(()) => {
                self.write_batch(parts, &mut results).map_err(|error| self.shared.health.poison(&error))
            }
            Err(error) => {
                for part in parts.drain(..) {
                    if let Part::Write(ticket, _) | Part::Rest(ticket, ..) = part {
                        results.push(ticket, Err(error.clone()));
                    }
                }
                Err(error)
            }
        };
        if let Err(error) = &written {
            results.fail(error);
        }
        results.deliver(&self.shared);
        written
    }

    /// Writes the pieces of a large prewrite, without the last one; gives how many. An error is told to its sink.
    pub(crate) fn pieces(&mut self, prewrite: Prewrite) -> Result<(Prewrite, u32), Error> {
        self.shared.health.check()?;
        let db = Arc::clone(&self.db);
        let shared = Arc::clone(&self.shared);
        let fragments = {
            let admission = Admission::new(&shared, &db, &mut self.scratch, 0);
            if admission.knows(prewrite.start_ts) {
                // It came before, or its commit did: rare, and decided by the whole.
                return Ok((prewrite, 0));
            }
            admission.begin(&prewrite)?
        };
        let write = |front: &mut Self, fragment| {
            let mut admission = Admission::new(&shared, &db, &mut front.scratch, 64 << 10);
            admission.put_piece(&prewrite, fragment, fragments);
            let Admitted { batch, pending_bytes, .. } = admission.finish();
            front.pending_bytes += pending_bytes;
            // The sync of the last piece covers it.
            db.write(batch, Durability::Logged)?;
            shared.failpoints().hit(FailPoint::AfterPiece)?;
            front.breathe(Some(prewrite.start_ts))
        };
        for fragment in 0..fragments.saturating_sub(1) {
            write(self, fragment).map_err(|error| shared.health.poison(&error))?;
        }
        Ok((prewrite, fragments.saturating_sub(1)))
    }

    /// Takes, syncs and answers what came meanwhile. What is large, or belongs to the transaction that is `busy`, is put off,
    /// and so is what is no write: an oracle's timestamp may count from later than it was offered, never from earlier.
    /// A batch that fails does not keep the rest from being answered.
    pub(crate) fn breathe(&mut self, busy: Option<StartTs>) -> Result<(), Error> {
        let (mut parts, mut bytes) = (Vec::new(), 0);
        let mut outcome = Ok(());
        for item in self.shared.queue.take_now() {
            let Item::Writes(submission) = item else {
                self.put_off.push_back(item);
                continue;
            };
            for (ticket, write) in submission {
                if Some(start_of(&write)) == busy || self.must_wait(&write) {
                    self.put_off.extend(Submission::again(ticket, write).map(Item::Writes));
                    continue;
                }
                bytes += size(&write);
                parts.push(Part::Write(ticket, write));
                if bytes >= self.shared.tuning.batch_bytes {
                    outcome = outcome.and(self.turn(&mut parts));
                    bytes = 0;
                }
            }
        }
        if parts.is_empty() { outcome } else { outcome.and(self.turn(&mut parts)) }
    }

    /// Large, or behind something of the same transaction that was put off.
    fn must_wait(&self, write: &Write) -> bool {
        let large = matches!(write, Write::Prewrite(prewrite) if self.is_large(prewrite));
        let behind = |item: &Item| match item {
            Item::Writes(earlier) => earlier.writes().any(|earlier| start_of(earlier) == start_of(write)),
            _ => false,
        };
        large || self.put_off.iter().any(behind)
    }

    fn write_batch(&mut self, parts: &mut Vec<Part>, results: &mut Results) -> Result<(), Error> {
        let db = Arc::clone(&self.db);
        let mut admission = Admission::new(&self.shared, &db, &mut self.scratch, 64 << 10);
        for part in parts.drain(..) {
            match part {
                Part::Write(ticket, write) => results.push(ticket, admission.write(write)),
                Part::Rest(ticket, prewrite, written) => {
                    results.push(ticket, admission.rest(prewrite, written));
                }
                Part::IdleTs(ts) => admission.offer(ts),
            }
        }
        let Admitted { mut batch, max_commit, pending_bytes, duplicates } = admission.finish();
        self.shared.counters.duplicate_writes.add(duplicates);
        self.pending_bytes += pending_bytes;
        if !batch.is_empty() {
            self.put_watermark(&mut batch);
            self.shared.failpoints().hit(FailPoint::BeforeBatch)?;
            self.shared.counters.batches.add(1);
            self.shared.counters.batch_bytes.add(batch.bytes());
            let (bytes, start) = (batch.bytes(), self.shared.clock.monotonic());
            db.write(batch, if self.shared.sync { Durability::Synced } else { Durability::Logged })?;
            let took = self.shared.clock.monotonic().saturating_sub(start);
            self.last_sync = took;
            self.shared.tuning.observer.tell(BatchReport { bytes, took });
            self.shared.failpoints().hit(FailPoint::AfterBatch)?;
            self.shared.publish_max_commit(max_commit);
        }
        Ok(())
    }

    fn put_watermark(&mut self, batch: &mut Batch<'_>) {
        let watermark = self.shared.watermark();
        if watermark > self.stored_watermark {
            batch.put(Cf::Meta, meta::WATERMARK, &sealed::seal(&meta::number(watermark.raw())));
            self.stored_watermark = watermark;
        }
    }

    /// Stores the watermark on its own.
    pub(crate) fn store_watermark(&mut self, durability: Durability) -> Result<(), Error> {
        let db = Arc::clone(&self.db);
        let mut batch = db.batch(64);
        self.put_watermark(&mut batch);
        db.write(batch, durability)
    }
}

fn start_of(write: &Write) -> StartTs {
    match write {
        Write::Prewrite(prewrite) => prewrite.start_ts,
        Write::Commit(commit) => commit.start_ts,
        Write::Rollback(start_ts) | Write::Lost { start_ts, .. } => *start_ts,
        Write::Fake(ts) => StartTs::from(ts.ts()),
    }
}

/// About how many bytes a write brings.
pub(crate) fn size(write: &Write) -> usize {
    64 + match write {
        Write::Prewrite(prewrite) => prewrite.payload.len() + prewrite.key.len(),
        Write::Commit(commit) => commit.extra.len(),
        Write::Rollback(_) | Write::Lost { .. } | Write::Fake(_) => 0,
    }
}
