//! Pumps of any make, over the original's protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use binlog_proto::binlog::pump_client::PumpClient;
use binlog_proto::binlog::{Binlog, BinlogType, Pos, PullBinlogReq, WriteBinlogReq};
use hdrhistogram::Histogram;
use prost::Message as _;
use tonic::transport::Channel;

use crate::options::Options;
use crate::payload::Payloads;
use crate::process::Usage;
use crate::report::{Report, histogram};

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn connect(options: &Options) -> anyhow::Result<PumpClient<Channel>> {
    let client = PumpClient::connect(format!("http://{}", options.addr)).await;
    Ok(client.with_context(|| format!("connect to {}", options.addr))?.max_decoding_message_size(usize::MAX))
}

/// The next timestamps: from the wall clock, so that they are later than all that the pump has.
fn first_ts() -> u64 {
    binlog_types::Ts::compose(binlog_types::Clock::unix_millis(&*binlog_types::SystemClock::handle()), 0)
        .raw()
}

/// P and C of each transaction from `--threads` connections, one call after another on each.
pub(crate) fn write(options: &Options) -> anyhow::Result<Report> {
    runtime()?.block_on(async {
        let oracle = Arc::new(AtomicU64::new(first_ts()));
        let mut clients = Vec::new();
        for _ in 0..options.threads.max(1) {
            clients.push(connect(options).await?);
        }
        let server = options.pid.map(|pid| Usage::of(Some(pid))).transpose()?;
        let before = Usage::of(None)?;
        let begun = Instant::now();
        let each = options.num / options.threads.max(1) as u64;
        let mut tasks = tokio::task::JoinSet::new();
        for (i, client) in clients.into_iter().enumerate() {
            tasks.spawn(one_writer(client, Arc::clone(&oracle), options.clone(), i as u64, each));
        }
        let mut all = histogram()?;
        let mut payload = 0;
        while let Some(joined) = tasks.join_next().await {
            let (one, bytes) = joined??;
            all.add(one)?;
            payload += bytes;
        }
        let elapsed = begun.elapsed();
        let (usage, whose) = match (options.pid, server) {
            (Some(pid), Some(server)) => (Usage::of(Some(pid))?.since(server), "server"),
            _ => (Usage::of(None)?.since(before), "client"),
        };
        let report = Report::new("grpcwrite", all.len() / 2, payload, elapsed, usage);
        Ok(report
            .with_latency(&all)
            .with_note(format!("an op is a P and a C call; cpu and bytes of the {whose}")))
    })
}

async fn one_writer(
    mut client: PumpClient<Channel>,
    oracle: Arc<AtomicU64>,
    options: Options,
    writer: u64,
    count: u64,
) -> anyhow::Result<(Histogram<u64>, u64)> {
    let mut payloads = Payloads::new(options.seed ^ writer << 32, options.value_size);
    let mut latencies = histogram()?;
    let mut bytes = 0;
    for _ in 0..count {
        let start = oracle.fetch_add(1, Ordering::SeqCst);
        let prewrite = payloads.prewrite(start);
        let commit = Binlog { tp: BinlogType::Commit as i32, prewrite_value: None, ..prewrite.clone() };
        let payload = prewrite.encode_to_vec();
        bytes += payload.len() as u64;
        call(&mut client, options.cluster_id, payload, &mut latencies).await?;
        let commit = Binlog { commit_ts: oracle.fetch_add(1, Ordering::SeqCst) as i64, ..commit };
        call(&mut client, options.cluster_id, commit.encode_to_vec(), &mut latencies).await?;
    }
    Ok((latencies, bytes))
}

async fn call(
    client: &mut PumpClient<Channel>,
    cluster_id: u64,
    payload: Vec<u8>,
    latencies: &mut Histogram<u64>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    client.write_binlog(WriteBinlogReq { cluster_id, payload: payload.into() }).await?;
    latencies.saturating_record(begun.elapsed().as_micros() as u64);
    Ok(())
}

/// PullBinlogs from the beginning until `--num` transactions came.
pub(crate) fn pull(options: &Options) -> anyhow::Result<Report> {
    runtime()?.block_on(async {
        let mut client = connect(options).await?;
        let server = options.pid.map(|pid| Usage::of(Some(pid))).transpose()?;
        let before = Usage::of(None)?;
        let begun = Instant::now();
        let request =
            PullBinlogReq { cluster_id: options.cluster_id, start_from: Some(Pos { suffix: 0, offset: 0 }) };
        let mut stream = client.pull_binlogs(request).await?.into_inner();
        let (mut records, mut bytes) = (0, 0);
        while records < options.num {
            let Some(response) = stream.message().await? else { break };
            let entity = response.entity.unwrap_or_default();
            let meta = entity.meta.unwrap_or_default();
            if meta.start_ts != meta.commit_ts {
                records += 1;
                bytes += entity.payload.len() as u64;
            }
        }
        let elapsed = begun.elapsed();
        let usage = match (options.pid, server) {
            (Some(pid), Some(server)) => Usage::of(Some(pid))?.since(server),
            _ => Usage::of(None)?.since(before),
        };
        Ok(Report::new("grpcpull", records, bytes, elapsed, usage))
    })
}
