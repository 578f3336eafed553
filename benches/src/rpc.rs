//! What the grpc benchmarks share: clients that write as TiDB does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use binlog_proto::binlog::pump_client::PumpClient;
use binlog_proto::binlog::{Binlog, BinlogType, WriteBinlogReq};
use binlog_proto::store::HelloRequest;
use binlog_proto::store::store_client::StoreClient;
use binlog_types::{ClockHandle, SystemClock, Ts};
use prost::Message as _;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

use crate::latency::Latencies;
use crate::load::{self, Quota};
use crate::options::Options;
use crate::process::Meter;
use crate::report::Report;

/// A server to measure.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) addr: String,
    pub(crate) cluster_id: u64,
    pub(crate) pid: Option<u32>,
}

/// Timestamps a second ahead of the wall clock: above all that an oracle on this machine has given to the pump, as those
/// of a transaction that commits now are.
struct WallOracle {
    clock: ClockHandle,
    last: AtomicU64,
}

impl WallOracle {
    const AHEAD_MILLIS: u64 = 1000;

    fn new() -> Self {
        WallOracle { clock: SystemClock::handle(), last: AtomicU64::new(0) }
    }

    fn next(&self) -> u64 {
        let now = Ts::compose(self.clock.unix_millis() + Self::AHEAD_MILLIS, 0).raw();
        let next = |last: u64| now.max(last + 1);
        let before = self.last.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)));
        next(before.unwrap_or_else(|last| last))
    }
}

/// The clients' own runtime.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// A connection.
pub(crate) async fn connect(addr: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(32 << 20)
        .connect_timeout(Duration::from_secs(10));
    endpoint.connect().await.with_context(|| format!("connect to {addr}"))
}

/// The cluster that the pump at `addr` belongs to; only pumps with our own service say so.
pub(crate) fn cluster_of(addr: &str) -> anyhow::Result<u64> {
    runtime()?.block_on(async {
        let mut client = StoreClient::new(connect(addr).await?);
        let hello = client.hello(HelloRequest { cluster_id: 0 }).await?.into_inner();
        anyhow::ensure!(hello.state == "online", "it is {}", hello.state);
        Ok(hello.cluster_id)
    })
}

/// P and C of each transaction from `--threads` connections, one call after another on each. Returns the report, and the
/// timestamp before the first.
pub(crate) fn write(name: &'static str, options: &Options, target: &Target) -> anyhow::Result<(Report, u64)> {
    runtime()?.block_on(async {
        let oracle = WallOracle::new();
        let begin = oracle.next();
        let oracle = Arc::new(oracle);
        let mut clients = Vec::new();
        for _ in 0..options.writers() {
            clients.push(PumpClient::new(connect(&target.addr).await?));
        }
        let meter = Meter::start(target.pid)?;
        let client_meter = Meter::start(None)?;
        let latencies = Arc::new(Latencies::new());
        let quota = load::quota(options);
        let mut tasks = tokio::task::JoinSet::new();
        for (n, client) in clients.into_iter().enumerate() {
            let writer = Writer {
                client,
                cluster_id: target.cluster_id,
                oracle: Arc::clone(&oracle),
                latencies: Arc::clone(&latencies),
            };
            tasks.spawn(writer.run(options.clone(), n, quota));
        }
        let (mut transactions, mut payload) = (0, 0);
        while let Some(joined) = tasks.join_next().await {
            let (count, bytes) = joined??;
            transactions += count;
            payload += bytes;
        }
        let spent = meter.spent()?;
        let whose = if target.pid.is_some() { "server" } else { "client" };
        let report = Report::new(name, transactions, payload, &spent)
            .with_latency(latencies.summary())
            .with("client cpu us/op", client_meter.spent()?.cpu * 1e6 / transactions.max(1) as f64)
            .with_note(format!(
                "an op is a P and a C call, latencies are of one call; cpu, bytes and memory of the {whose}"
            ));
        Ok((report, begin))
    })
}

struct Writer {
    client: PumpClient<Channel>,
    cluster_id: u64,
    oracle: Arc<WallOracle>,
    latencies: Arc<Latencies>,
}

impl Writer {
    async fn run(mut self, options: Options, number: usize, mut quota: Quota) -> anyhow::Result<(u64, u64)> {
        let mut payloads = load::payloads(&options, number);
        let latencies = Arc::clone(&self.latencies);
        let mut recorder = latencies.recorder();
        let (mut transactions, mut bytes) = (0, 0);
        while quota.next() {
            let prewrite = payloads.prewrite(self.oracle.next());
            let commit = Binlog { tp: BinlogType::Commit as i32, prewrite_value: None, ..prewrite.clone() };
            let payload = prewrite.encode_to_vec();
            bytes += payload.len() as u64;
            let begun = Instant::now();
            self.call(payload).await?;
            recorder.ended(begun);
            let commit = Binlog { commit_ts: self.oracle.next().cast_signed(), ..commit }.encode_to_vec();
            let begun = Instant::now();
            self.call(commit).await?;
            recorder.ended(begun);
            transactions += 1;
        }
        Ok((transactions, bytes))
    }

    async fn call(&mut self, payload: Vec<u8>) -> anyhow::Result<()> {
        let request = WriteBinlogReq { cluster_id: self.cluster_id, payload: payload.into() };
        let response = self.client.write_binlog(request).await?.into_inner();
        anyhow::ensure!(response.errmsg.is_empty(), "the pump refused a binlog: {}", response.errmsg);
        Ok(())
    }
}
