//! The schema history of a TiDB cluster, followed in TiKV and kept in the store.
//!
//! TiDB's schema has a version that rises with every change; a *diff* says by ids what each version changed; a finished DDL
//! *job* carries the whole object that it made. Jobs come first here. What no job carries, the other table of a partition
//! exchange say, is read as it stands after the version that a diff names. What neither job nor diff ever named, such as the
//! tables of TiDB's own bootstrap, is taken from a snapshot as version 0.
//!
//! Everything of one round is read at one timestamp. A version is claimed as complete only when its job is here, or when it
//! is clear that it has none of its own (see [`settle`]). Storing binlogs never waits for any of this.

mod reader;
mod settle;

use std::time::Duration;

use binlog_catalog::meta::Job;
use binlog_cluster::{PdClient, TikvClient};
use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_storage::SchemaEntry;
use binlog_types::{SchemaVersion, Ts};

use self::reader::MetaReader;
use self::settle::Ledger;
use crate::context::Shared;
use crate::grpc::schema::entry_of;

const INTERVAL: Duration = Duration::from_secs(1);
/// After somebody asked, or while a version is not settled.
const EAGER_INTERVAL: Duration = Duration::from_millis(100);
const EAGER_FOR: Duration = Duration::from_secs(5);
/// The highest job id that was read; a hint for the next start.
const MARK: &str = "schema-job-mark";
/// Jobs finish out of order: when something changed, this many ids below the highest are looked at again.
const JOB_OVERLAP: i64 = 4096;

/// Why a round failed; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// PD or TiKV.
    #[error("{0}")]
    Cluster(#[from] binlog_cluster::Error),
    /// Something in TiKV is not what TiDB writes.
    #[error("{what}: {source}")]
    Meta {
        /// What was read.
        what: String,
        /// What is wrong with it.
        source: binlog_catalog::Error,
    },
    /// The store.
    #[error("store the schema history: {0}")]
    Store(#[from] binlog_storage::Error),
    /// An object of a kind that the store does not keep.
    #[error("{0}")]
    Object(String),
    /// The runtime shuts down.
    #[error("the pump is shutting down")]
    Stopped,
}

/// Follows until the pump stops.
pub(crate) async fn run(context: Shared, pd: PdClient) {
    let mut follower = Follower::new(context.clone(), pd);
    let mut eager_until = Duration::ZERO;
    let mut last_failure = String::new();
    loop {
        let settled = tokio::select! {
            () = context.stop.cancelled() => return,
            round = follower.round() => match round {
                Ok(settled) => {
                    last_failure.clear();
                    settled
                }
                Err(error) => {
                    let failure = error.to_string();
                    if failure != last_failure {
                        tracing::warn!(%error, "the schema history cannot be followed now; binlogs are stored all the same");
                        last_failure = failure;
                    }
                    true
                }
            },
        };
        let eager = !settled || context.clock.monotonic() < eager_until;
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(if eager { EAGER_INTERVAL } else { INTERVAL }) => {}
            () = context.schema.wanted() => {
                eager_until = context.clock.monotonic() + EAGER_FOR;
                // One asker after the other must not make rounds without pause.
                tokio::time::sleep(EAGER_INTERVAL / 5).await;
            }
        }
    }
}

struct Follower {
    context: Shared,
    pd: PdClient,
    reader: MetaReader,
    ledger: Ledger,
    /// The highest job id read so far; None before the first round.
    mark: Option<i64>,
    /// The version at which jobs were last looked at with overlap.
    looked_at: SchemaVersion,
}

impl Follower {
    fn new(context: Shared, pd: PdClient) -> Self {
        let complete = context.store.schema_version();
        let reader = MetaReader::new(TikvClient::new(pd.clone()));
        Follower {
            context,
            pd,
            reader,
            ledger: Ledger::new(complete),
            mark: None,
            looked_at: SchemaVersion(-1),
        }
    }

    /// Reads what is new at one timestamp; false when versions are still open.
    async fn round(&mut self) -> Result<bool, FollowError> {
        let at = self.pd.ts().await?;
        let Some(version) = self.reader.version(at).await? else { return Ok(true) };
        let first = self.mark.is_none();
        self.read_jobs(version, at).await?;
        if first {
            self.read_snapshot(at).await?;
        }
        if version <= self.ledger.complete() {
            return Ok(true);
        }
        for (version, diff) in self.reader.diffs(self.ledger.complete(), version, at).await? {
            self.ledger.diff(version, diff);
        }
        let settled = self.ledger.settle(version, self.context.clock.monotonic());
        if settled > self.ledger.complete() {
            let entries = self.read_uncovered(settled, version, at).await?;
            self.store(entries, settled).await?;
            self.ledger.advance(settled);
            tracing::info!(version = %settled, "the schema history has grown");
        }
        Ok(settled == version)
    }

