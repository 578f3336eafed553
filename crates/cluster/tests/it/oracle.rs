//! The embedded cluster's oracle, over the wire.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use binlog_cluster::{EmbeddedCluster, Error, Oracle};
use binlog_proto::store::store_server::{Store, StoreServer};
use binlog_proto::store::{
    HelloRequest, HelloResponse, PutSchemaRequest, PutSchemaResponse, ScanRequest, ScanResponse,
    SchemaRequest, SchemaResponse, StatsRequest, StatsResponse, TsoRequest, TsoResponse,
};
use binlog_types::NodeId;
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// A pump of which only the oracle works.
#[derive(Clone)]
struct Pump {
    cluster_id: u64,
    last: Arc<AtomicU64>,
    calls: Arc<AtomicU64>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Store for Pump {
    type ScanStream = Answers<ScanResponse>;
    type SchemaStream = Answers<SchemaResponse>;

    async fn tso(&self, request: Request<TsoRequest>) -> Result<Response<TsoResponse>, Status> {
        let request = request.into_inner();
        assert_eq!(request.cluster_id, self.cluster_id);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let count = u64::from(request.count);
        let last = self.last.fetch_add(count, Ordering::Relaxed) + count;
        Ok(Response::new(TsoResponse { last, count: request.count }))
    }

    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        Err(Status::unimplemented("test"))
    }
    async fn scan(&self, _: Request<ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        Err(Status::unimplemented("test"))
    }
    async fn schema(&self, _: Request<SchemaRequest>) -> Result<Response<Self::SchemaStream>, Status> {
        Err(Status::unimplemented("test"))
    }
    async fn stats(&self, _: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        Err(Status::unimplemented("test"))
    }
    async fn put_schema(&self, _: Request<PutSchemaRequest>) -> Result<Response<PutSchemaResponse>, Status> {
        Err(Status::unimplemented("test"))
    }
}

async fn serve(pump: Pump, address: &str) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        Server::builder()
            .add_service(StoreServer::new(pump))
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
            .unwrap();
    });
    (host, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timestamps_come_from_the_pump_that_hosts_the_oracle() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = EmbeddedCluster::open_or_create(dir.path()).unwrap();
    let pump = Pump { cluster_id: cluster.cluster_id().0, last: Arc::default(), calls: Arc::default() };
    let (host, _server) = serve(pump.clone(), "127.0.0.1:0").await;
    let node = NodeId::new("pump:1").unwrap();
    let oracle = Oracle::embedded(&cluster);

    // Asked before there is a host: the first call waits for one.
    let early = tokio::spawn({
        let oracle = oracle.clone();
        async move { oracle.now().await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let seat = cluster.claim_oracle(&node, &host).unwrap().unwrap();
    assert_eq!(early.await.unwrap().unwrap().raw(), 1);

    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let oracle = oracle.clone();
        callers.spawn(async move { oracle.now().await.unwrap() });
    }
    let mut all = callers.join_all().await;
    all.sort();
    assert!(all.iter().map(|ts| ts.raw()).eq(2..=501), "each once");
    assert!(pump.calls.load(Ordering::Relaxed) < 200, "{:?} requests", pump.calls);

    let many = oracle.many(25_000).await.unwrap();
    assert!(many.iter().map(|ts| ts.raw()).eq(502..=25_501));

    // The host moves to another port.
    let (host, _server) = serve(pump, "127.0.0.1:0").await;
    drop(seat);
    let _seat = cluster.claim_oracle(&node, &host).unwrap().unwrap();
    assert_eq!(oracle.now().await.unwrap().raw(), 25_502);
}

#[tokio::test]
async fn without_a_host_the_error_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = EmbeddedCluster::open_or_create(dir.path()).unwrap();
    std::fs::write(dir.path().join("oracle.json"), "{}").unwrap();
    let error = Oracle::embedded(&cluster).now().await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}
