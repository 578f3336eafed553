//! The writer thread: the one owner of the write batch, and the only one who moves the watermark.
//!
//! Each turn takes the whole queue, cuts it by bytes, and for each part: admits the writes into one batch; syncs it; tells
//! the sinks; moves the watermark over what is synced, putting records into `log` on the way; and shows readers the new
//! watermark. Nobody waits for the end of something large: see `front.rs`. Making files is the flusher's work, unless it falls too far behind: then the writer waits for it.
//!
//! The watermark is stored along with the next batch. What is stored is therefore never above what was true, and after a
//! crash W may stand lower than readers have seen. That is sound: everything that readers saw is recovered from markers,
//! W passes it again as soon as the recovered prewrites are settled, and no honest commit can come below it (the oracle
//! gives out commit_ts only after the acknowledgement of P, in this life as in the one before).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use binlog_types::CommitTs;

use crate::answers::{PANICKED, Results, Ticket};
use crate::bundles;
use crate::flusher::{self, Cycle, Flusher};
use crate::format::keys::commit_key;
use crate::front::{self, Front, Part};
use crate::pairing::Outcome;
use crate::queue::{Company, Item};
use crate::rocks::{Cf, Db, Durability};
use crate::settle::Settler;
use crate::shared::Shared;
use crate::{Error, Prewrite, Write};

