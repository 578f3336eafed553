//! A pump's range service over a list of records in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use binlog_proto::status_with;
use binlog_proto::store::error_detail::Kind;
use binlog_proto::store::store_server::{Store, StoreServer};
use binlog_proto::store::*;
use binlog_pull::Member;
use binlog_types::NodeId;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status};

/// What the fake serves; changes are seen by running scans after [`Pump::set_watermark`].
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) records: BTreeMap<u64, (u64, Vec<u8>)>,
    pub(crate) uuid: u8,
    pub(crate) incarnation: u64,
    pub(crate) safe_point: u64,
    /// The schema history, complete up to the version.
    pub(crate) schema: Vec<SchemaObject>,
    pub(crate) complete: i64,
    /// (after, through]: reported to whoever has not accepted it.
    pub(crate) gap: Option<(u64, u64)>,
    /// Bytes of payload in one fragment.
    pub(crate) fragment: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Pump {
    pub(crate) state: Arc<Mutex<State>>,
    watermark: watch::Sender<u64>,
    pub(crate) addr: SocketAddr,
    name: String,
    server: Arc<Mutex<Option<tokio::task::JoinHandle<()>>>>,
}

impl Pump {
    /// A running pump; free port.
    pub(crate) async fn start(name: &str) -> Self {
        let state = State { uuid: 1, incarnation: 1, fragment: 1 << 20, ..State::default() };
        let pump = Pump {
            state: Arc::new(Mutex::new(state)),
            watermark: watch::Sender::new(0),
            addr: "127.0.0.1:0".parse().unwrap(),
            name: name.to_owned(),
            server: Arc::default(),
        };
        pump.up().await
    }

    /// Starts serving (again, at the same port).
    pub(crate) async fn up(mut self) -> Self {
        let listener = loop {
            match TcpListener::bind(self.addr).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.addr = listener.local_addr().unwrap();
        let service = StoreServer::new(self.clone());
        let serve = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        *self.server.lock() = Some(tokio::spawn(async move { serve.await.unwrap() }));
        self
    }

    /// Breaks all connections.
    pub(crate) async fn down(&self) {
        let task = self.server.lock().take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
        // Connections live in tasks of their own, which end with their scans.
        self.state.lock().incarnation += 1;
        self.watermark.send_modify(|_| {});
    }

    pub(crate) fn member(&self) -> Member {
        Member { id: NodeId::new(&self.name).unwrap(), host: self.addr.to_string() }
    }

    pub(crate) fn add(&self, commits: impl IntoIterator<Item = u64>) {
        for commit in commits {
            self.add_sized(commit, 8);
        }
    }

    pub(crate) fn add_sized(&self, commit: u64, size: usize) {
        let mut payload = format!("payload of {commit} ").into_bytes();
        payload.resize(size.max(payload.len()), b'.');
        self.state.lock().records.insert(commit, (commit - 1, payload));
    }

    pub(crate) fn set_watermark(&self, to: u64) {
        self.watermark.send_replace(to);
    }

    fn has(&self, request: &SchemaRequest) -> bool {
        self.has_in(&self.state.lock(), request)
    }

    fn has_in(&self, state: &State, request: &SchemaRequest) -> bool {
        let job = request.need_job == 0
            || state.schema.iter().any(|o| o.schema_version <= state.complete && is_job(o, request.need_job));
        job && state.complete >= request.need_version
    }

    fn batch(&self, after: u64, through: u64) -> Vec<Fragment> {
        let state = self.state.lock();
        let mut out = Vec::new();
        if through <= after {
            return out;
        }
        for (commit_ts, (start_ts, payload)) in state.records.range(after + 1..=through) {
            let pieces: Vec<&[u8]> = payload.chunks(state.fragment).collect();
            for (sequence, piece) in pieces.iter().enumerate() {
                out.push(Fragment {
                    commit_ts: *commit_ts,
                    start_ts: *start_ts,
                    sequence: sequence as u32,
                    last: sequence + 1 == pieces.len(),
                    payload: piece.to_vec().into(),
                    ..Fragment::default()
                });
            }
        }
        out
    }
}

fn is_job(object: &SchemaObject, id: i64) -> bool {
    object.kind == ObjectKind::Job as i32 && object.id == id
}

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Store for Pump {
    type ScanStream = Out<ScanResponse>;
    type SchemaStream = Out<SchemaResponse>;

    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        let requested = request.into_inner().cluster_id;
        if requested != 0 && requested != 7 {
            return Err(status_with(
                Code::FailedPrecondition,
                "wrong cluster",
                Kind::WrongCluster(WrongCluster { requested, own: 7 }),
            ));
        }
        let state = self.state.lock();
        Ok(Response::new(HelloResponse {
            cluster_id: 7,
            node_id: self.name.clone(),
            store_uuid: vec![state.uuid; 16].into(),
            incarnation: state.incarnation,
            protocol: 1,
            watermark: *self.watermark.borrow(),
            safe_point: state.safe_point,
            ..HelloResponse::default()
        }))
    }

