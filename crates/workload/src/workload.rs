//! The workload as its users drive it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use binlog_catalog::{SchemaHistory, meta};
use binlog_cluster::{EmbeddedCluster, Oracle};
use binlog_types::{CommitTs, SchemaVersion, TableId};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::model::{Change, ChangeKind, TableModel};
use crate::pumps::Pumps;
use crate::schema::{self, ACCOUNTS, Job, JobHead, TABLES};
use crate::session::{Locks, MAX_SESSIONS, Session, opening_accounts};
use crate::txn::{Engine, Outcome};
use crate::{Error, Snapshot};

/// How often the progress callback is called.
const TICK: Duration = Duration::from_millis(250);
/// Rows of one transaction while the bank opens.
const OPENING_BATCH: usize = 100;

/// What the workload is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides all content.
    pub seed: u64,
    /// Name of the database. Default: `bank`.
    pub database: String,
    /// How many accounts there are, at least 2. Default: 500.
    pub accounts: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { seed: 1, database: "bank".to_owned(), accounts: 500 }
    }
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After this time.
    Time(Duration),
    /// After this many transactions of each session; the content is then the same in every run.
    Transactions(u64),
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Transactions committed.
    pub committed: u64,
    /// Transactions rolled back.
    pub rolled_back: u64,
    /// Rows changed by those that committed.
    pub rows: u64,
}

#[derive(Debug, Default)]
struct Counters {
    committed: AtomicU64,
    rolled_back: AtomicU64,
    rows: AtomicU64,
}

impl Counters {
    fn read(&self) -> Progress {
        Progress {
            committed: self.committed.load(Ordering::Relaxed),
            rolled_back: self.rolled_back.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
        }
    }

