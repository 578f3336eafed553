//! The pumps of the cluster, as TiDB talks to them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use binlog_cluster::{NodeKind, NodeState, Registry};
use binlog_proto::binlog::pump_client::PumpClient;
use binlog_proto::binlog::{Binlog, WriteBinlogReq};
use binlog_proto::store::store_client::StoreClient;
use binlog_proto::store::{PutSchemaRequest, SchemaObject, StatsRequest};
use binlog_types::{ClusterId, SchemaVersion, StartTs};
use prost::Message;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::Error;

/// How long a write is tried again on a pump that does not answer, as TiDB's `binlog.write-timeout`.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// One pump.
#[derive(Debug)]
pub(crate) struct Pump {
    host: String,
    cluster: ClusterId,
    channel: Channel,
}

impl Pump {
    fn error(&self, call: &'static str, status: &Status) -> Error {
        Error::Call { host: self.host.clone(), call, message: status.message().to_owned() }
    }

    /// Writes one binlog; an answer that is no answer is asked for again, since pumps take the same binlog twice.
    async fn write(&self, binlog: &Binlog) -> Result<(), Status> {
        let payload = bytes::Bytes::from(binlog.encode_to_vec());
        let deadline = Instant::now() + WRITE_TIMEOUT;
        loop {
            let request = WriteBinlogReq { cluster_id: self.cluster.0, payload: payload.clone() };
            let mut client = PumpClient::new(self.channel.clone()).max_encoding_message_size(usize::MAX);
            let status = match client.write_binlog(request).await.map(tonic::Response::into_inner) {
                Ok(answer) if answer.errmsg.is_empty() => return Ok(()),
                Ok(answer) => return Err(Status::unknown(answer.errmsg)),
                Err(status) => status,
            };
            let again = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled);
            if !again || Instant::now() >= deadline {
                return Err(status);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Writes a prewrite binlog.
    pub(crate) async fn prewrite(&self, binlog: &Binlog) -> Result<(), Error> {
        self.write(binlog).await.map_err(|status| self.error("WriteBinlog", &status))
    }

    /// Writes a commit or rollback binlog.
    pub(crate) async fn settle(&self, binlog: &Binlog) -> Result<(), Error> {
        self.write(binlog).await.map_err(|status| Error::Outcome {
            start_ts: StartTs::new(binlog.start_ts as u64),
            host: self.host.clone(),
            message: status.message().to_owned(),
        })
    }
}

/// All pumps that take binlogs.
#[derive(Debug)]
pub(crate) struct Pumps {
    pumps: Vec<Pump>,
    next: AtomicUsize,
}

impl Pumps {
    /// Connects to every pump that is online.
    pub(crate) async fn connect(registry: &Registry, cluster: ClusterId) -> Result<Self, Error> {
        let mut pumps = Vec::new();
        for node in registry.list(NodeKind::Pump).await? {
            if node.state != NodeState::Online {
                continue;
            }
            let host = node.host;
            let connect = |source| Error::Connect { host: host.clone(), source };
            let endpoint = Endpoint::from_shared(format!("http://{host}"))
                .map_err(connect)?
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(WRITE_TIMEOUT)
                .tcp_nodelay(true);
            let channel = endpoint.connect().await.map_err(connect)?;
            pumps.push(Pump { host, cluster, channel });
        }
        if pumps.is_empty() {
            return Err(Error::NoPump);
        }
        Ok(Pumps { pumps, next: AtomicUsize::new(0) })
    }

    /// The pump for the next transaction: round robin, TiDB's default.
    pub(crate) fn pick(&self) -> &Pump {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.pumps[turn % self.pumps.len()]
    }

    /// The newest schema version that any pump knows.
    pub(crate) async fn schema_version(&self) -> Result<SchemaVersion, Error> {
        let mut newest = SchemaVersion(0);
        for pump in &self.pumps {
            let request = StatsRequest { cluster_id: pump.cluster.0 };
            let stats = StoreClient::new(pump.channel.clone()).stats(request).await;
            let stats = stats.map_err(|status| pump.error("Stats", &status))?.into_inner();
            newest = newest.max(SchemaVersion(stats.schema_version));
        }
        Ok(newest)
    }

    /// Gives schema objects to every pump: each must know them before the first row that needs them.
    pub(crate) async fn put_schema(
        &self,
        objects: Vec<SchemaObject>,
        complete: SchemaVersion,
    ) -> Result<(), Error> {
        for pump in &self.pumps {
            let request = PutSchemaRequest {
                cluster_id: pump.cluster.0,
                objects: objects.clone(),
                complete_version: complete.0,
            };
            let answer = StoreClient::new(pump.channel.clone()).put_schema(request).await;
            answer.map_err(|status| pump.error("PutSchema", &status))?;
        }
        Ok(())
    }
}
