//! A source that never rests: random transactions and random DDL, written to the pumps of a cluster without TiDB as TiDB would write
//! them, and beside them the rows that a replica must hold. The seed decides all content.
//!
//! ```text
//! Source ── step, truth
//!   ├─ tables    live tables: columns, indexes, rows
//!   ├─ values    random values by type
//!   ├─ changes   random changes of rows
//!   ├─ ddl       random changes of the schema
//!   └─ wire      timestamps, schema objects, prewrite and commit binlogs
//! ```

mod changes;
mod ddl;
mod tables;
mod values;
mod wire;

use std::collections::BTreeMap;
use std::path::Path;

use binlog_catalog::encode::{Mutation, prewrite_value};
use binlog_catalog::{Database, Index, Table};
use binlog_testkit::Truth;
use binlog_types::{SchemaVersion, TableId};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use tables::Live;
use wire::Wire;

/// Transactions that are under way at once.
const TOGETHER: usize = 16;

/// Databases, tables, and the way to the pumps.
#[derive(Debug)]
pub struct Source {
    rng: SmallRng,
    wire: Wire,
    databases: Vec<Database>,
    tables: Vec<Live>,
    version: SchemaVersion,
    next_id: i64,
    next_name: u64,
    last_commit: u64,
    /// Committed so far.
    transactions: u64,
    ddls: u64,
}

/// A change of the schema, as a job of TiDB carries it.
struct Job<'a> {
    kind: u8,
    /// The database, of the result.
    database: &'a Database,
    makes_database: bool,
    /// The table, of the result.
    table: Option<&'a Table>,
    /// Of the table before.
    table_id: TableId,
    query: String,
    /// It was done; else it was rolled back.
    done: bool,
    /// Of the session's time zone, in seconds east of UTC.
    offset: i32,
}

impl Source {
    /// Connects to the pumps of the cluster directory, all of which must be online.
    ///
    /// # Errors
    /// When there are none, or one of them does not answer.
    pub async fn connect(cluster: &Path, seed: u64) -> anyhow::Result<Self> {
        Ok(Source {
            rng: SmallRng::seed_from_u64(seed),
            wire: Wire::connect(cluster).await?,
            databases: Vec::new(),
            tables: Vec::new(),
            version: SchemaVersion(0),
            next_id: 100,
            next_name: 0,
            last_commit: 0,
            transactions: 0,
            ddls: 0,
        })
    }

    /// The next thing that happens: a DDL, or some transactions.
    ///
    /// # Errors
    /// When a pump refuses a binlog.
    pub async fn step(&mut self) -> anyhow::Result<()> {
        if self.tables.len() < 3 || self.rng.random_range(0..100) < 12 {
            self.change_schema().await
        } else {
            let count = self.rng.random_range(1..=TOGETHER);
            self.transact(count).await
        }
    }

    /// commit_ts of the last thing that happened.
    pub fn last_commit(&self) -> u64 {
        self.last_commit
    }

    /// Transactions and DDLs so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.transactions, self.ddls)
    }

    /// What a replica must hold.
    pub fn truth(&self) -> Truth {
        let mut truth = Truth::default();
        for live in &self.tables {
            truth.tables.insert((live.database.clone(), live.table.name.clone()), live.truth());
        }
        truth
    }

    fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    fn name(&mut self, prefix: &str) -> String {
        self.next_name += 1;
        format!("{prefix}{}", self.next_name)
    }

    /// `count` transactions: their prewrites arrive in any order, and so do their commits.
    async fn transact(&mut self, count: usize) -> anyhow::Result<()> {
        let mut prewrites = Vec::with_capacity(count);
        for _ in 0..count {
            let mut mutations: BTreeMap<usize, Vec<Mutation>> = BTreeMap::new();
            let mut oldest = SchemaVersion(0);
            for _ in 0..self.rng.random_range(1..4usize) {
                let at = self.rng.random_range(0..self.tables.len());
                let Some(live) = self.tables.get_mut(at) else { continue };
                oldest = oldest.max(live.table.version);
                changes::change(live, &mut self.rng, mutations.entry(at).or_default())?;
            }
            mutations.retain(|_, changes| !changes.is_empty());
            if mutations.is_empty() {
                continue;
            }
            let by_id = mutations
                .into_iter()
                .filter_map(|(at, changes)| Some((self.tables.get(at)?.table.id, changes)))
                .collect();
            // A server that has not heard of DDLs on other tables may still write under an older version.
            let version = if self.rng.random_bool(0.3) { oldest } else { self.version };
            prewrites.push(prewrite_value(version, by_id));
        }
        self.transactions += prewrites.len() as u64;
        if let Some(last) = self.wire.transactions(prewrites).await? {
            self.last_commit = last;
        }
        Ok(())
    }

    /// A transaction of rows of one table that are equal to others in these columns.
    async fn repeat_values(&mut self, at: usize, index: &Index) -> anyhow::Result<()> {
        let Some(live) = self.tables.get_mut(at) else { return Ok(()) };
        let mut mutations = Vec::new();
        changes::repeat_values(live, &mut self.rng, index, &mut mutations)?;
        if mutations.is_empty() {
            return Ok(());
        }
        let value = prewrite_value(self.version, vec![(live.table.id, mutations)]);
        self.transactions += 1;
        if let Some(last) = self.wire.transactions(vec![value]).await? {
            self.last_commit = last;
        }
        Ok(())
    }

    /// Runs a job on a database.
    async fn run_on_database(&mut self, database: &Database, kind: u8, query: String) -> anyhow::Result<()> {
        let (table, table_id) = (None, TableId(0));
        let job = Job { kind, database, makes_database: true, table, table_id, query, done: true, offset: 0 };
        self.run(job).await
    }

    async fn run(&mut self, job: Job<'_>) -> anyhow::Result<()> {
        let id = self.id();
        self.last_commit = self.wire.ddl(id, self.version, &job).await?;
        self.ddls += 1;
        Ok(())
    }
}
