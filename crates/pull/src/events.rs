//! The merged stream, decoded: schema fetched as needed, tables filtered.

use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::{
    Blob as _, Ddl, Event, Interpreter, LargeStep, SkipReason, Start, Step, TableFilter, Transaction,
};
use binlog_types::{CommitTs, NodeId, SchemaVersion, TableId, Ts};
use tokio::time::Instant;

use crate::budget::{Permit, Share};
use crate::narrow::narrow;
use crate::schema::pause;
use crate::spool::Spool;
use crate::work::{Advance, LargeWork, Need, Waiting, Work, memory_of};
use crate::{
    Error, Feed, Member, MergedStream, Progress, Record, SchemaBase, SchemaFetcher, Selector, Skips,
    StreamOptions,
};

/// How long one question for the schema waits.
const SLICE: Duration = Duration::from_secs(2);
/// What is waited for is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// How long the job of a DDL that is to be passed over is waited for. TiDB files a job away when no transaction uses the old schema any more.
const JOB_LIMIT: Duration = Duration::from_secs(600);

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
    /// More of a transaction follows, of which parts are in this or earlier batches: what is applied then is no state of the source.
    pub middle: bool,
    /// About how much memory the events take.
    pub(crate) bytes: usize,
    pub(crate) permits: Vec<Permit>,
    decoded: Permit,
}

