//! A batch of records on its way through the interpreter.

use binlog_catalog::{ChangeKind, Event, Large, Row, RowChange, Value};
use binlog_types::{CommitTs, JobId, SchemaVersion};
use tokio::time::Instant;

use crate::budget::Permit;
use crate::{Batch, EventBatch};

/// A batch on its way through the interpreter. It is kept here, so that `next` may be cancelled at any await.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) batch: Batch,
    /// Index of the next record.
    pub(crate) at: usize,
    /// Of the records from there on.
    pub(crate) permits: std::vec::IntoIter<Permit>,
    pub(crate) out: EventBatch,
    pub(crate) waiting: Option<Waiting>,
    /// The record at `at`, if it is large and its parts are on their way.
    pub(crate) large: Option<LargeWork>,
}

impl Work {
    /// Notes that the record at `at` needs something; since when, is kept.
    pub(crate) fn wait(&mut self, need: Need, commit_ts: CommitTs) -> Waiting {
        let now = Instant::now();
        let waiting = match self.waiting {
            Some(waiting) if waiting.need == need => waiting,
            _ => Waiting { need, commit_ts, since: now, logged: now, asked: false },
        };
        self.waiting = Some(waiting);
        waiting
    }

    pub(crate) fn new(mut batch: Batch) -> Self {
        let permits = std::mem::take(&mut batch.permits).into_iter();
        Work { batch, at: 0, permits, out: EventBatch::default(), waiting: None, large: None }
    }

    /// The record at `at` is done with.
    pub(crate) fn pass(&mut self) {
        self.out.permits.extend(self.permits.next());
        self.batch.large.remove(&self.at);
        self.large = None;
        self.waiting = None;
        self.at += 1;
    }
}

/// A large transaction on its way.
#[derive(Debug)]
pub(crate) enum LargeWork {
    /// Is looked through for rows that keep it out.
    Probe(Box<Large>),
    /// Is handed out.
    Parts(Box<Large>),
}

/// How far [`EventStream::advance`] came.
pub(crate) enum Advance {
    /// The batch is done.
    Done,
    /// What there is of it is to be handed out.
    Cut,
    /// There is more to do, but others should have a turn.
    Yield,
    /// Something is missing.
    Wait(Waiting),
}

/// What a record needs before it can be interpreted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) need: Need,
    pub(crate) commit_ts: CommitTs,
    pub(crate) since: Instant,
    /// It was asked for already, and what came was not enough.
    pub(crate) asked: bool,
    pub(crate) logged: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Version(SchemaVersion),
    Job(JobId),
}

/// About how much memory an event takes, decoded and as the text of statements, beside what it shares with its record.
pub(crate) fn memory_of(event: &Event) -> usize {
    let Event::Transaction(txn) = event else { return size_of::<Event>() };
    let rows = txn.changes.iter().map(|change| match &change.kind {
        ChangeKind::Insert(row) | ChangeKind::Delete(row) => memory_of_row(row),
        ChangeKind::Update { before, after } => memory_of_row(before) + memory_of_row(after),
    });
    size_of::<Event>() + txn.changes.len() * size_of::<RowChange>() + rows.sum::<usize>()
}

fn memory_of_row(row: &Row) -> usize {
    let text = |value: &Value| match value {
        Value::Text(bytes) => bytes.len(),
        // In hexadecimal.
        Value::Bytes(bytes) => 2 * bytes.len(),
        // Which is on the heap, too.
        Value::Decimal(text) => 2 * text.len(),
        Value::Json(json) => 2 * json.body.len(),
        _ => 16,
    };
    row.iter().map(|value| size_of::<Option<Value>>() + value.as_ref().map_or(0, text)).sum()
}
