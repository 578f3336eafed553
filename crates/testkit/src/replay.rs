//! Sends a capture to pumps as TiDB did.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use binlog_proto::binlog::pump_client::PumpClient;
use binlog_proto::binlog::{Binlog, BinlogType, WriteBinlogReq};
use binlog_types::Ts;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use prost::Message as _;
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

use crate::FakeCluster;
use crate::fake::history;
use crate::fixtures::{self, WriteFrame};

/// Replays `WriteBinlog` calls in their order of arrival.
///
/// A prewrite may overtake others up to the chosen concurrency. A commit or rollback is sent only when all prewrites before it
/// are acknowledged: pumps rely on a commit_ts being taken after that. What fails is sent again, as TiDB does.
#[derive(Debug)]
pub struct Replayer {
    frames: Arc<Vec<WriteFrame>>,
    steps: Vec<Step>,
    pumps: Vec<PumpClient<Channel>>,
    concurrency: usize,
    patience: Duration,
}

/// What has to hold when a frame is sent.
#[derive(Clone, Copy, Debug)]
struct Step {
    is_prewrite: bool,
    /// Schema visible up to there.
    visible: Option<Ts>,
    /// Timestamps handed out are above this: it was handed out before.
    floor: Ts,
    /// And not above this: a transaction whose prewrite is still to come will commit right behind.
    ceiling: Option<Ts>,
}

impl Replayer {
    /// A replay of a capture to pumps (`host:port`). Pump `n` of the capture is `pumps[n % len]`.
    ///
    /// # Errors
    /// When the capture cannot be read, or an address is no address.
    pub fn fixture(name: &str, pumps: &[String]) -> anyhow::Result<Self> {
        let frames = fixtures::writes(name)?;
        let (history, _) = history::load(name)?;
        let visible = history::schedule(&history, &frames)?;
        let pumps = pumps
            .iter()
            .map(|host| Ok(PumpClient::new(Endpoint::from_shared(format!("http://{host}"))?.connect_lazy())))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let steps = steps(&frames, &visible)?;
        Ok(Replayer {
            frames: Arc::new(frames),
            steps,
            pumps,
            concurrency: 1,
            patience: Duration::from_secs(60),
        })
    }

    /// How many calls are under way at once; 1 unless said.
    pub fn concurrency(mut self, n: usize) -> Self {
        self.concurrency = n.max(1);
        self
    }

    /// How long a frame is sent again before the replay fails; a minute unless said.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The frames.
    pub fn frames(&self) -> &[WriteFrame] {
        &self.frames
    }

    /// Sends the frames of `range`; `cluster`'s schema and timestamps move on with them. When the last frame of the capture is
    /// sent, everything is visible and timestamps follow the clock.
    ///
    /// # Errors
    /// When a frame was refused for longer than the patience.
    pub async fn run(&self, range: Range<usize>, cluster: Option<&FakeCluster>) -> anyhow::Result<()> {
        let mut under_way = FuturesUnordered::new();
        let is_end = range.end >= self.frames.len();
        for index in range {
            let step = self.steps.get(index).with_context(|| format!("there is no frame {index}"))?;
            if under_way.len() >= self.concurrency {
                under_way.next().await.transpose()?;
            }
            if !step.is_prewrite {
                while under_way.next().await.transpose()?.is_some() {}
            }
            if let Some(cluster) = cluster {
                step.apply(cluster);
            }
            under_way.push(self.send(index));
        }
        while under_way.next().await.transpose()?.is_some() {}
        if let (true, Some(cluster)) = (is_end, cluster) {
            cluster.show_all();
            cluster.release_tso();
        }
        Ok(())
    }

