//! Two pumps, a cluster directory and a downstream file.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use binlog_cluster::EmbeddedCluster;
use binlog_drainer::{Config, Drainer, Error};
use binlog_server::Running;
use binlog_types::CommitTs;
use binlog_workload::{RowHasher, Snapshot, TableDigest};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A directory for everything; outlives restarts.
pub(crate) struct Site {
    dir: TempDir,
}

/// A drainer in this process.
pub(crate) struct Stopper {
    pub(crate) addr: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

impl Stopper {
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap().unwrap();
    }

    /// As a crash: nothing is saved, nobody is told.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) async fn ends(self) -> Result<(), Error> {
        tokio::time::timeout(Duration::from_secs(20), self.task).await.expect("it goes on").unwrap()
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        Site { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn cluster(&self) -> EmbeddedCluster {
        EmbeddedCluster::open_or_create(&self.path("cluster")).unwrap()
    }

    pub(crate) async fn pump(&self, name: &str) -> Running {
        let mut config = binlog_server::Config {
            addr: "127.0.0.1:0".to_owned(),
            node_id: name.to_owned(),
            cluster_dir: self.text("cluster"),
            data_dir: self.path(name),
            service_threads: 1,
            ..binlog_server::Config::default()
        };
        config.storage.stop_write_at_available_space = binlog_types::ByteSize(0);
        binlog_server::start(config).await.unwrap()
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config {
            addr: "127.0.0.1:0".to_owned(),
            node_id: "drainer-1".to_owned(),
            cluster_dir: self.text("cluster"),
            data_dir: self.text("drainer"),
            detect_interval: 1,
            initial_commit_ts: 0,
            ..Config::default()
        };
        config.syncer.db_type = "sqlite".to_owned();
        config.syncer.to.path = self.text("down.db");
        config
    }

    pub(crate) async fn drainer(&self) -> Stopper {
        self.run(self.config()).await
    }

    pub(crate) async fn run(&self, config: Config) -> Stopper {
        let drainer = Drainer::start(config).await.unwrap();
        let addr = drainer.addr().to_string();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(drainer.until(async {
            let _ = stopped.await;
        }));
        Stopper { addr, stop, task }
    }

    /// The checkpoint as the drainer published it.
    pub(crate) async fn checkpoint(&self) -> CommitTs {
        let drainers = self.cluster().registry().list(binlog_cluster::NodeKind::Drainer).await.unwrap();
        CommitTs::new(drainers.first().map_or(0, |d| d.max_commit_ts as u64))
    }

    /// Waits until the downstream has everything of the snapshot, and compares.
    pub(crate) async fn expect(&self, snapshot: &Snapshot) {
        let start = Instant::now();
        while self.checkpoint().await.ts() < snapshot.ts {
            assert!(start.elapsed() < Duration::from_secs(40), "the drainer does not reach {}", snapshot.ts);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for (name, expected) in &snapshot.tables {
            let found = self.digest(name).await;
            assert_eq!((found.rows, found), (expected.rows, *expected), "{name}");
        }
    }

    pub(crate) async fn digest(&self, name: &str) -> TableDigest {
        let options = SqliteConnectOptions::new().filename(self.path("down.db")).read_only(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let sql = format!("SELECT name FROM pragma_table_info('{name}') ORDER BY cid");
        let columns = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        assert!(!columns.is_empty(), "no table {name}");
        let list: Vec<String> =
            columns.iter().map(|c| format!("CAST(\"{}\" AS TEXT)", c.get::<String, _>(0))).collect();
        let sql = format!("SELECT {} FROM \"{name}\"", list.join(","));
        let mut digest = TableDigest::default();
        for row in sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap() {
            let mut hasher = RowHasher::new();
            for at in 0..list.len() {
                let text: Option<String> = row.get(at);
                hasher.column(text.as_deref().map(str::as_bytes));
            }
            digest.add(hasher);
        }
        digest
    }
}