    /// Jobs above the mark; with overlap when the version has risen, and all of them the very first time.
    async fn read_jobs(&mut self, version: SchemaVersion, at: Ts) -> Result<(), FollowError> {
        let mark = match self.mark {
            Some(mark) => mark,
            None => self.load_mark()?,
        };
        let overlap = version != self.looked_at || !self.ledger.is_settled();
        let mut from = if overlap { mark - JOB_OVERLAP } else { mark + 1 }.max(0);
        let mut highest = mark;
        loop {
            let page = self.reader.jobs(from, at).await?;
            let Some(last) = page.last().map(|job| job.id) else { break };
            let mut entries = Vec::new();
            for raw in page {
                if self.ledger.knows_job(raw.id) {
                    continue;
                }
                let what = || format!("DDL job {}", raw.id);
                let objects = binlog_catalog::meta::objects_of_job(&raw.json)
                    .map_err(|source| FollowError::Meta { what: what(), source })?;
                let job =
                    Job::parse(&raw.json).map_err(|source| FollowError::Meta { what: what(), source })?;
                self.ledger.job(&job, &objects);
                entries.extend(to_entries(&objects)?);
            }
            if !entries.is_empty() {
                self.store(entries, self.ledger.complete()).await?;
            }
            highest = highest.max(last);
            from = last + 1;
        }
        if self.mark != Some(highest) {
            self.save_mark(highest).await?;
            self.mark = Some(highest);
        }
        self.looked_at = version;
        Ok(())
    }

    fn load_mark(&self) -> Result<i64, FollowError> {
        let bytes = self.context.store.get_meta(MARK)?;
        Ok(bytes.and_then(|b| b.as_ref().try_into().ok()).map_or(0, i64::from_be_bytes))
    }

    async fn save_mark(&self, mark: i64) -> Result<(), FollowError> {
        let store = self.context.store.clone();
        blocking(move || store.put_meta(MARK, &mark.to_be_bytes())).await
    }

    /// Databases and tables that no job ever made.
    async fn read_snapshot(&self, at: Ts) -> Result<(), FollowError> {
        for database in self.reader.databases(at).await? {
            let mut entries = Vec::new();
            let id = database.id;
            self.keep_if_new(&mut entries, database)?;
            let mut from = None;
            loop {
                let (tables, next) = self.reader.tables(id, from, at).await?;
                for table in tables {
                    self.keep_if_new(&mut entries, table)?;
                }
                if !entries.is_empty() {
                    self.store(std::mem::take(&mut entries), self.ledger.complete()).await?;
                }
                from = match next {
                    Some(next) => Some(next),
                    None => break,
                };
            }
        }
        Ok(())
    }

    fn keep_if_new(&self, entries: &mut Vec<SchemaEntry>, object: SchemaObject) -> Result<(), FollowError> {
        let entry = entry_of(&object).map_err(FollowError::Object)?;
        if self.context.store.schema_object(entry.kind, entry.id)?.is_empty() {
            entries.push(entry);
        }
        Ok(())
    }

    /// Tables that diffs up to `settled` name and the jobs of those versions do not carry.
    async fn read_uncovered(
        &self,
        settled: SchemaVersion,
        version: SchemaVersion,
        at: Ts,
    ) -> Result<Vec<SchemaEntry>, FollowError> {
        let mut entries = Vec::new();
        for missing in self.ledger.uncovered(settled, version) {
            // It stands unchanged from its version until the next one that touches it.
            let moment = missing.before.unwrap_or(at);
            let found = self.reader.table(missing.database, missing.table, missing.version, moment).await?;
            let object = found.unwrap_or_else(|| SchemaObject {
                kind: ObjectKind::Table as i32,
                id: missing.table.0,
                schema_version: missing.version.0,
                dropped: true,
                parent_id: missing.database,
                ..SchemaObject::default()
            });
            entries.push(entry_of(&object).map_err(FollowError::Object)?);
        }
        Ok(entries)
    }

    async fn store(&self, entries: Vec<SchemaEntry>, complete: SchemaVersion) -> Result<(), FollowError> {
        let store = self.context.store.clone();
        blocking(move || store.put_schema(entries, complete)).await?;
        self.context.schema.grown(&self.context.store);
        Ok(())
    }
}

fn to_entries(objects: &[SchemaObject]) -> Result<Vec<SchemaEntry>, FollowError> {
    objects.iter().map(|object| entry_of(object).map_err(FollowError::Object)).collect()
}

async fn blocking(
    work: impl FnOnce() -> Result<(), binlog_storage::Error> + Send + 'static,
) -> Result<(), FollowError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| FollowError::Stopped)?.map_err(FollowError::Store)
}
