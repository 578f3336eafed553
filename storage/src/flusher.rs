//! The thread that makes files, so that writers need not wait for them.
//!
//! A cycle, in this order:
//!
//! 1. flush `log`: what the writer put there before the cycle began is durable now;
//! 2. logged batches delete the prewrites and markers of exactly those records: large prewrites first, then what is in bundles as a whole,
//!    then markers outside of them. So no marker goes before its prewrite: a prewrite that is left alone would look undecided, a marker that
//!    is left alone is looked up in `log`;
//! 3. flush `bundle`, `pending`, `commit`, `meta` and `schema`: nothing settled is written again, and the WAL can go. This is left out until
//!    there is much in their memory: each time it writes what came since (1), only for that to be deleted soon after.
//!
//! **Invariant:** every acknowledged commit is in a flushed `log` file, or its prewrite and marker are under the WAL or in
//! flushed files of `bundle`, `pending` and `commit`. Step 2 needs no sync: if it is lost, recovery puts the same records under the same
//! keys again. A failure anywhere poisons the store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::Error;
use crate::bundles::{self, Mark, Place, Released};
use crate::failpoint::FailPoint;
use crate::format::keys::commit_key;
use crate::rocks::{Cf, Db, Durability};
use crate::settle::Covered;
use crate::shared::Shared;

/// What a cycle is to do.
#[derive(Debug, Default)]
pub(crate) struct Cycle {
    /// What its flush of `log` covers.
    pub(crate) covered: Vec<Covered>,
    /// Whether the other column families are flushed, too.
    pub(crate) others: bool,
}

/// One cycle, on the calling thread.
pub(crate) fn run_cycle(shared: &Shared, db: &Db, cycle: &Cycle) -> Result<(), Error> {
    let Cycle { covered, others } = cycle;
    let failpoints = shared.failpoints();
    failpoints.hit(FailPoint::BeforeLogFlush)?;
    db.flush(Cf::Log)?;
    failpoints.hit(FailPoint::AfterLogFlush)?;
    let mut batch = db.batch(64 << 10);
    let mut released = Released::default();
    for Covered { start_ts, place, mark } in covered {
        if let Place::Pieces(fragments) = place {
            bundles::delete_pieces(*start_ts, *fragments, &mut batch);
        }
        released.prewrite(*start_ts, *place);
        released.commit(*start_ts, *mark);
    }
    db.write(batch, Durability::Logged)?;
    failpoints.hit(FailPoint::BeforeRelease)?;
    let mut batch = db.batch(64 << 10);
    for (id, parts) in released.into_parts() {
        shared.bundles.lock().release(id, parts, &mut batch);
    }
    db.write(batch, Durability::Logged)?;
    failpoints.hit(FailPoint::AfterRelease)?;
    let mut batch = db.batch(64 << 10);
    for Covered { start_ts, .. } in covered.iter().filter(|covered| covered.mark == Mark::Key) {
        batch.delete(Cf::Commit, &commit_key(*start_ts));
    }
    db.write(batch, Durability::Logged)?;
    if *others {
        failpoints.hit(FailPoint::BeforePendingFlush)?;
        for cf in [Cf::Bundle, Cf::Pending, Cf::Commit, Cf::Meta, Cf::Schema] {
            db.flush(cf)?;
        }
        failpoints.hit(FailPoint::AfterPendingFlush)?;
    }
    shared.counters.log_flushes.add(1);
    shared.counters.covered_records.add(covered.len());
    Ok(())
}

#[derive(Default)]
struct Progress {
    busy: Mutex<bool>,
    done: Condvar,
}

/// A handle to the thread; at most one cycle is under way.
pub(crate) struct Flusher {
    cycles: Option<Sender<Cycle>>,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Starts the thread.
    pub(crate) fn start(shared: Arc<Shared>, db: Arc<Db>) -> Result<Self, Error> {
        let (cycles, work) = channel();
        let progress = Arc::new(Progress::default());
        let seen = Arc::clone(&progress);
        let thread = std::thread::Builder::new()
            .name("binlog-flusher".to_owned())
            .spawn(move || serve(&shared, &db, &work, &seen))
            .map_err(|error| Error::Internal { doing: "start the flusher", message: error.to_string() })?;
        Ok(Flusher { cycles: Some(cycles), progress, thread: Some(thread) })
    }

    /// Whether a cycle is under way.
    pub(crate) fn busy(&self) -> bool {
        *self.progress.busy.lock()
    }

    /// Waits until no cycle is under way.
    pub(crate) fn wait(&self) {
        let mut busy = self.progress.busy.lock();
        while *busy {
            self.progress.done.wait(&mut busy);
        }
    }

    /// Begins a cycle; none may be under way.
    pub(crate) fn begin(&self, cycle: Cycle) {
        *self.progress.busy.lock() = true;
        let sent = self.cycles.as_ref().is_some_and(|cycles| cycles.send(cycle).is_ok());
        if !sent {
            // The thread ended, which it only does after a failure that poisoned the store.
            *self.progress.busy.lock() = false;
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.cycles = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(shared: &Shared, db: &Db, work: &Receiver<Cycle>, progress: &Progress) {
    for cycle in work {
        if shared.health.check().is_ok() {
            let done = catch_unwind(AssertUnwindSafe(|| run_cycle(shared, db, &cycle)));
            let done = done.unwrap_or_else(|_| {
                Err(Error::Internal { doing: "flush", message: "the flusher thread panicked".to_owned() })
            });
            if let Err(error) = done {
                shared.health.poison(&error);
            }
        }
        *progress.busy.lock() = false;
        progress.done.notify_all();
    }
}
