//! `binlog.Pump`: what TiDB and the original drainer call.

use std::pin::Pin;
use std::sync::atomic::Ordering;

use binlog_proto::binlog::pump_server::Pump;
use binlog_proto::binlog::{PullBinlogReq, PullBinlogResp, WriteBinlogReq, WriteBinlogResp};
use binlog_storage::{Error, ErrorKind, Write};
use binlog_types::{CommitTs, StartTs};
use bytes::Bytes;
use futures::Stream;
use futures::stream::try_unfold;
use tonic::{Code, Request, Response, Status};

use super::mapping::{self, Outcome};
use super::pull::PullStream;
use super::status;
use crate::bridge::Bridge;
use crate::config::PurgedPull;
use crate::context::Shared;

/// A stream of responses.
pub(super) type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service of one runtime.
#[derive(Clone, Debug)]
pub(crate) struct PumpService {
    context: Shared,
    bridge: Bridge,
}

impl PumpService {
    /// A service that writes through `bridge`.
    pub(crate) fn new(context: Shared, bridge: Bridge) -> Self {
        PumpService { context, bridge }
    }

    async fn write(&self, payload: Bytes) -> Result<(), Status> {
        let request = mapping::Request::decode(payload).map_err(|e| Status::unknown(e.to_string()))?;
        match request {
            mapping::Request::Ping => self.admit_prewrite(),
            mapping::Request::Prewrite(prewrite) => {
                self.admit_prewrite()?;
                self.store(Write::Prewrite(prewrite)).await
            }
            // Outcomes are taken in every state, so that open transactions can end while the node closes.
            mapping::Request::Outcome(Outcome { write: Write::Rollback(StartTs::ZERO), .. }) => Ok(()),
            mapping::Request::Outcome(Outcome { write, ddl }) => {
                self.store(write).await?;
                if let Some(job) = ddl {
                    self.context.schema.want_job(job);
                }
                Ok(())
            }
        }
    }

    fn admit_prewrite(&self) -> Result<(), Status> {
        if !self.context.node.is_online() {
            let state = self.context.node.state().as_str();
            tracing::warn!(state, "no online, a prewrite binlog is refused");
            return Err(status::not_online(state));
        }
        // TiDB's probe asks whether a prewrite would be taken.
        if let Some(reason) = self.context.store.poisoned() {
            return Err(Status::unknown(format!("the store takes no writes: {reason}")));
        }
        match self.context.disk.exhausted() {
            None => Ok(()),
            Some((available, limit)) => Err(Status::unknown(format!(
                "no available space, available: {available}, StopWriteAtAvailableSpace: {limit}"
            ))),
        }
    }

    async fn store(&self, write: Write) -> Result<(), Status> {
        match self.bridge.write(write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let errors = &self.context.metrics.errors;
                errors.with_label_values(&["write_binlog"]).inc();
                // Not of this binlog: of all that went to the disk with it.
                if matches!(error.kind(), ErrorKind::Internal | ErrorKind::NoSpace) {
                    errors.with_label_values(&["write_binlog_batch"]).inc();
                }
                Err(self.refused(&error))
            }
            Err(crate::bridge::Closed) => Err(status::stopping()),
        }
    }

    fn refused(&self, error: &Error) -> Status {
        // The store says that itself, and no more often than it must.
        if !matches!(error, Error::Late { .. }) {
            tracing::error!(%error, "write binlog failed");
        }
        Status::unknown(error.to_string())
    }

    fn check_cluster(&self, requested: u64) -> Result<(), Status> {
        if requested == self.context.cluster.0 {
            Ok(())
        } else {
            Err(status::wrong_cluster(requested, self.context.cluster, Code::Unknown))
        }
    }

    fn start_of(&self, request: &PullBinlogReq) -> Result<CommitTs, Status> {
        let offset = request.start_from.as_ref().map_or(0, |pos| pos.offset);
        // The original clamps a negative offset too.
        let after = CommitTs::new(u64::try_from(offset).unwrap_or(0));
        let safe_point = self.context.store.safe_point();
        if after >= safe_point {
            return Ok(after);
        }
        match self.context.settings.purged_pull {
            PurgedPull::Error => {
                tracing::error!(%after, %safe_point, "a drainer asks for binlogs that are purged, and is refused");
                Err(status::purged(safe_point))
            }
            PurgedPull::Clamp => {
                tracing::error!(%after, %safe_point, "drainer request a purged binlog TS, some binlog events may be loss");
                Ok(safe_point)
            }
        }
    }
}

#[tonic::async_trait]
impl Pump for PumpService {
    async fn write_binlog(
        &self,
        request: Request<WriteBinlogReq>,
    ) -> Result<Response<WriteBinlogResp>, Status> {
        let start = self.context.clock.monotonic();
        let WriteBinlogReq { cluster_id, payload } = request.into_inner();
        let metrics = &self.context.metrics;
        self.context.counts.writes.fetch_add(1, Ordering::Relaxed);
        metrics.write_size.observe(payload.len() as f64);
        let result = match self.check_cluster(cluster_id) {
            Err(status) => Err(status),
            Ok(()) => self.write(payload).await.inspect_err(|_| metrics.lost.inc()),
        };
        let taken = self.context.elapsed_since(start);
        let histogram = if result.is_ok() { &metrics.write_succeeded } else { &metrics.write_failed };
        histogram.observe(taken.as_secs_f64());
        metrics.write_duration.observe(taken.as_secs_f64());
        if taken >= self.context.settings.slow_write {
            tracing::warn!(?taken, "slow write binlog RPC response");
        }
        result.map(|()| Response::new(WriteBinlogResp::default()))
    }

    type PullBinlogsStream = Responses<PullBinlogResp>;

    async fn pull_binlogs(
        &self,
        request: Request<PullBinlogReq>,
    ) -> Result<Response<Self::PullBinlogsStream>, Status> {
        let request = request.into_inner();
        let mut timer = PullTimer::new(&self.context);
        let after = self
            .check_cluster(request.cluster_id)
            .and_then(|()| self.start_of(&request))
            .inspect_err(|_| timer.fail())?;
        tracing::info!(%after, "a drainer pulls binlogs");
        let stream = PullStream::new(self.context.clone(), after);
        let responses = try_unfold((stream, timer), |(mut stream, mut timer)| async move {
            match stream.next().await {
                Ok(response) => Ok(response.map(|response| (response, (stream, timer)))),
                Err(status) => {
                    tracing::warn!(%status, "a pull of binlogs ends");
                    timer.fail();
                    Err(status)
                }
            }
        });
        Ok(Response::new(Box::pin(responses)))
    }
}

/// Observes how long a pull lasted, whichever way it ends.
struct PullTimer {
    context: Shared,
    start: std::time::Duration,
    failed: bool,
}

impl PullTimer {
    fn new(context: &Shared) -> Self {
        context.counts.pullers.fetch_add(1, Ordering::Relaxed);
        PullTimer { context: context.clone(), start: context.clock.monotonic(), failed: false }
    }

    fn fail(&mut self) {
        self.failed = true;
    }
}

impl Drop for PullTimer {
    fn drop(&mut self) {
        self.context.counts.pullers.fetch_sub(1, Ordering::Relaxed);
        let label = if self.failed { "fail" } else { "succ" };
        let taken = self.context.elapsed_since(self.start);
        self.context.metrics.rpc.with_label_values(&["PullBinlogs", label]).observe(taken.as_secs_f64());
    }
}
