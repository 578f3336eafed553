//! Pumps to test against, and clients that write as TiDB does.

use std::path::{Path, PathBuf};

use binlog_proto::binlog::pump_client::PumpClient;
use binlog_proto::binlog::{Binlog, BinlogType, Pos, PrewriteValue, PullBinlogReq, WriteBinlogReq};
use binlog_proto::store::store_client::StoreClient;
use binlog_proto::store::{HelloRequest, HelloResponse, TsoRequest};
use binlog_server::{Config, Running};
use bytes::Bytes;
use prost::Message;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;

/// A running pump of an embedded cluster in a directory of its own.
pub(crate) struct TestPump {
    pub(crate) addr: String,
    pub(crate) client: Client,
    pub(crate) running: JoinHandle<Result<(), binlog_server::Error>>,
    stop: oneshot::Sender<()>,
    pub(crate) root: Root,
}

/// The directory of a pump and its cluster; outlives restarts.
pub(crate) struct Root(pub(crate) TempDir);

impl Root {
    pub(crate) fn new() -> Self {
        Root(tempfile::tempdir().unwrap())
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.0.path().join("pump")
    }

    pub(crate) fn cluster_dir(&self) -> PathBuf {
        self.0.path().join("cluster")
    }
}

/// Settings for tests: a free port, no guard of the disk.
pub(crate) fn config(root: &Root) -> Config {
    let mut config = Config {
        addr: "127.0.0.1:0".to_owned(),
        node_id: "pump-1".to_owned(),
        cluster_dir: text(&root.cluster_dir()),
        data_dir: root.data_dir(),
        service_threads: 2,
        gen_binlog_interval: 1,
        ..Config::default()
    };
    config.storage.stop_write_at_available_space = binlog_types::ByteSize(0);
    config
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

impl TestPump {
    pub(crate) async fn start() -> Self {
        let root = Root::new();
        let config = config(&root);
        Self::start_with(root, config).await
    }

    pub(crate) async fn start_with(root: Root, config: Config) -> Self {
        let pump: Running = binlog_server::start(config).await.unwrap();
        let addr = pump.addr().to_string();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(pump.until(async {
            let _ = stopped.await;
        }));
        let client = Client::connect(&addr).await;
        TestPump { addr, client, running, stop, root }
    }

    /// Stops it as a signal does; the directory stays.
    pub(crate) async fn stop(self) -> Root {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
        self.root
    }

    pub(crate) async fn restart(self) -> Self {
        let root = self.stop().await;
        let config = config(&root);
        Self::start_with(root, config).await
    }
}

/// Both services of one pump.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) pump: PumpClient<Channel>,
    pub(crate) store: StoreClient<Channel>,
    pub(crate) hello: HelloResponse,
}

impl Client {
    pub(crate) async fn connect(addr: &str) -> Self {
        Self::over(Channel::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap()).await
    }

    pub(crate) async fn over(channel: Channel) -> Self {
        let mut store = StoreClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        let hello = store.hello(HelloRequest { cluster_id: 0 }).await.unwrap().into_inner();
        let pump = PumpClient::new(channel).max_decoding_message_size(usize::MAX);
        Client { pump, store, hello }
    }

    pub(crate) async fn ts(&mut self) -> i64 {
        let request = TsoRequest { cluster_id: self.hello.cluster_id, count: 1 };
        i64::try_from(self.store.tso(request).await.unwrap().into_inner().last).unwrap()
    }

    pub(crate) async fn write(&mut self, payload: impl Into<Bytes>) -> Result<(), Status> {
        let request = WriteBinlogReq { cluster_id: self.hello.cluster_id, payload: payload.into() };
        let response = self.pump.write_binlog(request).await?.into_inner();
        assert_eq!(response.errmsg, "");
        Ok(())
    }

    pub(crate) async fn send(&mut self, binlog: &Binlog) -> Result<(), Status> {
        self.write(binlog.encode_to_vec()).await
    }

    /// A whole transaction; gives its commit_ts and what a drainer must get.
    pub(crate) async fn transaction(&mut self, table: i64, bytes: usize) -> (i64, Bytes) {
        let p = prewrite(self.ts().await, table, bytes);
        self.send(&p).await.unwrap();
        let c = commit(&p, self.ts().await);
        self.send(&c).await.unwrap();
        (c.commit_ts, joined(&p, &c))
    }

    /// Entities after `after` until one is at or above `through`, without fakes.
    pub(crate) async fn pull(&mut self, after: i64, through: i64) -> Vec<Bytes> {
        let start_from = Some(Pos { suffix: 0, offset: after });
        let request = PullBinlogReq { cluster_id: self.hello.cluster_id, start_from };
        let mut stream = self.pump.pull_binlogs(request).await.unwrap().into_inner();
        let (mut payloads, mut last) = (Vec::new(), after);
        while last < through {
            let entity = stream.message().await.unwrap().expect("the stream ends").entity.unwrap();
            let meta = entity.meta.unwrap();
            assert!(meta.commit_ts > last, "{} after {last}", meta.commit_ts);
            last = meta.commit_ts;
            if meta.start_ts != meta.commit_ts {
                payloads.push(entity.payload);
            }
        }
        payloads
    }
}

/// A prewrite of one table with a row of `bytes` bytes.
pub(crate) fn prewrite(start_ts: i64, table: i64, bytes: usize) -> Binlog {
    let mutation = binlog_proto::binlog::TableMutation {
        table_id: table,
        inserted_rows: vec![vec![b'x'; bytes].into()],
        ..Default::default()
    };
    let value = PrewriteValue { schema_version: 3, mutations: vec![mutation] };
    Binlog {
        tp: BinlogType::Prewrite as i32,
        start_ts,
        prewrite_key: Some(format!("key-{start_ts}").into()),
        prewrite_value: Some(value.encode_to_vec().into()),
        ..Binlog::default()
    }
}

/// The commit that TiDB sends: the prewrite without its value.
pub(crate) fn commit(prewrite: &Binlog, commit_ts: i64) -> Binlog {
    Binlog { tp: BinlogType::Commit as i32, commit_ts, prewrite_value: None, ..prewrite.clone() }
}

pub(crate) fn rollback(prewrite: &Binlog) -> Binlog {
    Binlog { tp: BinlogType::Rollback as i32, ..commit(prewrite, 0) }
}

/// What a drainer gets for the two.
pub(crate) fn joined(prewrite: &Binlog, commit: &Binlog) -> Bytes {
    Binlog { prewrite_value: prewrite.prewrite_value.clone(), ..commit.clone() }.encode_to_vec().into()
}
