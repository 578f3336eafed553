//! MySQL, MariaDB and TiDB.

mod again;
mod apply;
mod books;
mod checkpoint;
mod columns;
pub(crate) mod connection;
pub(crate) mod ddl;
pub(crate) mod describe;
mod job;
mod lane;
pub(crate) mod marks;
mod mass;
mod opening;
mod pipeline;
mod scope;
mod server;
mod state;
mod width;

use std::collections::HashMap;
use std::sync::Arc;

use binlog_catalog::{Ddl, Event, Table, Transaction};
use binlog_types::{CommitTs, TableId};
use sqlx::Row as _;

use crate::ddl::dialect::Kind;
use crate::ddl::recycle::{self, Bin};
use crate::dml::batch::{Batch, Keyed, Ordered, cut, same_shape};
use crate::layout::Layout;
use crate::names::mysql_table;
use crate::notices::Notices;
use crate::position::{Position, Progress};
use crate::schedule::{Claim, TableName};
use crate::{Checkpoint, Error, MySqlTarget, Place, RecycleBin, SinkOptions};
use again::Unfinished;
use apply::{Writer, name_of};
use columns::TargetColumns;
use connection::Connection;
use job::{Duplicate, Job, Statement};
use lane::{Lane, Limits, NET_ROWS, Part};
use pipeline::Pipeline;
use scope::{Floors, Scope};
use server::Server;
use state::State;

/// Rows of a statement at most, where much waits: beyond it nothing gets faster.
const MOST_ROWS: usize = 1000;

/// An open server.
#[derive(Debug)]
pub(crate) struct MySqlSink {
    target: MySqlTarget,
    options: SinkOptions,
    server: Server,
    /// Bookkeeping.
    main: Connection,
    pipeline: Pipeline,
    /// What this sink keeps beside the data; `None`: nothing.
    state: Option<State>,
    /// Begins every statement of rows, so that a later run knows it.
    mark: String,
    /// The table as its last rows had it.
    shapes: HashMap<TableName, Arc<Table>>,
    notices: Notices,
    bin: Bin,
    columns: TargetColumns,
    unfinished: Unfinished,
    /// The newest position that was handed to the pipeline.
    submitted: CommitTs,
}

impl MySqlSink {
    pub(crate) async fn open(target: &MySqlTarget, mut options: SinkOptions) -> Result<Self, Error> {
        options.workers = options.workers.max(1);
        options.batch_rows = options.batch_rows.max(1);
        let mut main = Connection::new(target);
        let server = Server::ask(&mut main).await?;
        if let Some(marks) = options.marks {
            marks::open(&mut main, marks, options.workers).await?;
        }
        let state = if options.checkpoint { Some(State::open(&mut main, &options).await?) } else { None };
        let bin = bin(&mut main, &server, options.recycle_bin.clone()).await?;
        let pipeline = start(target, &options, state.as_ref(), 0);
        let mark = state.as_ref().map(State::mark).unwrap_or_default();
        tracing::info!(target = %target, server = server.version, dialect = server.dialect.name(), "sink is open");
        let columns = TargetColumns::new(options.partial_columns);
        Ok(MySqlSink {
            target: target.clone(),
            options,
            server,
            main,
            pipeline,
            state,
            mark,
            shapes: HashMap::new(),
            notices: Notices::default(),
            bin,
            columns,
            unfinished: Unfinished::default(),
            submitted: CommitTs::ZERO,
        })
    }

    fn start(&self, after: u64) -> Pipeline {
        start(&self.target, &self.options, self.state.as_ref(), after)
    }