    fn count(&self, outcome: Outcome, rows: usize) {
        match outcome {
            Outcome::Commit => {
                self.committed.fetch_add(1, Ordering::Relaxed);
                self.rows.fetch_add(rows as u64, Ordering::Relaxed);
            }
            Outcome::Rollback => {
                self.rolled_back.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A bank's traffic, written to all pumps of an embedded cluster. Calls run one after the other; [`Workload::run`] is concurrent inside.
#[derive(Debug)]
pub struct Workload {
    options: Options,
    engine: Arc<Engine>,
    locks: Arc<Locks>,
    sessions: Vec<Session>,
    counters: Arc<Counters>,
    version: SchemaVersion,
    next_id: i64,
    database_id: i64,
}

impl Workload {
    /// Connects to the pumps that are online now, and to the oracle.
    ///
    /// # Errors
    /// When there is no pump, or one of them or the oracle cannot be reached.
    pub async fn connect(cluster: &EmbeddedCluster, options: Options) -> Result<Self, Error> {
        if options.accounts < 2 {
            return Err(Error::Usage("a bank needs two accounts at least".to_owned()));
        }
        let pumps = Pumps::connect(&cluster.registry(), cluster.cluster_id()).await?;
        let version = pumps.schema_version().await?;
        let engine = Engine::new(Oracle::embedded(cluster), pumps);
        Ok(Workload {
            options,
            engine: Arc::new(engine),
            locks: Arc::new(Locks::new()),
            sessions: Vec::new(),
            counters: Arc::default(),
            version,
            // Above whatever an earlier workload used: it took at most three ids a version.
            next_id: 100 + version.0 * 4,
            database_id: 0,
        })
    }

    /// Creates the database with its tables, and opens the accounts.
    ///
    /// # Errors
    /// When a pump fails, or the schema is there already.
    pub async fn create_schema(&mut self) -> Result<(), Error> {
        if self.database_id != 0 {
            return Err(Error::Usage("the schema is there already".to_owned()));
        }
        let database = self.options.database.clone();
        let database_id = self.allocate();
        self.ddl(database_id, |head| schema::create_database(head, &database)).await?;
        self.database_id = database_id;
        let mut tables = Vec::with_capacity(TABLES.len());
        for def in &TABLES {
            let table_id = self.allocate();
            let history =
                self.ddl(database_id, |head| schema::create_table(head, &database, table_id, def)).await?;
            let table = history.table_at(TableId(table_id), self.version);
            tables.push(TableModel::new(table.ok_or_else(|| {
                Error::Usage(format!("the catalog made no table of the job that creates {}", def.name))
            })?));
        }
        self.engine.model().tables = tables;
        let accounts = opening_accounts(self.options.seed, i64::from(self.options.accounts));
        for batch in accounts.chunks(OPENING_BATCH) {
            let insert = |(handle, row): &(i64, binlog_catalog::Row)| Change {
                table: ACCOUNTS,
                handle: *handle,
                kind: ChangeKind::Insert(row.clone()),
            };
            let changes: Vec<Change> = batch.iter().map(insert).collect();
            self.counters.count(Outcome::Commit, changes.len());
            self.engine.execute(self.version, changes, Outcome::Commit).await?;
        }
        Ok(())
    }

    /// Lets `sessions` connections work until `limit`. Further runs go on where the last one ended. All sessions have ended when it returns.
    ///
    /// # Errors
    /// The first error of any session.
    pub async fn run(
        &mut self,
        sessions: usize,
        limit: Limit,
        mut progress: impl FnMut(Progress),
    ) -> Result<Progress, Error> {
        if !(1..=MAX_SESSIONS).contains(&sessions) {
            return Err(Error::Usage(format!("between 1 and {MAX_SESSIONS} sessions, not {sessions}")));
        }
        for number in self.sessions.len()..sessions {
            self.sessions.push(Session::new(self.options.seed, number, i64::from(self.options.accounts)));
        }
        let started = Instant::now();
        let mut running = JoinSet::new();
        let idle = self.sessions.split_off(sessions);
        for mut session in self.sessions.drain(..) {
            let (engine, locks, counters) = (self.engine.clone(), self.locks.clone(), self.counters.clone());
            let version = self.version;
            running.spawn(async move {
                let mut steps = 0;
                while !limit.reached(started, steps) {
                    let done = session.step(&engine, &locks, version).await?;
                    counters.count(done.outcome, done.rows);
                    steps += 1;
                }
                Ok::<Session, Error>(session)
            });
        }
        let mut ended = Vec::with_capacity(sessions);
        let mut tick = tokio::time::interval(TICK);
        while !running.is_empty() {
            tokio::select! {
                Some(result) = running.join_next() => {
                    ended.push(result.map_err(|e| Error::Session(e.to_string()))??);
                }
                _ = tick.tick() => progress(self.counters.read()),
            }
        }
        ended.extend(idle);
        ended.sort_by_key(Session::number);
        self.sessions = ended;
        let done = self.counters.read();
        progress(done);
        Ok(done)
    }

    /// The mistake: every row of a table goes, in one transaction. Returns how many there were.
    ///
    /// # Errors
    /// When there is no such table, or a pump fails.
    pub async fn delete_all(&mut self, table: &str) -> Result<u64, Error> {
        let changes: Vec<Change> = {
            let model = self.engine.model();
            let found = model.tables.iter().enumerate().find(|(_, t)| t.table.name == table);
            let (at, found) = found.ok_or_else(|| Error::Usage(format!("no table {table}")))?;
            let delete = |(handle, row): (&i64, &binlog_catalog::Row)| Change {
                table: at,
                handle: *handle,
                kind: ChangeKind::Delete(row.clone()),
            };
            found.rows.iter().map(delete).collect()
        };
        let rows = changes.len();
        if rows > 0 {
            self.engine.execute(self.version, changes, Outcome::Commit).await?;
            self.counters.count(Outcome::Commit, rows);
        }
        Ok(rows as u64)
    }

    /// The other mistake: DROP DATABASE. Returns its commit_ts.
    ///
    /// # Errors
    /// When there is no database, or a pump fails.
    pub async fn drop_database(&mut self) -> Result<CommitTs, Error> {
        if self.database_id == 0 {
            return Err(Error::Usage("there is no database to drop".to_owned()));
        }
        let tables: Vec<i64> = self.engine.model().tables.iter().map(|t| t.table.id.0).collect();
        let (database, database_id) = (self.options.database.clone(), self.database_id);
        self.ddl(database_id, |head| schema::drop_database(head, &database, &tables)).await?;
        self.engine.model().tables.clear();
        self.database_id = 0;
        self.sessions.clear();
        Ok(CommitTs::from(self.engine.oracle.now().await?))
    }

    /// Counts and digests as of now; nothing runs beside it, since it borrows the workload alone.
    ///
    /// # Errors
    /// When the oracle does not answer.
    pub async fn snapshot(&mut self) -> Result<Snapshot, Error> {
        let ts = self.engine.oracle.now().await?;
        Ok(self.engine.model().snapshot(ts, &self.options.database))
    }

    /// The sum of all balances, in cents: transfers do not change it.
    pub fn total_cents(&self) -> i64 {
        let model = self.engine.model();
        let accounts = model.tables.get(ACCOUNTS);
        accounts.map_or(0, |t| t.rows.values().filter_map(crate::session::cents_of).sum())
    }

    /// What [`Workload::total_cents`] is as long as the accounts are there.
    pub fn expected_cents(&self) -> i64 {
        i64::from(self.options.accounts) * crate::session::OPENING_CENTS
    }

    fn allocate(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    /// Runs one DDL: first the objects to all pumps, then its binlogs. Returns the history that the job makes by itself.
    async fn ddl(
        &mut self,
        schema_id: i64,
        make: impl FnOnce(JobHead) -> Job,
    ) -> Result<SchemaHistory, Error> {
        let start_ts = self.engine.oracle.now().await?;
        let version = SchemaVersion(self.version.0 + 1);
        let id = self.allocate();
        let job = make(JobHead { id, version: version.0, start_ts: start_ts.raw(), schema_id });
        let objects = meta::objects_of_job(&job.json)?;
        let mut history = SchemaHistory::default();
        for object in objects.clone() {
            history.insert(object)?;
        }
        self.engine.pumps.put_schema(objects, version).await?;
        let key = Bytes::from(format!("mDBs:{schema_id}"));
        self.engine.execute_ddl(start_ts.raw(), id, job, key).await?;
        self.version = version;
        Ok(history)
    }
}

impl Limit {
    fn reached(self, started: Instant, steps: u64) -> bool {
        match self {
            Limit::Time(time) => started.elapsed() >= time,
            Limit::Transactions(count) => steps >= count,
        }
    }
}