impl EventBatch {
    /// About how many bytes of memory the events take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
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
    skips: Skips,
    /// Everything at or below it was handed out, or is in the batch that is being made.
    passed: CommitTs,
    /// The part of the budget that events hold, once they are decoded.
    decoded: Arc<Share>,
    /// A batch that waits for its part of that.
    ready: Option<EventBatch>,
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
        let tables = filter.clone();
        let select = Selector::new(move |event| narrow(event, &filter));
        let select = select.with_tables(move |schema, table| tables.allows(schema, table));
        Self::open_with(options, members, start, select).await
    }

    /// [`EventStream::open`] for a reader that has more to say about what takes part.
    ///
    /// # Errors
    /// As [`EventStream::open`].
    pub async fn open_with(
        options: StreamOptions,
        members: Vec<Member>,
        start: Start,
        mut select: Selector,
    ) -> Result<Self, Error> {
        let schema = SchemaFetcher::new(options.cluster, members.clone()).with(
            options.dial.clone(),
            behind(start),
            options.schema.clone(),
        );
        let mut interpreter = Interpreter::new(start);
        interpreter.set_unknown_ddl(options.unknown_ddl);
        if let Some(tables) = select.tables.take() {
            interpreter.set_wanted(tables);
        }
        let (skips, passed) = (options.skips.clone(), options.after);
        let decoded = Share::new(options.budget / 4 * 3);
        let options = StreamOptions { budget: options.budget / 4, ..options };
        let stream = MergedStream::putting_aside(options, members);
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
            skips,
            passed,
            decoded,
            ready: None,
        })
    }

    /// As [`MergedStream::set_members`].
    pub fn set_members(&mut self, members: Vec<Member>) {
        self.schema.set_members(members.clone());
        self.stream.set_members(members);
    }

    /// As [`MergedStream::add_feed`].
    pub fn add_feed(&mut self, id: NodeId, feed: Feed, through: CommitTs) {
        self.stream.add_feed(id, feed, through);
    }

    /// The next batch of events. Cancel safe. After `end` it must not be called again.
    ///
    /// # Errors
    /// Stops only: what time heals was retried.
    pub async fn next(&mut self) -> Result<EventBatch, Error> {
        loop {
            if let Some(ready) = &mut self.ready {
                if !self.decoded.try_admit(&mut ready.decoded, ready.bytes) {
                    *self.progress.schema.lock() =
                        "the downstream: what is decoded fills the budget".to_owned();
                    self.decoded.admit(&mut ready.decoded, ready.bytes).await;
                    self.progress.schema.lock().clear();
                }
                return Ok(self.ready.take().unwrap_or_default());
            }
            if self.work.is_none() {
                self.work = Some(Work::new(self.stream.next().await?));
            }
            match self.advance()? {
                Advance::Wait(waiting) => self.fetch(waiting).await?,
                Advance::Yield => tokio::task::yield_now().await,
                Advance::Cut => self.ready = self.cut(),
                Advance::Done => self.ready = self.finish(),
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

    /// Interprets records until the batch is done, or something else is to be done first.
    fn advance(&mut self) -> Result<Advance, Error> {
        let Some(work) = &mut self.work else { return Ok(Advance::Done) };
        while let Some(record) = work.batch.records.get(work.at) {
            let commit_ts = record.commit_ts;
            if work.batch.large.contains_key(&work.at) {
                match self.advance_large()? {
                    Some(advance) => return Ok(advance),
                    None => return Ok(Advance::Yield),
                }
            }
            let skip = self.skips.contains(commit_ts);
            let need = match step(&mut self.interpreter, record, skip)? {
                Step::Ahead(ddl) => {
                    work.out.events.extend((self.select.select)(Event::Ddl(ddl)));
                    continue;
                }
                Step::Event(event) => {
                    match (self.select.select)(event)
                        .map(|event| if skip { without_effect(event) } else { event })
                    {
                        Some(event) => {
                            work.out.bytes += memory_of(&event);
                            work.out.events.push(event);
                        }
                        None => work.out.skipped += 1,
                    }
                    None
                }
                Step::Skipped(reason) => {
                    tracing::debug!(%commit_ts, ?reason, "skipped");
                    work.out.skipped += 1;
                    None
                }
                Step::NeedVersion(version) => Some(Need::Version(version)),
                // What it did to the schema counts all the same: given up is only a job that does not come.
                Step::NeedJob(job)
                    if skip && work.wait(Need::Job(job), commit_ts).since.elapsed() >= JOB_LIMIT =>
                {
                    tracing::warn!(%commit_ts, %job, "left out, as was asked for: a DDL whose job nobody knows");
                    work.out.skipped += 1;
                    None
                }
                Step::NeedJob(job) => Some(Need::Job(job)),
            };
            let Some(need) = need else {
                work.pass();
                self.passed = commit_ts;
                continue;
            };
            return Ok(Advance::Wait(work.wait(need, commit_ts)));
        }
        Ok(Advance::Done)
    }

    /// Takes a step with the large record whose turn it is.
    fn advance_large(&mut self) -> Result<Option<Advance>, Error> {
        let Some(work) = &mut self.work else { return Ok(None) };
        let (Some(record), Some(spool)) =
            (work.batch.records.get_mut(work.at), work.batch.large.get(&work.at))
        else {
            return Ok(None);
        };
        let (start_ts, commit_ts) = (record.start_ts, record.commit_ts);
        let failed = |source| Error::Interpret { commit_ts, source: Box::new(source) };
        let begin = |interpreter: &mut Interpreter| {
            let blob = Arc::<Spool>::clone(spool);
            interpreter.begin_large(start_ts, commit_ts, blob).map_err(failed)
        };
        let Some(large) = &mut work.large else {
            if self.skips.contains(commit_ts) {
                tracing::warn!(%commit_ts, bytes = spool.len(), "left out, as was asked for");
                work.out.skipped += 1;
                work.pass();
                self.passed = commit_ts;
                return Ok(None);
            }
            match begin(&mut self.interpreter)? {
                LargeStep::NeedVersion(version) => {
                    return Ok(Some(Advance::Wait(work.wait(Need::Version(version), commit_ts))));
                }
                LargeStep::Ahead(ddl) => {
                    work.out.events.extend((self.select.select)(Event::Ddl(ddl)));
                    return Ok(None);
                }
                LargeStep::Whole => {
                    let mut payload = vec![0; spool.len() as usize];
                    spool.read_at(0, &mut payload).map_err(Error::aside)?;
                    record.payload = payload.into();
                    work.batch.large.remove(&work.at);
                }
                LargeStep::Rows(large) if self.select.veto.is_some() => {
                    work.large = Some(LargeWork::Probe(large));
                }
                LargeStep::Rows(large) => work.large = Some(LargeWork::Parts(large)),
            }
            // What came before goes ahead of it.
            return Ok((!work.out.events.is_empty()).then_some(Advance::Cut));
        };
        match large {
            LargeWork::Probe(probe) => match self.interpreter.next_part(probe).map_err(failed)? {
                Some((part, _)) => {
                    if self.select.veto.as_mut().is_some_and(|veto| veto(&part)) {
                        work.out.skipped += 1;
                        work.pass();
                        self.passed = commit_ts;
                    }
                }
                None => match begin(&mut self.interpreter)? {
                    LargeStep::Rows(large) => work.large = Some(LargeWork::Parts(large)),
                    LargeStep::Ahead(ddl) => {
                        work.out.events.extend((self.select.select)(Event::Ddl(ddl)));
                        work.large = None;
                    }
                    LargeStep::NeedVersion(_) | LargeStep::Whole => work.large = None,
                },
            },
            LargeWork::Parts(parts) => match self.interpreter.next_part(parts).map_err(failed)? {
                Some((part, bytes)) => {
                    let last = part.part.through.is_none();
                    if let Some(event) = (self.select.select)(Event::Transaction(part)) {
                        work.out.bytes += bytes + memory_of(&event);
                        work.out.events.push(event);
                    }
                    if last {
                        work.pass();
                        self.passed = commit_ts;
                    }
                    return Ok((!work.out.events.is_empty()).then_some(Advance::Cut));
                }
                // It has no rows at all.
                None => {
                    work.pass();
                    self.passed = commit_ts;
                }
            },
        }
        Ok(None)
    }

    /// What there is of the batch; the rest follows.
    fn cut(&mut self) -> Option<EventBatch> {
        let work = self.work.as_mut()?;
        let mut out = std::mem::take(&mut work.out);
        out.complete_through = self.passed;
        out.middle = work.large.is_some();
        self.describe(&mut out);
        Some(out)
    }

    fn finish(&mut self) -> Option<EventBatch> {
        let work = self.work.take()?;
        let mut out = work.out;
        out.complete_through = work.batch.complete_through;
        out.end = work.batch.end;
        self.passed = self.passed.max(out.complete_through);
        self.describe(&mut out);
        Some(out)
    }

    /// What the schema is like behind a batch.
    fn describe(&mut self, out: &mut EventBatch) {
        out.schema_version = self.interpreter.schema_version();
        if std::mem::take(&mut self.grown) {
            out.recovered = self.interpreter.history().recovered_tables().map(|(table, _)| table).collect();
        }
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

/// A DDL that was skipped: of its tables, only that they have changed upstream.
fn without_effect(event: Event) -> Event {
    tracing::warn!(commit_ts = %event.commit_ts(), "left out, as was asked for");
    match event {
        Event::Ddl(ddl) => Event::Ddl(Ddl { changes: Vec::new(), ..ddl }),
        Event::Transaction(txn) => Event::Transaction(Transaction { changes: Vec::new(), ..txn }),
    }
}

/// With `skip`, what cannot be read has no effect.
fn step(interpreter: &mut Interpreter, record: &Record, skip: bool) -> Result<Step, Error> {
    let commit_ts = record.commit_ts;
    let left_out = |why: String| {
        tracing::warn!(%commit_ts, why, "left out, as was asked for");
        Step::Skipped(SkipReason::NoEffect(why))
    };
    let body = match record.body() {
        Ok(body) => body,
        Err(error) if skip => return Ok(left_out(error.to_string())),
        Err(source) => return Err(Error::Payload { commit_ts, source }),
    };
    if skip && body.ddl_job_id == 0 {
        return Ok(left_out("a transaction".to_owned()));
    }
    match interpreter.step(record.start_ts, commit_ts, &body) {
        Err(error) if skip => Ok(left_out(error.to_string())),
        step => step.map_err(|source| Error::Interpret { commit_ts, source: Box::new(source) }),
    }
}