/// What the thread owns.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    db: Arc<Db>,
    front: Front,
    settler: Settler,
    flusher: Flusher,
    company: Company,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, db: Arc<Db>, settler: Settler, flusher: Flusher) -> Self {
        let front = Front::new(Arc::clone(&shared), Arc::clone(&db));
        Writer { shared, db, front, settler, flusher, company: Company::default() }
    }

    /// The thread's body. A panic, in a sink say, poisons the store; whoever waits is told, now and later.
    pub(crate) fn run(self) {
        let shared = Arc::clone(&self.shared);
        if catch_unwind(AssertUnwindSafe(|| self.work())).is_ok() {
            return;
        }
        let error = shared.health.poison(&Error::Internal { doing: "write", message: PANICKED.to_owned() });
        loop {
            let items = shared.queue.take(&mut Company::default());
            if items.is_empty() {
                return;
            }
            for item in items {
                // Writes are answered by being dropped.
                if let Item::Flush(reply) = item {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Works until the queue is closed and drained, then writes everything out.
    fn work(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut parts = Vec::new();
        loop {
            // What was put off while something long was under way came earlier than what is in the queue.
            let mut items = self.front.take_put_off();
            if items.is_empty() {
                items = shared.queue.take(&mut self.company);
            }
            if items.is_empty() {
                break;
            }
            let mut bytes = 0;
            for item in items {
                match item {
                    Item::Writes(submission) => {
                        for (ticket, write) in submission {
                            let write = match write {
                                Write::Prewrite(prewrite) if self.front.is_large(&prewrite) => {
                                    self.turn(&mut parts);
                                    bytes = 0;
                                    self.large(ticket, prewrite);
                                    continue;
                                }
                                write => write,
                            };
                            bytes += front::size(&write);
                            parts.push(Part::Write(ticket, write));
                            if bytes >= shared.tuning.batch_bytes {
                                self.turn(&mut parts);
                                bytes = 0;
                            }
                        }
                    }
                    Item::IdleTs(ts) => parts.push(Part::IdleTs(ts)),
                    Item::Purged(safe_point) => {
                        self.turn(&mut parts);
                        self.or_poison(|writer| writer.forget_gaps(safe_point));
                    }
                    Item::Flush(reply) => {
                        self.turn(&mut parts);
                        // Nobody waiting any more is no failure.
                        let _ = reply.send(self.write_out());
                    }
                }
            }
            self.turn(&mut parts);
        }
        if let Err(error) = self.write_out() {
            tracing::warn!(error = %error, "the store closes without writing everything out; the next open recovers it");
        }
    }

    /// A prewrite that is written piece by piece.
    fn large(&mut self, ticket: Ticket, prewrite: Prewrite) {
        match self.front.pieces(prewrite) {
            Ok((prewrite, written)) => self.turn(&mut vec![Part::Rest(ticket, prewrite, written)]),
            Err(error) => {
                let mut results = Results::default();
                results.push(ticket, Err(error));
                results.deliver(&self.shared);
            }
        }
    }

    /// One batch: admit, sync, tell, move the watermark.
    fn turn(&mut self, parts: &mut Vec<Part>) {
        if !parts.is_empty() && self.front.turn(parts).is_ok() {
            self.company.sync = self.front.last_sync;
            self.or_poison(Self::advance);
            self.or_poison(Self::make_files);
        }
    }

    /// A durable step outside of any write: its failure poisons the store.
    fn or_poison(&mut self, step: impl FnOnce(&mut Self) -> Result<(), Error>) {
        if self.shared.health.check().is_ok()
            && let Err(error) = step(self)
        {
            self.shared.health.poison(&error);
        }
    }

    /// Moves the watermark as far as synced data allows.
    pub(crate) fn advance(&mut self) -> Result<(), Error> {
        let slice = self.shared.tuning.log_file_bytes as u64;
        loop {
            let advance = self.shared.pairing.lock().advance(slice);
            let Some(advance) = advance else { return Ok(()) };
            let idle = advance.ready.is_empty();
            let mut ready = Vec::with_capacity(advance.ready.len());
            for record in advance.ready {
                // A restart finds markers whose prewrites are gone, since their records are in `log`.
                if record.outcome == Outcome::Missing && self.settler.has(&record)? {
                    self.shared.pairing.lock().not_missing(record.start_ts, record.commit_ts);
                } else {
                    ready.push(record);
                }
            }
            let front = &mut self.front;
            let done = self.settler.settle(&ready, &mut || front.breathe(None))?;
            self.shared.counters.settled_records.add(done.records);
            self.shared.counters.missing_prewrites.add(done.missing);
            self.shared.counters.settled_bytes.add(done.bytes);
            self.shared.counters.read_back_records.add(done.read_back);
            self.shared.publish_watermark(advance.watermark);
            if idle {
                // No batch may come for long: let a reader of a dead store see how far it was complete.
                self.front.store_watermark(Durability::Logged)?;
            }
            self.make_files()?;
        }
    }

    /// Begins a cycle of the flusher when there is a file's worth; waits for it when it is two files behind.
    fn make_files(&mut self) -> Result<(), Error> {
        let tuning = &self.shared.tuning;
        let full = |log: usize, pending: usize, times: usize| {
            log >= times * tuning.log_file_bytes || pending >= times * tuning.spill_bytes
        };
        if !full(self.settler.log_bytes, self.front.pending_bytes, 1) {
            return Ok(());
        }
        if self.flusher.busy() {
            if !full(self.settler.log_bytes, self.front.pending_bytes, 2) {
                return Ok(());
            }
            self.shared.counters.flush_waits.add(1);
            self.flusher.wait();
            self.shared.health.check()?;
        }
        let covered = self.settler.take_covered();
        let others = 2 * self.front.pending_bytes >= tuning.spill_bytes;
        if others {
            self.front.pending_bytes = 0;
        }
        self.shared.pairing.lock().rotate();
        // In front of the deletions: a commit that comes again after a crash must find its place passed, not its prewrite gone.
        self.front.store_watermark(Durability::Logged)?;
        self.flusher.begin(Cycle { covered, others });
        Ok(())
    }

    /// Writes everything into files and stores the watermark.
    fn write_out(&mut self) -> Result<(), Error> {
        self.flusher.wait();
        self.shared.health.check()?;
        let cycle = Cycle { covered: self.settler.take_covered(), others: true };
        self.front.pending_bytes = 0;
        self.shared.pairing.lock().rotate();
        self.front
            .store_watermark(Durability::Synced)
            .and_then(|()| flusher::run_cycle(&self.shared, &self.db, &cycle))
            .map_err(|error| self.shared.health.poison(&error))
    }

    /// Deletes what stood for gaps that are purged now.
    fn forget_gaps(&mut self, safe_point: CommitTs) -> Result<(), Error> {
        let forgotten = self.shared.pairing.lock().orphans_through(safe_point);
        if forgotten.is_empty() {
            return Ok(());
        }
        let mut batch = self.db.batch(64 * forgotten.len());
        for orphan in forgotten {
            bundles::delete(&mut self.shared.bundles.lock(), orphan.start_ts, orphan.place, &mut batch);
            batch.delete(Cf::Commit, &commit_key(orphan.start_ts));
        }
        self.db.write(batch, Durability::Logged)
    }
}
