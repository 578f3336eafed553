//! The merged stream, decoded: schema fetched as needed, tables filtered.

use std::time::Duration;

use binlog_catalog::{Event, Interpreter, Start, Step, TableFilter};
use binlog_types::{CommitTs, JobId, SchemaVersion, TableId, Ts};
use tokio::time::Instant;

use crate::budget::Permit;
use crate::narrow::narrow;
use crate::schema::pause;
use crate::{Batch, Error, Member, MergedStream, Progress, Record, SchemaBase, SchemaFetcher, StreamOptions};

/// How long one question for the schema waits.
const SLICE: Duration = Duration::from_secs(2);
/// What is waited for is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// A DDL binlog comes before its job is in the history: TiDB files the job away when no transaction uses the old schema any more,
/// which a long one may put off. The original waits without end.
const JOB_LIMIT: Duration = Duration::from_secs(1800);

/// Events in order, and how far they reach.
///
/// The batch holds its part of the byte budget until it is dropped: keep it until its events are applied.
#[derive(Debug, Default)]
pub struct EventBatch {
    /// The events that take part.
    pub events: Vec<Event>,
    /// Everything at or below it is in this or an earlier batch, or was filtered out.
    pub complete_through: CommitTs,
    /// The version of the last DDL at or below `complete_through`.
    pub schema_version: SchemaVersion,
    /// Transactions and DDLs that were filtered out or had no effect.
    pub skipped: u64,
    /// Tables that a DDL of the schema history brings back (RECOVER, FLASHBACK), as far as it is known by now: told when there is news,
    /// before the events that drop them.
    pub recovered: Vec<TableId>,
    /// No more will come.
    pub end: bool,
    permits: Vec<Permit>,
}

/// [`MergedStream`] + [`SchemaFetcher`] + [`Interpreter`] + filter: what drainer, reparo and tools read.
#[derive(Debug)]
pub struct EventStream {
    stream: MergedStream,
    schema: SchemaFetcher,
    interpreter: Interpreter,
    select: Selector,
    progress: Progress,
    /// The history is fetched up to here; −1: nothing yet.
    fetched: SchemaVersion,
    /// The history has grown since the last batch.
    grown: bool,
    work: Option<Work>,
}

/// What of each event takes part; None: nothing.
pub struct Selector(Box<dyn FnMut(Event) -> Option<Event> + Send>);

impl Selector {
    /// From a function, which is given the events in order.
    pub fn new(select: impl FnMut(Event) -> Option<Event> + Send + 'static) -> Self {
        Selector(Box::new(select))
    }
}

impl std::fmt::Debug for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Selector(…)")
    }
}

/// A batch on its way through the interpreter. It is kept here, so that `next` may be cancelled at any await.
#[derive(Debug)]
struct Work {
    batch: Batch,
    /// Index of the next record.
    at: usize,
    out: EventBatch,
    waiting: Option<Waiting>,
}

/// What a record needs before it can be interpreted.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    need: Need,
    commit_ts: CommitTs,
    since: Instant,
    /// It was asked for already, and what came was not enough.
    asked: bool,
    logged: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Version(SchemaVersion),
    Job(JobId),
}

impl EventStream {
    /// Starts pulling and decoding.
    ///
    /// # Errors
    /// None so far: what goes wrong later comes out of [`EventStream::next`].
    pub async fn open(
        options: StreamOptions,
        members: Vec<Member>,
        start: Start,
        filter: TableFilter,
    ) -> Result<Self, Error> {
        Self::open_with(options, members, start, Selector::new(move |event| narrow(event, &filter))).await
    }

    /// [`EventStream::open`] for a reader that has more to say about what takes part.
    ///
    /// # Errors
    /// As [`EventStream::open`].
    pub async fn open_with(
        options: StreamOptions,
        members: Vec<Member>,
        start: Start,
        select: Selector,
    ) -> Result<Self, Error> {
        let schema = SchemaFetcher::new(options.cluster, members.clone()).with(
            options.dial.clone(),
            behind(start),
            options.schema.clone(),
        );
        let mut interpreter = Interpreter::new(start);
        interpreter.set_unknown_ddl(options.unknown_ddl);
        let stream = MergedStream::new(options, members);
        let progress = stream.progress();
        Ok(EventStream {
            stream,
            schema,
            interpreter,
            select,
            progress,
            fetched: SchemaVersion(-1),
            grown: false,
            work: None,
        })
    }

    /// As [`MergedStream::set_members`].
    pub fn set_members(&mut self, members: Vec<Member>) {
        self.schema.set_members(members.clone());
        self.stream.set_members(members);
    }

    /// The next batch of events. Cancel safe. After `end` it must not be called again.
    ///
    /// # Errors
    /// Stops only: what time heals was retried.
    pub async fn next(&mut self) -> Result<EventBatch, Error> {
        loop {
            if self.work.is_none() {
                let batch = self.stream.next().await?;
                self.work = Some(Work { batch, at: 0, out: EventBatch::default(), waiting: None });
            }
            match self.advance()? {
                Some(waiting) => self.fetch(waiting).await?,
                None => {
                    if let Some(done) = self.finish() {
                        return Ok(done);
                    }
                }
            }
        }
    }

    /// The stream below.
    pub fn stream(&self) -> &MergedStream {
        &self.stream
    }

