//! The schema history of a TiDB cluster, followed in TiKV.
//!
//! TiDB's schema has a version that rises with every change; a *diff* says by ids what each version changed; a finished DDL
//! *job* carries the whole object that it made. Jobs come first here. What no job carries, the other table of a partition
//! exchange say, is read as it stands after the version that a diff names. What neither job nor diff ever named, such as the
//! tables of TiDB's own bootstrap, is taken from a snapshot as version 0.
//!
//! Everything of one round is read at one timestamp. A version is claimed as complete only when its job is here, or when it
//! is clear that it has none of its own (see [`settle`]).

mod reader;
mod requests;
mod settle;

use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::meta::{self, Job};
use binlog_proto::store::SchemaObject;
use binlog_types::{ClockHandle, JobId, SchemaVersion, Ts};

use self::reader::{MetaReader, RawJob};
pub use self::requests::JobRequests;
use self::settle::{AtWork, Ledger};
use crate::{PdClient, TikvClient};

/// Jobs finish out of order: when something changed, this many ids below the highest are looked at again. What finishes further below
/// is found when somebody asks for it.
const JOB_OVERLAP: i64 = 4096;
/// While versions are open, those ids are looked at this often.
const OVERLAP_EVERY: Duration = Duration::from_secs(1);

/// Why a round failed; the next one tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// PD or TiKV.
    #[error(transparent)]
    Cluster(#[from] crate::Error),
    /// Something in TiKV is not what TiDB writes.
    #[error("{what}: {cause}")]
    Meta {
        /// What was read.
        what: String,
        /// What is wrong with it.
        cause: binlog_catalog::Error,
    },
    /// What was read is no schema at all.
    #[error("{0}")]
    Malformed(String),
    /// The keeper.
    #[error("keep the schema history: {0}")]
    Keep(#[from] KeepError),
}

/// Why what was read could not be kept.
pub type KeepError = Box<dyn std::error::Error + Send + Sync>;

/// Where a [`SchemaFollower`] puts what it reads.
pub trait SchemaKeeper: Send + Sync {
    /// The version up to which the history that is kept is complete.
    fn complete(&self) -> SchemaVersion;

    /// The highest job id that [`SchemaKeeper::save_mark`] was given; 0: none.
    ///
    /// # Errors
    /// When it cannot be read.
    fn mark(&self) -> Result<i64, KeepError>;

    /// Remembers the highest job id that was read: a hint for the next start.
    fn save_mark(&self, mark: i64) -> impl Future<Output = Result<(), KeepError>> + Send;

    /// Whether any version of this object is kept.
    ///
    /// # Errors
    /// When it cannot be read.
    fn knows(&self, object: &SchemaObject) -> Result<bool, KeepError>;

    /// Keeps objects; with them the history is complete up to `complete`.
    fn keep(
        &self,
        objects: Vec<SchemaObject>,
        complete: SchemaVersion,
    ) -> impl Future<Output = Result<(), KeepError>> + Send;
}

/// Reads what is new, round by round.
#[derive(Debug)]
pub struct SchemaFollower<K> {
    keeper: K,
    clock: ClockHandle,
    pd: PdClient,
    reader: MetaReader,
    requests: Arc<JobRequests>,
    ledger: Ledger,
    /// The highest job id read so far; None before the first round.
    mark: Option<i64>,
    /// The version at which jobs were last looked at with overlap, and when.
    looked_at: (SchemaVersion, Duration),
    /// The timestamp of the last round: versions that it did not see came behind it. Zero: there was none.
    looked: Ts,
    /// Where who reads the history begins.
    begin: (SchemaVersion, Ts),
    /// What no job ever made has been read.
    begun: bool,
}

impl<K: SchemaKeeper> SchemaFollower<K> {
    /// Goes on from what `keeper` has, and looks for what is wanted besides.
    pub fn new(pd: PdClient, keeper: K, requests: Arc<JobRequests>, clock: ClockHandle) -> Self {
        let reader = MetaReader::new(TikvClient::new(pd.clone()));
        let ledger = Ledger::new(keeper.complete());
        let looked_at = (SchemaVersion(-1), Duration::ZERO);
        let begin = (SchemaVersion(0), Ts::ZERO);
        SchemaFollower {
            keeper,
            clock,
            pd,
            reader,
            requests,
            ledger,
            mark: None,
            looked_at,
            looked: Ts::ZERO,
            begin,
            begun: false,
        }
    }

    /// For who begins to read the history behind `version`, or behind the jobs that were finished by `ts`: the steps up to there are not
    /// read one by one. The jobs are, for the objects that they left.
    #[must_use]
    pub fn beginning_behind(mut self, version: SchemaVersion, ts: Ts) -> Self {
        self.begin = (version, ts);
        self
    }

    /// Reads what is new at one timestamp; false when versions are still open.
    ///
    /// # Errors
    /// The next round tries again.
    pub async fn round(&mut self) -> Result<bool, FollowError> {
        // What is wanted by now was there before the timestamp.
        let wanted = self.requests.due();
        let at = self.pd.ts().await?;
        let Some(version) = self.reader.version(at).await? else { return Ok(true) };
        self.read_jobs(version, at).await?;
        self.read_wanted(wanted, at).await?;
        if !self.begun {
            self.read_snapshot(at).await?;
            let (version, ts) = self.begin;
            self.ledger.begin_behind(version, ts);
            self.begun = true;
        }
        if version <= self.ledger.complete() {
            self.looked = at;
            return Ok(true);
        }
        let unread = self.ledger.without_diff(version);
        for (of, diff) in self.reader.diffs(unread, at).await? {
            // TiDB raises the version in a transaction of its own, before the one that makes it: the newest may be still to come.
            if diff.is_some() || of < version {
                self.ledger.diff(of, diff, self.looked);
            } else {
                self.ledger.expect(of);
            }
        }
        self.looked = at;
        let settled = self.ledger.settle(version, self.clock.monotonic());
        if settled > self.ledger.complete() {
            let mut objects = self.read_uncovered(settled, version, at).await?;
            objects.extend(self.read_steps(settled, at).await?);
            self.keeper.keep(objects, settled).await?;
            self.ledger.advance(settled);
            tracing::info!(version = %settled, "the schema history has grown");
        }
        Ok(settled == version)
    }

    /// Jobs above the mark; with overlap when the version has risen, and all of them the very first time.
    async fn read_jobs(&mut self, version: SchemaVersion, at: Ts) -> Result<(), FollowError> {
        let mark = match self.mark {
            Some(mark) => mark,
            None => self.keeper.mark()?,
        };
        let now = self.clock.monotonic();
        let (version_then, then) = self.looked_at;
        let overlap = version != version_then
            || (!self.ledger.is_settled() && now.saturating_sub(then) >= OVERLAP_EVERY);
        let mut from = if overlap { mark - JOB_OVERLAP } else { mark + 1 }.max(0);
        let mut highest = mark;
        loop {
            let page = self.reader.jobs(from, at).await?;
            let Some(last) = page.last().map(|job| job.id) else { break };
            let new = page.into_iter().filter(|job| !self.ledger.knows_job(job.id)).collect();
            self.take_jobs(new).await?;
            highest = highest.max(last);
            from = last + 1;
        }
        if self.mark != Some(highest) {
            self.keeper.save_mark(highest).await?;
            self.mark = Some(highest);
        }
        if overlap {
            self.looked_at = (version, now);
        }
        self.ledger.forget_jobs(highest - JOB_OVERLAP);
        Ok(())
    }

    /// Jobs that somebody asked for, wherever their ids lie; also those that were read before, for the keeper may have let go of them.
    async fn read_wanted(&mut self, wanted: Vec<JobId>, at: Ts) -> Result<(), FollowError> {
        for id in wanted {
            let Some(job) = self.reader.job(id, at).await? else { continue };
            self.take_jobs(vec![job]).await?;
            self.requests.found(id);
        }
        Ok(())
    }

    /// Keeps jobs and what they made.
    async fn take_jobs(&mut self, jobs: Vec<RawJob>) -> Result<(), FollowError> {
        let mut objects = Vec::new();
        let mut taken = Vec::new();
        for raw in jobs {
            let read = meta::objects_of_job(&raw.json).and_then(|made| Ok((Job::parse(&raw.json)?, made)));
            match read {
                Ok((job, made)) => {
                    objects.extend(made.iter().cloned());
                    taken.push((raw.id, Some((job, made))));
                }
                // What is not understood must not hold up what is: a reader that comes to it decides.
                Err(error) => {
                    tracing::warn!(job = raw.id, %error, "a DDL job that cannot be read is kept as it is");
                    objects.push(meta::unreadable_job(raw.id, &raw.json));
                    taken.push((raw.id, None));
                }
            }
        }
        if !objects.is_empty() {
            self.keeper.keep(objects, self.ledger.complete()).await?;
        }
        // Only now: what was not kept is read again.
        for (id, read) in taken {
            match read {
                Some((job, made)) => self.ledger.job(&job, &made),
                None => self.ledger.unreadable_job(id),
            }
        }
        Ok(())
    }

    /// Databases and tables that no job ever made.
    async fn read_snapshot(&self, at: Ts) -> Result<(), FollowError> {
        for database in self.reader.databases(at).await? {
            let mut objects = Vec::new();
            let id = database.id;
            self.keep_if_new(&mut objects, database)?;
            let mut from = None;
            loop {
                let (tables, next) = self.reader.tables(id, from, at).await?;
                for table in tables {
                    self.keep_if_new(&mut objects, table)?;
                }
                if !objects.is_empty() {
                    self.keeper.keep(std::mem::take(&mut objects), self.ledger.complete()).await?;
                }
                from = match next {
                    Some(next) => Some(next),
                    None => break,
                };
            }
        }
        Ok(())
    }

    fn keep_if_new(&self, objects: &mut Vec<SchemaObject>, object: SchemaObject) -> Result<(), FollowError> {
        if !self.keeper.knows(&object)? {
            objects.push(object);
        }
        Ok(())
    }

    /// Tables that diffs up to `settled` name and the jobs of those versions do not carry.
    async fn read_uncovered(
        &self,
        settled: SchemaVersion,
        version: SchemaVersion,
        at: Ts,
    ) -> Result<Vec<SchemaObject>, FollowError> {
        let mut objects = Vec::new();
        for missing in self.ledger.uncovered(settled, version) {
            // It stands unchanged from its version until the next one that touches it.
            let moment = missing.before.unwrap_or(at);
            match self.reader.table(missing.database, missing.table, missing.version, moment).await? {
                // A step of a job that is not done. Rows of it decode by the version before, and its end comes with the job.
                Some(table) if !meta::is_at_rest(&table.json) => {
                    tracing::debug!(table = %missing.table, version = %missing.version, "left out a table amid a DDL");
                }
                Some(table) => objects.push(table),
                None if missing.gone() => objects.push(missing.dropped()),
                // Not there at a moment that has passed: TiKV may have collected it. The history before it tells what it was.
                None => {
                    tracing::debug!(table = %missing.table, version = %missing.version, "no table of that version");
                }
            }
        }
        Ok(objects)
    }
}

impl<K: SchemaKeeper> SchemaFollower<K> {
    /// What DDLs leave of the unique indexes of the tables that they are at work on. The table is read as it stands, which may be a step
    /// later than the version: TiDB does not give back an index that it has begun to take away.
    async fn read_steps(&self, settled: SchemaVersion, at: Ts) -> Result<Vec<SchemaObject>, FollowError> {
        let (mut steps, at_work) = self.ledger.steps(settled);
        for work in at_work {
            let AtWork { database, table, version, .. } = work;
            let Some(object) = self.reader.table(database, table, version, at).await? else { continue };
            let left = meta::step_object(&object).map_err(|cause| FollowError::Meta {
                what: format!("table {table} of database {database}"),
                cause,
            })?;
            steps.push(work.step(left));
        }
        Ok(steps)
    }
}

/// How often a follower looks.
#[derive(Debug)]
pub struct Pace {
    /// Between rounds.
    pub calm: Duration,
    /// While a version is not settled, or somebody asks.
    pub eager: Duration,
}

/// A pace that a cluster does not feel and that a reader hardly waits for.
pub const PACE: Pace = Pace { calm: Duration::from_secs(1), eager: Duration::from_millis(100) };
