//! Random work and random DDL end in the same rows downstream, whatever happens to drainer and database on the way.
//!
//! `BINLOG_SEED` replays the content and what happens; `BINLOG_UPHEAVAL_SECONDS` says how long it lasts.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use binlog_cluster::{EmbeddedCluster, NodeKind, NodeState};
use binlog_e2e::{Source, checkpoint, program};
use binlog_testkit::{Comparison, Mariadb, Process, Truth, assert_same, free_port, wait_until};
use binlog_workload::{Limit, Options, RowHasher, TableDigest, Workload};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;

use crate::sqlite;
use crate::support::file_checkpoint;

const START: Duration = Duration::from_secs(60);
/// Zones that a server may be set to; some of no whole hours.
const ZONES: [&str; 5] = ["+05:45", "-08:00", "+13:00", "-03:30", "SYSTEM"];

/// Where the drainer writes.
enum Downstream {
    Server(Box<Mariadb>),
    File(PathBuf),
}

impl Downstream {
    fn checkpoint(&self) -> Option<u64> {
        match self {
            Downstream::Server(server) => checkpoint(server),
            Downstream::File(file) => file_checkpoint(file),
        }
    }

    /// All tables but the drainer's own.
    async fn contents(&self) -> Truth {
        match self {
            Downstream::Server(server) => server.dump_all().unwrap(),
            Downstream::File(file) => sqlite::contents(file).await,
        }
    }
}

/// Two pumps in a cluster directory, a drainer, a database.
struct Site {
    folder: TempDir,
    rng: SmallRng,
    downstream: Downstream,
    drainer: Process,
    pumps: Vec<Process>,
    kills: usize,
}