    /// Sends all frames.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_all(&self, cluster: Option<&FakeCluster>) -> anyhow::Result<()> {
        self.run(0..self.len(), cluster).await
    }

    async fn send(&self, index: usize) -> anyhow::Result<()> {
        let frame = &self.frames[index];
        let mut pump = self.pumps[usize::from(frame.pump) % self.pumps.len()].clone();
        let start = Instant::now();
        loop {
            let request = WriteBinlogReq { cluster_id: frame.cluster_id, payload: frame.payload.clone() };
            let why = match pump.write_binlog(request).await {
                Ok(answer) if answer.get_ref().errmsg.is_empty() => return Ok(()),
                Ok(answer) => answer.into_inner().errmsg,
                Err(status) => status.to_string(),
            };
            if start.elapsed() >= self.patience {
                bail!("frame {index} for pump {}: {why}", frame.pump);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Step {
    fn apply(&self, cluster: &FakeCluster) {
        if let Some(ceiling) = self.ceiling {
            cluster.hold_tso(ceiling);
        }
        cluster.set_tso_floor(self.floor);
        if let Some(visible) = self.visible {
            cluster.advance(visible);
        }
    }
}

fn steps(frames: &[WriteFrame], visible: &[Option<Ts>]) -> anyhow::Result<Vec<Step>> {
    let binlogs: Vec<Binlog> = frames
        .iter()
        .map(|frame| Ok(Binlog::decode(frame.payload.clone())?))
        .collect::<anyhow::Result<_>>()?;
    let ts = |raw: i64| Ts::new(raw.max(0) as u64);
    let commits: std::collections::HashMap<i64, i64> = binlogs
        .iter()
        .filter(|binlog| binlog.tp() == BinlogType::Commit)
        .map(|binlog| (binlog.start_ts, binlog.commit_ts))
        .collect();
    // From behind: the smallest commit_ts of those whose prewrite comes after the frame.
    let mut ceilings = vec![None; frames.len()];
    let mut smallest: Option<Ts> = None;
    for (index, binlog) in binlogs.iter().enumerate().rev() {
        ceilings[index] = smallest.map(Ts::prev);
        if binlog.tp() == BinlogType::Prewrite
            && let Some(commit) = commits.get(&binlog.start_ts)
        {
            smallest = Some(smallest.map_or(ts(*commit), |now| now.min(ts(*commit))));
        }
    }
    let mut floor = Ts::ZERO;
    let steps = binlogs.iter().enumerate().map(|(index, binlog)| {
        floor = floor.max(ts(binlog.start_ts)).max(ts(binlog.commit_ts));
        Step {
            is_prewrite: binlog.tp() == BinlogType::Prewrite,
            visible: visible[index],
            floor,
            ceiling: ceilings[index],
        }
    });
    Ok(steps.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_stay_below_what_is_still_to_commit() {
        for name in ["seed", "txn", "ddl"] {
            let frames = fixtures::writes(name).unwrap();
            let (history, _) = history::load(name).unwrap();
            let visible = history::schedule(&history, &frames).unwrap();
            for (index, step) in steps(&frames, &visible).unwrap().iter().enumerate() {
                if let Some(ceiling) = step.ceiling {
                    assert!(step.floor <= ceiling, "{name} frame {index}: {step:?}");
                    assert!(step.visible.is_none_or(|ts| ts <= ceiling), "{name} frame {index}: {step:?}");
                }
            }
        }
    }

    /// Takes what is sent, refuses every seventh call, and checks the order.
    #[derive(Clone, Default)]
    struct Recorder {
        seen: Arc<parking_lot::Mutex<Vec<bytes::Bytes>>>,
        calls: Arc<std::sync::atomic::AtomicUsize>,
    }

    #[tonic::async_trait]
    impl binlog_proto::binlog::pump_server::Pump for Recorder {
        type PullBinlogsStream =
            tokio_stream::Pending<Result<binlog_proto::binlog::PullBinlogResp, tonic::Status>>;

        async fn write_binlog(
            &self,
            request: tonic::Request<WriteBinlogReq>,
        ) -> Result<tonic::Response<binlog_proto::binlog::WriteBinlogResp>, tonic::Status> {
            let call = self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if call % 7 == 3 {
                return Err(tonic::Status::unavailable("test"));
            }
            self.seen.lock().push(request.into_inner().payload);
            Ok(tonic::Response::new(Default::default()))
        }

        async fn pull_binlogs(
            &self,
            _: tonic::Request<binlog_proto::binlog::PullBinlogReq>,
        ) -> Result<tonic::Response<Self::PullBinlogsStream>, tonic::Status> {
            Err(tonic::Status::unimplemented("test"))
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_commit_overtakes_a_prewrite() {
        let recorder = Recorder::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let service = binlog_proto::binlog::pump_server::PumpServer::new(recorder.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)),
        );
        let cluster = FakeCluster::without_etcd().unwrap();
        cluster.load_meta("seed").unwrap();
        let replayer = Replayer::fixture("seed", &[host]).unwrap().concurrency(8);
        let half = replayer.len() / 2;
        replayer.run(0..half, Some(&cluster)).await.unwrap();
        let standing = cluster.now();
        replayer.run(half..replayer.len(), Some(&cluster)).await.unwrap();

        let sent: Vec<Binlog> =
            replayer.frames().iter().map(|frame| Binlog::decode(frame.payload.clone()).unwrap()).collect();
        let later = sent[half..].iter().filter(|binlog| binlog.tp() == BinlogType::Prewrite);
        let commit_of = |start| sent.iter().find(|b| b.start_ts == start && b.tp() == BinlogType::Commit);
        for binlog in later {
            assert!(commit_of(binlog.start_ts).is_none_or(|commit| commit.commit_ts > standing.as_i64()));
        }
        assert!(cluster.now().physical() > standing.physical(), "in the end the clock counts again");

        let seen = recorder.seen.lock().clone();
        assert_eq!(seen.len(), replayer.len());
        let is_prewrite =
            |payload: &bytes::Bytes| Binlog::decode(payload.clone()).unwrap().tp() == BinlogType::Prewrite;
        for (position, frame) in replayer.frames().iter().enumerate() {
            if !is_prewrite(&frame.payload) {
                let arrived = seen.iter().position(|payload| *payload == frame.payload).unwrap();
                for before in
                    replayer.frames()[..position].iter().filter(|before| is_prewrite(&before.payload))
                {
                    assert!(seen[..arrived].contains(&before.payload));
                }
            }
        }
    }
}