    async fn scan(&self, request: Request<ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        let request = request.into_inner();
        let (safe_point, incarnation, gap) = {
            let state = self.state.lock();
            (state.safe_point, state.incarnation, state.gap)
        };
        let gap = gap.filter(|(after, through)| {
            *through > request.after
                && !request.accepted_gaps.iter().any(|g| (g.after, g.through) == (*after, *through))
        });
        if request.after < safe_point {
            return Err(status_with(Code::OutOfRange, "purged", Kind::Purged(Purged { safe_point })));
        }
        let (tx, rx) = tokio::sync::mpsc::channel(2);
        let (pump, mut watermark) = (self.clone(), self.watermark.subscribe());
        tokio::spawn(async move {
            let mut after = request.after;
            loop {
                let through = if request.follow { *watermark.borrow_and_update() } else { request.through };
                let gap = gap.filter(|(after, _)| *after < through);
                let through = gap.map_or(through, |(begin, _)| begin.max(after));
                // One message a record, so that a break can fall anywhere.
                let mut pending: Vec<Fragment> = Vec::new();
                for fragment in pump.batch(after, through) {
                    let (last, commit) = (fragment.last, fragment.commit_ts);
                    pending.push(fragment);
                    let complete_through = if last { commit } else { after };
                    after = complete_through;
                    let fragments = std::mem::take(&mut pending);
                    let part = ScanResponse { fragments, complete_through, end: false };
                    if tx.send(Ok(part)).await.is_err() {
                        return;
                    }
                }
                after = after.max(through);
                if let Some((after, through)) = gap {
                    let detail = Kind::Gap(GapInfo { after, through, reason: "lost outcome".to_owned() });
                    let _ = tx.send(Err(status_with(Code::DataLoss, "missing", detail))).await;
                    return;
                }
                let done = ScanResponse { fragments: vec![], complete_through: after, end: !request.follow };
                if tx.send(Ok(done)).await.is_err() || !request.follow || watermark.changed().await.is_err() {
                    return;
                }
                if pump.state.lock().incarnation != incarnation {
                    let _ = tx.send(Err(Status::unavailable("going down"))).await;
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }

    async fn schema(&self, request: Request<SchemaRequest>) -> Result<Response<Self::SchemaStream>, Status> {
        let request = request.into_inner();
        for _ in 0..request.wait_millis / 10 {
            if self.has(&request) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let state = self.state.lock();
        if !self.has_in(&state, &request) {
            let known_version = state.complete;
            return Err(status_with(
                Code::Unavailable,
                "",
                Kind::SchemaNotYet(SchemaNotYet { known_version }),
            ));
        }
        let visible = state.schema.iter().filter(|o| o.schema_version <= state.complete);
        let objects = visible
            .filter(|o| o.schema_version > request.after_version || is_job(o, request.need_job))
            .cloned()
            .collect();
        let part = SchemaResponse { objects, complete_version: state.complete, steps: Vec::new() };
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(part)))))
    }

    async fn stats(&self, _: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        Ok(Response::new(StatsResponse { watermark: *self.watermark.borrow(), ..StatsResponse::default() }))
    }

    async fn put_schema(&self, _: Request<PutSchemaRequest>) -> Result<Response<PutSchemaResponse>, Status> {
        Ok(Response::new(PutSchemaResponse {}))
    }

    async fn tso(&self, request: Request<TsoRequest>) -> Result<Response<TsoResponse>, Status> {
        let count = request.into_inner().count.max(1);
        Ok(Response::new(TsoResponse { last: u64::from(count), count }))
    }
}
