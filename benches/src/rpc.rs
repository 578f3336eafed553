//! What the grpc benchmarks share: clients that write as TiDB does.

use std::collections::BTreeMap;
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
use crate::process::{Meter, Spent};
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

/// What writers over gRPC did, and what the server used until the last answer.
pub(crate) struct Calls {
    /// The timestamp before the first.
    pub(crate) begin: u64,
    /// Watches the server, or this process where the server's is not known.
    pub(crate) meter: Meter,
    /// Until the last answer.
    pub(crate) spent: Spent,
    transactions: u64,
    payload: u64,
    client_cpu: f64,
    by_thread: BTreeMap<String, f64>,
    latencies: Arc<Latencies>,
    known: bool,
}

impl Calls {
    /// The report, with what the server used in the end, if it was watched for longer.
    pub(crate) fn report(self, name: &'static str, in_the_end: Option<Spent>) -> Report {
        let per_op = |seconds: f64| seconds * 1e6 / self.transactions.max(1) as f64;
        let settled = in_the_end.is_some();
        // Time and memory are those of the calls.
        let spent = in_the_end.map_or(self.spent, |end| Spent {
            elapsed: self.spent.elapsed,
            peak: self.spent.peak,
            ..end
        });
        let mut report = Report::new(name, self.transactions, self.payload, &spent)
            .with_latency(self.latencies.summary())
            .with("client cpu us/op", per_op(self.client_cpu));
        if self.known {
            let busy = |(_, cpu): &(String, f64)| per_op(*cpu) >= 0.1;
            for (thread, cpu) in self.by_thread.into_iter().filter(busy) {
                report = report.with(format!("cpu us/op of {thread}"), per_op(cpu));
            }
        }
        let whose = if self.known { "server" } else { "client" };
        let until = if settled { ", until all is in files" } else { ", until the last answer" };
        report.with_note(format!(
            "an op is a P and a C call, latencies are of one call; cpu, bytes and memory of the {whose}{until}"
        ))
    }
}

/// P and C of each transaction from `--threads` writers over `--connections`, one call of each writer after another.
pub(crate) fn write(options: &Options, target: &Target) -> anyhow::Result<Calls> {
    runtime()?.block_on(async {
        let oracle = WallOracle::new();
        let begin = oracle.next();
        let oracle = Arc::new(oracle);
        let mut channels = Vec::new();
        for _ in 0..options.connections() {
            channels.push(connect(&target.addr).await?);
        }
        let meter = Meter::start(target.pid)?;
        let client_meter = Meter::start(None)?;
        let latencies = Arc::new(Latencies::new());
        let quota = load::quota(options);
        let mut tasks = tokio::task::JoinSet::new();
        for (n, channel) in channels.iter().cycle().take(options.writers()).enumerate() {
            let writer = Writer {
                client: PumpClient::new(channel.clone()),
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
        let (spent, by_thread) = (meter.spent()?, meter.spent_by_thread()?);
        Ok(Calls {
            begin,
            meter,
            spent,
            transactions,
            payload,
            client_cpu: client_meter.spent()?.cpu,
            by_thread,
            latencies,
            known: target.pid.is_some(),
        })
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