    /// A view of what the stream does, which outlives borrows of it.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The schema at the stream's position.
    pub fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }

    /// Interprets records until the batch is done (None) or something is missing.
    fn advance(&mut self) -> Result<Option<Waiting>, Error> {
        let Some(work) = &mut self.work else { return Ok(None) };
        while let Some(record) = work.batch.records.get(work.at) {
            let need = match step(&mut self.interpreter, record)? {
                Step::Event(event) => {
                    match (self.select.0)(event) {
                        Some(event) => work.out.events.push(event),
                        None => work.out.skipped += 1,
                    }
                    None
                }
                Step::Skipped(reason) => {
                    tracing::debug!(commit_ts = %record.commit_ts, ?reason, "skipped");
                    work.out.skipped += 1;
                    None
                }
                Step::NeedVersion(version) => Some(Need::Version(version)),
                Step::NeedJob(job) => Some(Need::Job(job)),
            };
            let Some(need) = need else {
                work.at += 1;
                work.waiting = None;
                continue;
            };
            let now = Instant::now();
            let waiting = match work.waiting {
                Some(waiting) if waiting.need == need => waiting,
                _ => Waiting { need, commit_ts: record.commit_ts, since: now, logged: now, asked: false },
            };
            work.waiting = Some(waiting);
            return Ok(Some(waiting));
        }
        Ok(None)
    }

    fn finish(&mut self) -> Option<EventBatch> {
        let work = self.work.take()?;
        let mut out = work.out;
        out.complete_through = work.batch.complete_through;
        out.end = work.batch.end;
        out.schema_version = self.interpreter.schema_version();
        if std::mem::take(&mut self.grown) {
            out.recovered = self.interpreter.history().recovered_tables().map(|(table, _)| table).collect();
        }
        out.permits = work.batch.permits;
        Some(out)
    }

    /// Asks once for what is missing; whether it was enough shows the next try of the record.
    async fn fetch(&mut self, waiting: Waiting) -> Result<(), Error> {
        let answer = match waiting.need {
            Need::Version(version) => self
                .schema
                .versions(self.fetched, version, SLICE)
                .await
                .map(|(objects, complete)| (objects, complete, complete >= version)),
            Need::Job(job) => self.schema.job(job, SLICE).await.map(|objects| {
                let found = objects.is_some();
                (objects.unwrap_or_default(), self.fetched, found)
            }),
        };
        let found = match answer {
            Ok((objects, complete, found)) => {
                self.interpreter
                    .extend(objects, complete.max(SchemaVersion(0)))
                    .map_err(|source| Error::Schema { source: Box::new(source) })?;
                self.fetched = self.fetched.max(complete);
                self.grown = true;
                found
            }
            Err(error) if error.is_retryable() => {
                tracing::debug!(%error, "the schema is not there yet");
                false
            }
            Err(error) => return Err(error),
        };
        if let Some(work) = &mut self.work
            && let Some(waiting) = &mut work.waiting
        {
            waiting.asked = true;
        }
        if found && !waiting.asked {
            self.progress.schema.lock().clear();
            return Ok(());
        }
        self.wait_on(waiting).await
    }

    async fn wait_on(&mut self, mut waiting: Waiting) -> Result<(), Error> {
        let waited = waiting.since.elapsed();
        let what = match waiting.need {
            Need::Version(version) => format!("schema version {version}"),
            Need::Job(job) if waited >= JOB_LIMIT => {
                return Err(Error::UnknownJob {
                    job,
                    commit_ts: waiting.commit_ts,
                    waited_s: waited.as_secs(),
                });
            }
            Need::Job(job) => format!("DDL job {job}"),
        };
        let text =
            format!("{what}, which the record at commit_ts {} needs and no pump knows", waiting.commit_ts);
        if waiting.logged.elapsed() >= LOG_EVERY {
            tracing::warn!(waited_s = waited.as_secs(), "waiting for {text}");
            waiting.logged = Instant::now();
            waiting.asked = true;
            if let Some(work) = &mut self.work {
                work.waiting = Some(waiting);
            }
        }
        *self.progress.schema.lock() = text;
        pause().await;
        Ok(())
    }
}

/// What a reader that begins at `start` need not know step by step. Not all up to the start: rows may have been written under older
/// versions, and jobs may have ended before their binlogs were committed.
fn behind(start: Start) -> SchemaBase {
    const VERSIONS: i64 = 1024;
    const MILLIS: u64 = 60 * 60 * 1000;
    match start {
        Start::Version(version) => {
            SchemaBase { version: SchemaVersion((version.0 - VERSIONS).max(0)), ts: CommitTs::ZERO }
        }
        Start::At(ts) => {
            let physical = ts.ts().physical().saturating_sub(MILLIS);
            SchemaBase { version: SchemaVersion(0), ts: CommitTs::from(Ts::compose(physical, 0)) }
        }
    }
}

fn step(interpreter: &mut Interpreter, record: &Record) -> Result<Step, Error> {
    let commit_ts = record.commit_ts;
    let body = record.body().map_err(|source| Error::Payload { commit_ts, source })?;
    interpreter
        .step(record.start_ts, commit_ts, &body)
        .map_err(|source| Error::Interpret { commit_ts, source: Box::new(source) })
}