    pub(crate) fn expect_back(&mut self, tables: Vec<TableId>) {
        self.bin.expect(tables);
    }

    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.state.as_ref().and_then(State::checkpoint)
    }

    /// Saves the checkpoint; and with it the time of a TiDB target, if it is due and the target equals the source at the checkpoint.
    pub(crate) async fn save(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        let exact = self.server.dialect.is_tidb()
            && self.pipeline.unfinished() == 0
            && self.submitted <= checkpoint.commit_ts;
        match &mut self.state {
            Some(state) => state.save(&mut self.main, checkpoint, exact).await,
            None => Ok(()),
        }
    }

    /// Whether the pipeline has to run empty, so that what is saved next can name a time at which target and source are equal.
    fn must_run_empty(&self) -> bool {
        let Some(state) = &self.state else { return false };
        let saved = state.checkpoint().map_or(CommitTs::ZERO, |c| c.commit_ts);
        self.server.dialect.is_tidb() && self.submitted > saved && state.wants_target_time()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.pipeline.has_room() && !self.must_run_empty()
    }

    /// Jobs that have not ended.
    pub(crate) fn waiting(&self) -> usize {
        self.pipeline.unfinished()
    }

    pub(crate) async fn progress(&mut self) -> Result<u64, Error> {
        loop {
            self.catch_up().await?;
            match self.pipeline.progress().await {
                Ok(done) => {
                    self.unfinished.done(done);
                    return Ok(done);
                }
                Err(error) => self.failed(error)?,
            }
        }
    }

    pub(crate) async fn submit(&mut self, events: Vec<Event>) -> Result<u64, Error> {
        self.catch_up().await?;
        let ticket = self.pass_on(&events).await?;
        self.hold(ticket, Arc::new(events));
        Ok(ticket)
    }

    async fn pass_on(&mut self, events: &[Event]) -> Result<u64, Error> {
        let mut ticket = None;
        // What a table has differs before and after a DDL, so what is between two of them is looked at by itself.
        for events in events.split_inclusive(|event| matches!(event, Event::Ddl(_))) {
            self.columns.look(&mut self.main, &self.pipeline, events).await?;
            let submitted = self.hand_over(events)?;
            if let Some(event @ Event::Ddl(ddl)) = events.last() {
                let again = self.state.as_ref().is_some_and(|s| {
                    s.intent(Position::of(event)).is_some() || ddl.commit_ts <= s.in_doubt_through()
                });
                self.columns.follow(ddl, again, submitted);
            }
            ticket = Some(submitted);
        }
        ticket.map_or_else(|| self.hand_over(&[]), Ok)
    }

    fn hand_over(&mut self, events: &[Event]) -> Result<u64, Error> {
        let mut jobs = Vec::new();
        let mut run: Vec<&Transaction> = Vec::new();
        for event in events {
            self.submitted = self.submitted.max(event.commit_ts());
            match event {
                Event::Transaction(txn) => run.push(txn),
                Event::Ddl(ddl) => {
                    self.rows(std::mem::take(&mut run), &mut jobs)?;
                    self.ddl(ddl, Position::of(event), &mut jobs)?;
                }
            }
        }
        self.rows(run, &mut jobs)?;
        self.pipeline.submit(jobs)
    }

    fn ddl(&mut self, ddl: &Ddl, at: Position, jobs: &mut Vec<(Job, Claim)>) -> Result<(), Error> {
        let before = self.state.as_ref().and_then(|s| s.intent(at));
        if before.is_some_and(|i| i.done) {
            return Ok(());
        }
        self.drop_expired(ddl.commit_ts, jobs);
        let in_doubt = self.state.as_ref().is_some_and(|s| ddl.commit_ts <= s.in_doubt_through());
        let again = before.is_some() || in_doubt;
        let steps = crate::ddl::plan(&self.server.dialect, ddl, &self.bin, again, &mut self.notices)?;
        let mut scope = Scope::of(ddl, self.server.dialect.kind);
        for change in &ddl.changes {
            for table in self.bin.applied(change, ddl.commit_ts) {
                scope.table(recycle::SCHEMA, &table);
            }
        }
        if steps.is_empty() {
            return Ok(());
        }
        let claim = if self.options.whole_transactions { Claim::Everything } else { scope.claim() };
        let change = ddl::Change {
            at,
            job: ddl.job_id.0,
            query: ddl.query.clone(),
            steps,
            // Only names: it cannot fail.
            scope: serde_json::to_string(&scope).unwrap_or_default(),
            before,
            in_doubt,
            lenient: self.options.lenient_ddl,
        };
        if let Some(state) = &mut self.state {
            state.will_intend();
        }
        jobs.push((Job::Ddl(change), claim));
        Ok(())
    }

    /// Empties the recycle bin of what was kept long enough.
    fn drop_expired(&mut self, now: CommitTs, jobs: &mut Vec<(Job, Claim)>) {
        for (id, name) in self.bin.expired(now) {
            let sql = Arc::new(format!("DROP TABLE IF EXISTS {}", mysql_table(recycle::SCHEMA, &name)));
            let schema: Arc<str> = Arc::from(recycle::SCHEMA);
            let place = Place { schema: Arc::clone(&schema), table: name.clone(), commit_ts: now };
            let claim = Claim::Tables(vec![(schema, Arc::from(name))]);
            jobs.push((Job::Rows(Statement { sql, place, duplicate: Duplicate::Error }), claim));
            self.bin.forget(id);
        }
    }

    fn rows(&mut self, run: Vec<&Transaction>, jobs: &mut Vec<(Job, Claim)>) -> Result<(), Error> {
        for run in cut(run) {
            self.batch(run, jobs)?;
        }
        Ok(())
    }

    fn batch(&mut self, run: Vec<&Transaction>, jobs: &mut Vec<(Job, Claim)>) -> Result<(), Error> {
        let done = self.state.as_ref().map(|s| s.progress()).unwrap_or_default();
        let none = Floors::default();
        let floors = self.state.as_ref().map_or(&none, |s| s.floors());
        let json_type = self.server.dialect.has_json_type();
        let layout = |table: &_| Layout { json_type, ..Layout::on(table, &self.columns.differences(table)) };
        let batch = Batch::new(run, done, |table, at| floors.is_applied(table, at), layout)?;
        let waiting: usize = batch.keyed.iter().map(rows_of).sum();
        // Few rows are spread over the connections, many make long statements.
        let rows = (waiting / (2 * self.options.workers))
            .clamp(self.options.batch_rows, MOST_ROWS.max(self.options.batch_rows));
        let writer = Writer { server: &self.server, rows, mark: &self.mark };
        let first = jobs.len();
        for table in &batch.keyed {
            if let Some((name, shape)) = shape_of(table)
                && let Some(known) = self.shapes.insert(name.clone(), Arc::clone(shape))
                && !same_shape(&known, shape)
            {
                // Its conflict keys are others now.
                jobs.push((Job::Fence, Claim::Tables(vec![name])));
            }
            writer.jobs(table, jobs)?;
        }
        let limits = Limits {
            bytes: self.server.statement_bytes,
            packet: self.server.packet,
            json_type,
            in_doubt_through: self.state.as_ref().map_or(CommitTs::ZERO, State::in_doubt_through),
        };
        if self.options.whole_transactions {
            let own: Vec<Job> = jobs.drain(first..).map(|(job, _)| job).collect();
            jobs.extend(whole(own, &batch.lane, limits)?);
            return Ok(());
        }
        for chunk in batch.lane.chunks(NET_ROWS) {
            let Some(last) = chunk.last() else { continue };
            let mut names: Vec<TableName> = Vec::new();
            for row in chunk {
                let name = name_of(&row.layout);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            let parts = lane::parts(chunk, limits)?;
            let place = last.layout.place(last.commit_ts);
            jobs.push((Job::Lane(Lane { parts, place, after: Some(last.after) }), Claim::Lane(names)));
        }
        Ok(())
    }

    pub(crate) async fn close(mut self) {
        self.pipeline.close().await;
        if let Some(marks) = self.options.marks {
            marks::close(&mut self.main, marks).await;
        }
        if let Some(state) = self.state {
            state.close().await;
        }
        self.main.close().await;
    }
}

