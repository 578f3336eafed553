//! A pump that writes down what it is given, with the oracle in it.

use std::sync::{Arc, Mutex};

use binlog_proto::binlog::pump_server::{Pump, PumpServer};
use binlog_proto::binlog::{Binlog, PullBinlogReq, PullBinlogResp, WriteBinlogReq, WriteBinlogResp};
use binlog_proto::store::store_server::{Store, StoreServer};
use binlog_proto::store::*;
use binlog_types::ClusterId;
use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

#[derive(Default)]
struct State {
    writes: Vec<Binlog>,
    objects: Vec<SchemaObject>,
    complete: i64,
    now: u64,
    refusal: Option<String>,
}

#[derive(Clone)]
pub(crate) struct FakePump {
    pub(crate) host: String,
    cluster: ClusterId,
    state: Arc<Mutex<State>>,
}

impl FakePump {
    pub(crate) async fn start(cluster: ClusterId) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let pump = FakePump { host, cluster, state: Arc::default() };
        let server = tonic::transport::Server::builder()
            .add_service(PumpServer::new(pump.clone()))
            .add_service(StoreServer::new(pump.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        pump
    }

    pub(crate) fn writes(&self) -> Vec<Binlog> {
        self.state.lock().unwrap().writes.clone()
    }

    pub(crate) fn schema(&self) -> (Vec<SchemaObject>, i64) {
        let state = self.state.lock().unwrap();
        (state.objects.clone(), state.complete)
    }

    pub(crate) fn refuse(&self, why: &str) {
        self.state.lock().unwrap().refusal = Some(why.to_owned());
    }
}

#[tonic::async_trait]
impl Pump for FakePump {
    type PullBinlogsStream = tokio_stream::Empty<Result<PullBinlogResp, Status>>;

    async fn write_binlog(
        &self,
        request: Request<WriteBinlogReq>,
    ) -> Result<Response<WriteBinlogResp>, Status> {
        let request = request.into_inner();
        assert_eq!(request.cluster_id, self.cluster.0);
        let mut state = self.state.lock().unwrap();
        if let Some(why) = &state.refusal {
            return Err(Status::unknown(why.clone()));
        }
        state.writes.push(Binlog::decode(request.payload).unwrap());
        Ok(Response::new(WriteBinlogResp::default()))
    }

    async fn pull_binlogs(
        &self,
        _: Request<PullBinlogReq>,
    ) -> Result<Response<Self::PullBinlogsStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

#[tonic::async_trait]
impl Store for FakePump {
    type ScanStream = tokio_stream::Empty<Result<ScanResponse, Status>>;
    type SchemaStream = tokio_stream::Empty<Result<SchemaResponse, Status>>;

    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        Ok(Response::new(HelloResponse { cluster_id: self.cluster.0, ..HelloResponse::default() }))
    }

    async fn scan(&self, _: Request<ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn schema(&self, _: Request<SchemaRequest>) -> Result<Response<Self::SchemaStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn stats(&self, _: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        let schema_version = self.state.lock().unwrap().complete;
        Ok(Response::new(StatsResponse { schema_version, ..StatsResponse::default() }))
    }

    async fn put_schema(
        &self,
        request: Request<PutSchemaRequest>,
    ) -> Result<Response<PutSchemaResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.state.lock().unwrap();
        state.objects.extend(request.objects);
        state.complete = request.complete_version;
        Ok(Response::new(PutSchemaResponse {}))
    }

    async fn tso(&self, request: Request<TsoRequest>) -> Result<Response<TsoResponse>, Status> {
        let count = request.into_inner().count.max(1);
        let mut state = self.state.lock().unwrap();
        state.now = state.now.max(1_000 << 18) + u64::from(count);
        Ok(Response::new(TsoResponse { last: state.now, count }))
    }
}