fn seed() -> u64 {
    let seed = std::env::var("BINLOG_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("to replay: BINLOG_SEED={seed}");
    seed
}

fn lasts() -> Duration {
    let seconds = std::env::var("BINLOG_UPHEAVAL_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    Duration::from_secs(seconds)
}

impl Site {
    /// Into a server of some time zone.
    fn start(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0x51_7e);
        let zone = ZONES.choose(&mut rng).unwrap();
        println!("the server's zone is {zone}");
        let server = Mariadb::start_with(&[&format!("--default-time-zone={zone}")]).unwrap();
        Self::start_into(Downstream::Server(Box::new(server)), tempfile::tempdir().unwrap(), rng)
    }

    /// Into a file.
    fn start_file(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("copy.db");
        Self::start_into(Downstream::File(file), folder, SmallRng::seed_from_u64(seed ^ 0x51_7e))
    }

    fn start_into(downstream: Downstream, folder: TempDir, mut rng: SmallRng) -> Self {
        EmbeddedCluster::open_or_create(&folder.path().join("cluster")).unwrap();
        let mut pumps = Vec::new();
        for number in 0..2 {
            let port = free_port();
            let args = [
                format!("-addr=127.0.0.1:{port}"),
                format!("-cluster-dir={}", folder.path().join("cluster").display()),
                format!("-data-dir={}", folder.path().join(format!("pump{number}")).display()),
                format!("-node-id=pump{number}"),
                "-fake-binlog-interval=1".to_owned(),
            ];
            let mut pump = Process::start(program("pump"), args).unwrap();
            pump.wait_for_port(port, START).unwrap();
            pumps.push(pump);
        }
        let workers = rng.random_range(2..=16);
        let batch = *[1, 20, 300].choose(&mut rng).unwrap();
        println!("{workers} connections; {batch} rows a statement");
        let (kind, to) = match &downstream {
            Downstream::Server(server) => (
                "mysql",
                format!("host = \"127.0.0.1\"\nport = {}\nuser = \"root\"\npassword = \"\"", server.port()),
            ),
            Downstream::File(file) => ("sqlite", format!("path = \"{}\"", file.display())),
        };
        let syncer = format!("db-type = \"{kind}\"\nworker-count = {workers}\ntxn-batch = {batch}");
        let config = format!("[syncer]\n{syncer}\n[syncer.to]\n{to}\n");
        fs::write(folder.path().join("drainer.toml"), config).unwrap();
        let drainer = start_drainer(&folder);
        Site { folder, rng, downstream, drainer, pumps, kills: 0 }
    }

    /// A pump listens before it is online.
    async fn pumps_are_online(&self) {
        let registry = EmbeddedCluster::open(&self.cluster()).unwrap().registry();
        let begun = Instant::now();
        loop {
            let pumps = registry.list(NodeKind::Pump).await.unwrap();
            if pumps.iter().filter(|pump| pump.state == NodeState::Online).count() == self.pumps.len() {
                return;
            }
            assert!(begun.elapsed() < START, "{pumps:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn cluster(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    /// Kills and restarts until `done`.
    fn rage(mut self, done: &AtomicBool) -> Self {
        while !done.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(self.rng.random_range(50..1500)));
            assert!(self.drainer.is_running(), "the drainer ended by itself:\n{}", self.drainer.output());
            let (drainer, server) = match self.rng.random_range(0..10) {
                0..6 => (true, false),
                6..8 => (false, true),
                _ => (true, true),
            };
            if drainer {
                self.drainer.kill9();
            }
            if let (Downstream::Server(database), true) = (&mut self.downstream, server) {
                database.restart().unwrap();
            }
            if drainer {
                self.drainer = start_drainer(&self.folder);
            }
            self.kills += 1;
        }
        self
    }

    /// Waits until the downstream has everything.
    fn settle(&mut self, commit_ts: u64) {
        let begun = Instant::now();
        let mut last = 0;
        let reached = wait_until(Duration::from_secs(240), || {
            last = self.downstream.checkpoint().unwrap_or(last);
            last >= commit_ts || !self.drainer.is_running()
        });
        assert!(self.drainer.is_running(), "the drainer ended by itself:\n{}", self.drainer.output());
        assert!(reached, "the checkpoint stopped at {last}, before {commit_ts}:\n{}", self.drainer.output());
        println!("{} kills; the rest took {:?}", self.kills, begun.elapsed());
    }
}

fn start_drainer(folder: &TempDir) -> Process {
    let args = [
        "-addr=127.0.0.1:0".to_owned(),
        format!("-cluster-dir={}", folder.path().join("cluster").display()),
        format!("-data-dir={}", folder.path().join("drainer").display()),
        "-node-id=drainer".to_owned(),
        "-initial-commit-ts=0".to_owned(),
        "-detect-interval=1".to_owned(),
        format!("-config={}", folder.path().join("drainer.toml").display()),
    ];
    let mut process = Process::start(program("drainer"), args).unwrap();
    process.wait_for_output("drainer starts", START).unwrap();
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_rows_and_ddl_converge() {
    let seed = seed();
    converges(Site::start(seed), seed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_rows_and_ddl_converge_in_a_file() {
    let seed = seed();
    converges(Site::start_file(seed), seed).await;
}

async fn converges(site: Site, seed: u64) {
    site.pumps_are_online().await;
    let mut source = Source::connect(&site.cluster(), seed).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&done);
    let raging = thread::spawn(move || site.rage(&told));
    let begun = Instant::now();
    while begun.elapsed() < lasts() && !raging.is_finished() {
        source.step().await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let mut site = raging.join().unwrap();
    let (transactions, ddls) = source.counts();
    println!("{transactions} transactions, {ddls} DDLs");
    site.settle(source.last_commit());
    assert_same(&source.truth(), &site.downstream.contents().await, &Comparison::exact());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_keeps_its_money() {
    let seed = seed();
    let site = Site::start(seed);
    site.pumps_are_online().await;
    let cluster = EmbeddedCluster::open(&site.cluster()).unwrap();
    let options = Options { seed, accounts: 40, ..Options::default() };
    let mut bank = Workload::connect(&cluster, options).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&done);
    let raging = thread::spawn(move || site.rage(&told));
    bank.create_schema().await.unwrap();
    let worked = bank.run(6, Limit::Time(lasts()), |_| ()).await.unwrap();
    done.store(true, Ordering::SeqCst);
    let mut site = raging.join().unwrap();
    println!("{worked:?}");
    let snapshot = bank.snapshot().await.unwrap();
    site.settle(snapshot.ts.raw());
    let found = site.downstream.contents().await;
    assert_eq!(found.tables.len(), snapshot.tables.len());
    for ((schema, table), contents) in found.tables {
        let mut digest = TableDigest::default();
        for row in contents.rows {
            let mut hasher = RowHasher::new();
            row.iter().for_each(|value| hasher.column(value.as_deref()));
            digest.add(hasher);
        }
        let expected = snapshot.tables[&format!("{schema}.{table}")];
        assert_eq!((digest.rows, digest), (expected.rows, expected), "{schema}.{table}");
    }
    let Downstream::Server(server) = &site.downstream else { unreachable!() };
    let money = server.sql("SELECT CAST(SUM(balance) * 100 AS SIGNED) FROM bank.accounts").unwrap();
    assert_eq!(money.trim().parse::<i64>().unwrap(), bank.expected_cents());
}
