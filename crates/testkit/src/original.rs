//! A pump of the original's, to pull from.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use binlog_proto::binlog::pump_server::{Pump, PumpServer};
use binlog_proto::binlog::{Binlog, Entity, PullBinlogReq, PullBinlogResp, WriteBinlogReq, WriteBinlogResp};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

use crate::fixtures;

/// How often a pump without transactions tells how far it is.
const FILLER_INTERVAL: Duration = Duration::from_millis(100);

/// It serves `PullBinlogs`, plain or gzip, and knows no other service. Its stream ends with its last binlog, unless it has fillers.
#[derive(Clone, Debug, Default)]
pub struct OriginalPump {
    /// By commit_ts.
    binlogs: Arc<Vec<(i64, Bytes)>>,
    fillers_above: Option<i64>,
    gzip_only: bool,
    cluster: Option<u64>,
    at_once: Option<usize>,
}

impl OriginalPump {
    /// With these binlogs, in order of commit_ts.
    pub fn new(binlogs: impl IntoIterator<Item = Binlog>) -> Self {
        let encoded = binlogs.into_iter().map(|binlog| (binlog.commit_ts, binlog.encode_to_vec().into()));
        OriginalPump { binlogs: Arc::new(encoded.collect()), ..Self::default() }
    }

    /// With what pump `number` of a capture answered.
    ///
    /// # Errors
    /// When the capture is missing or damaged.
    pub fn captured(fixture: &str, number: u8) -> anyhow::Result<Self> {
        let decoded = |payload: Bytes| anyhow::Ok((Binlog::decode(payload.clone())?.commit_ts, payload));
        let binlogs: anyhow::Result<_> =
            fixtures::pulled(fixture, number)?.into_iter().map(decoded).collect();
        Ok(OriginalPump { binlogs: Arc::new(binlogs?), ..Self::default() })
    }

    /// Behind its binlogs come fillers for ever, the first one above `newest`.
    #[must_use]
    pub fn with_fillers(self, newest: i64) -> Self {
        OriginalPump { fillers_above: Some(newest), ..self }
    }

    /// Refuses who does not ask for gzip.
    #[must_use]
    pub fn gzip_only(self) -> Self {
        OriginalPump { gzip_only: true, ..self }
    }

    /// Refuses who asks for another cluster.
    #[must_use]
    pub fn of_cluster(self, cluster: u64) -> Self {
        OriginalPump { cluster: Some(cluster), ..self }
    }

    /// Ends each stream after so many binlogs, and ends it well, as the original does on any trouble.
    #[must_use]
    pub fn ending_after(self, binlogs: usize) -> Self {
        OriginalPump { at_once: Some(binlogs), ..self }
    }

    /// Serves on a free port until the runtime ends; returns the address.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn serve(self) -> anyhow::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen as an original pump")?;
        let address = listener.local_addr()?.to_string();
        let service = PumpServer::new(self)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(address)
    }
}

#[tonic::async_trait]
impl Pump for OriginalPump {
    type PullBinlogsStream = Pin<Box<dyn Stream<Item = Result<PullBinlogResp, Status>> + Send>>;

    async fn write_binlog(&self, _: Request<WriteBinlogReq>) -> Result<Response<WriteBinlogResp>, Status> {
        Err(Status::unimplemented("read only"))
    }

    async fn pull_binlogs(
        &self,
        request: Request<PullBinlogReq>,
    ) -> Result<Response<Self::PullBinlogsStream>, Status> {
        let encoding = request.metadata().get("grpc-encoding").map(|value| value.as_bytes().to_vec());
        if self.gzip_only && encoding.as_deref() != Some(b"gzip") {
            return Err(Status::internal("compressor = gzip was asked for"));
        }
        let PullBinlogReq { cluster_id, start_from } = request.into_inner();
        if let Some(own) = self.cluster.filter(|own| *own != cluster_id) {
            return Err(Status::unknown(format!("cluster ID are mismatch, {own} vs {cluster_id}")));
        }
        let after = start_from.unwrap_or_default().offset;
        let held = self.binlogs.iter().filter(|(ts, _)| *ts > after).map(|(_, payload)| payload.clone());
        let held: Vec<Bytes> = held.take(self.at_once.unwrap_or(usize::MAX)).collect();
        let fillers =
            stream::unfold(self.fillers_above.map(|newest| after.max(newest) + 1), |ts| async move {
                let ts = ts?;
                tokio::time::sleep(FILLER_INTERVAL).await;
                let filler = Binlog { tp: 2, start_ts: ts, commit_ts: ts, ..Binlog::default() };
                Some((Bytes::from(filler.encode_to_vec()), Some(ts + 1)))
            });
        let entity = |payload| Ok(PullBinlogResp { entity: Some(Entity { payload, ..Entity::default() }) });
        Ok(Response::new(Box::pin(stream::iter(held).chain(fillers).map(entity))))
    }
}
