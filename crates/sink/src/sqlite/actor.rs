//! The file's own task, so that its transactions overlap with what the caller does.

use binlog_catalog::Event;
use binlog_types::TableId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::SqliteSink;
use crate::{Checkpoint, Error};

/// Requests that wait at most; each holds its events.
const QUEUE: usize = 2;

enum Request {
    Apply(Vec<Event>, Vec<TableId>),
    Save(Checkpoint, oneshot::Sender<Result<(), Error>>),
}

/// A handle on the task. Dropping it ends the task.
#[derive(Debug)]
pub(crate) struct SqliteActor {
    requests: mpsc::Sender<Request>,
    answers: mpsc::UnboundedReceiver<Result<(), Error>>,
    task: JoinHandle<Result<(), Error>>,
    checkpoint: Option<Checkpoint>,
    /// Tables that later events will bring back; the task learns of them with the next events.
    expected: Vec<TableId>,
    submitted: u64,
    done: u64,
}

impl SqliteActor {
    pub(crate) fn spawn(mut sink: SqliteSink) -> Self {
        let checkpoint = sink.checkpoint();
        let (requests, mut asked) = mpsc::channel(QUEUE);
        let (answer, answers) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut failed = false;
            while let Some(request) = asked.recv().await {
                match request {
                    // What follows a failure must not be applied: the events are a sequence.
                    Request::Apply(..) if failed => {}
                    Request::Apply(events, expected) => {
                        sink.expect_back(expected);
                        let result = Box::pin(sink.apply(&events)).await;
                        failed = result.is_err();
                        let _ = answer.send(result);
                    }
                    Request::Save(checkpoint, reply) => {
                        let _ = reply.send(sink.save(checkpoint).await);
                    }
                }
            }
            sink.close().await
        });
        SqliteActor { requests, answers, task, checkpoint, expected: Vec::new(), submitted: 0, done: 0 }
    }

    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
    }

    pub(crate) fn expect_back(&mut self, tables: Vec<TableId>) {
        self.expected.extend(tables);
    }

    /// Requests that wait.
    pub(crate) fn waiting(&self) -> usize {
        QUEUE - self.requests.capacity()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.requests.capacity() > 0
    }

    pub(crate) async fn submit(&mut self, events: Vec<Event>) -> Result<u64, Error> {
        let request = Request::Apply(events, std::mem::take(&mut self.expected));
        self.requests.send(request).await.map_err(|_| Error::Stopped)?;
        self.submitted += 1;
        Ok(self.submitted)
    }

    /// Cancel safe.
    pub(crate) async fn progress(&mut self) -> Result<u64, Error> {
        match self.answers.recv().await {
            Some(result) => result?,
            None => return Err(Error::Stopped),
        }
        self.done += 1;
        Ok(self.done)
    }

    pub(crate) async fn save(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Save(checkpoint, reply)).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)??;
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    pub(crate) async fn close(self) -> Result<(), Error> {
        let SqliteActor { requests, task, .. } = self;
        drop(requests);
        task.await.map_err(|_| Error::Stopped)?
    }
}
