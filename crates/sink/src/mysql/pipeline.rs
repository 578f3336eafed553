//! The workers, and the jobs they take from the scheduler.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::books::Books;
use super::connection::Connection;
use super::job::Job;
use crate::Error;
use crate::schedule::{Claim, Scheduler};

/// Jobs under way or waiting for each connection beyond which no more should be submitted: enough that none idles while the next
/// events are folded.
const JOBS_A_WORKER: usize = 6;
/// Tickets in flight; only a DDL that takes long lets so many gather.
const TICKETS: usize = 4096;

#[derive(Debug, Default)]
struct Inner {
    scheduler: Scheduler<Job>,
    running: usize,
    failed: Option<Error>,
    /// No more jobs are handed out.
    stopped: bool,
}

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    /// There may be jobs to take.
    ready: Notify,
    /// A job has ended.
    ended: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections at work. Dropping it breaks them off, as a crash would.
#[derive(Debug)]
pub(super) struct Pipeline {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
    room: usize,
    reported: u64,
}

impl Pipeline {
    /// The first ticket will be the one behind `after`.
    pub(super) fn start(workers: Vec<Connection>, books: Option<&Arc<Books>>, after: u64) -> Self {
        let inner = Inner { scheduler: Scheduler::starting_behind(after), ..Inner::default() };
        let shared = Arc::new(Shared { inner: Mutex::new(inner), ..Shared::default() });
        let room = workers.len() * JOBS_A_WORKER;
        let mut tasks = JoinSet::new();
        for connection in workers {
            tasks.spawn(work(Arc::clone(&shared), connection, books.cloned()));
        }
        Pipeline { shared, workers: tasks, room, reported: after }
    }

    /// Jobs under way or waiting.
    pub(super) fn unfinished(&self) -> usize {
        self.shared.lock().scheduler.unfinished()
    }

    pub(super) fn has_room(&self) -> bool {
        let inner = self.shared.lock();
        inner.scheduler.unfinished() < self.room && inner.scheduler.pending() < TICKETS
    }

    pub(super) fn submit(&self, jobs: Vec<(Job, Claim)>) -> Result<u64, Error> {
        let ticket = {
            let mut inner = self.shared.lock();
            if inner.stopped && inner.failed.is_none() {
                return Err(Error::Stopped);
            }
            inner.scheduler.add(jobs)
        };
        self.shared.ready.notify_waiters();
        Ok(ticket)
    }

    /// Waits until a ticket is done or there is room again; the last one done. Cancel safe.
    pub(super) async fn progress(&mut self) -> Result<u64, Error> {
        let full = !self.has_room();
        loop {
            let ended = self.shared.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            {
                let mut inner = self.shared.lock();
                // Only when all others have ended, too, may the events be applied again by somebody else.
                if inner.stopped && inner.running == 0 {
                    return Err(inner.failed.take().unwrap_or(Error::Stopped));
                }
                let done = inner.scheduler.done();
                if done > self.reported && !inner.stopped {
                    self.reported = done;
                    return Ok(done);
                }
            }
            if full && self.has_room() {
                return Ok(self.reported);
            }
            ended.await;
        }
    }

    /// Waits until `ticket` is done or nothing runs any more; which of the two, [`Pipeline::progress`] says.
    pub(super) async fn wait_for(&self, ticket: u64) {
        loop {
            let ended = self.shared.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            {
                let inner = self.shared.lock();
                if inner.scheduler.done() >= ticket || (inner.stopped && inner.running == 0) {
                    return;
                }
            }
            ended.await;
        }
    }

    /// Ends the workers after the statements under way.
    pub(super) async fn close(mut self) {
        self.shared.lock().stopped = true;
        self.shared.ready.notify_waiters();
        while self.workers.join_next().await.is_some() {}
    }
}

/// One worker: jobs until there are no more to come.
async fn work(shared: Arc<Shared>, mut connection: Connection, books: Option<Arc<Books>>) {
    loop {
        let ready = shared.ready.notified();
        tokio::pin!(ready);
        ready.as_mut().enable();
        let next = {
            let mut inner = shared.lock();
            if inner.stopped {
                break;
            }
            let next = inner.scheduler.take();
            inner.running += usize::from(next.is_some());
            next
        };
        let Some((id, job)) = next else {
            ready.await;
            continue;
        };
        let running = Running(&shared);
        let result = Box::pin(job.run(&mut connection, books.as_deref())).await;
        {
            let mut inner = shared.lock();
            match result {
                Ok(()) => inner.scheduler.finish(id),
                Err(error) => {
                    inner.stopped = true;
                    inner.failed.get_or_insert(error);
                }
            }
        }
        drop(running);
        shared.ready.notify_waiters();
    }
    connection.close().await;
}

/// A job that is being run, however it ends.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        {
            let mut inner = self.0.lock();
            inner.running -= 1;
            if std::thread::panicking() {
                inner.stopped = true;
            }
        }
        self.0.ended.notify_waiters();
    }
}