/// Connections at work; their first ticket is the one behind `after`.
fn start(target: &MySqlTarget, options: &SinkOptions, state: Option<&State>, after: u64) -> Pipeline {
    let workers = (0..options.workers).map(|id| {
        let mark = options.marks.map(|marks| marks::statement(marks, id));
        Connection::for_rows(target, mark, options.watch.clone())
    });
    Pipeline::start(workers.collect(), state.map(State::books), after)
}

fn rows_of(table: &Keyed<'_>) -> usize {
    match table {
        Keyed::Net(folded) => folded.deletes.len() + folded.puts.len(),
        Keyed::Steps(steps) => steps.len(),
    }
}

fn shape_of<'a>(table: &'a Keyed<'_>) -> Option<(TableName, &'a Arc<Table>)> {
    let layout = match table {
        Keyed::Net(folded) => &folded.layout,
        Keyed::Steps(steps) => &steps.first()?.layout,
    };
    Some((name_of(layout), &layout.table.table))
}

/// Everything as one transaction.
fn whole(jobs: Vec<Job>, lane: &[Ordered<'_>], limits: Limits) -> Result<Option<(Job, Claim)>, Error> {
    let mut parts = Vec::new();
    let mut place = None;
    for job in jobs {
        match job {
            Job::Rows(statement) => {
                place = Some(statement.place.clone());
                parts.push(Part::Insert(statement));
            }
            Job::Steps(steps) => {
                for step in steps {
                    place = Some(step.place.clone());
                    parts.push(Part::Step(step));
                }
            }
            Job::Fence | Job::Lane(_) | Job::Ddl(_) => {}
        }
    }
    let mut after: Option<Progress> = None;
    if let Some(last) = lane.last() {
        parts.extend(lane::parts(lane, limits)?);
        (place, after) = (Some(last.layout.place(last.commit_ts)), Some(last.after));
    }
    Ok(place.map(|place| (Job::Lane(Lane { parts, place, after }), Claim::Everything)))
}

/// TiDB brings back what it dropped by itself, from the statement's text.
async fn bin(main: &mut Connection, server: &Server, policy: RecycleBin) -> Result<Bin, Error> {
    if policy == RecycleBin::Off || server.dialect.kind == Kind::TiDb {
        return Ok(Bin::default());
    }
    let sql = format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = '{}'",
        recycle::SCHEMA
    );
    let failed = bookkeeping("look into the recycle bin");
    let rows = main.fetch(&sql).await.map_err(&failed)?;
    let names: Vec<String> =
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(&failed)?;
    Ok(Bin::new(policy, names.iter().map(String::as_str)))
}

/// Statement and position for errors of statements that concern the sink's own tables.
pub(crate) fn bookkeeping(what: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Bookkeeping { what, source }
}
