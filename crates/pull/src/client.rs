//! One pump over gRPC: Hello, Scan, Schema, Stats, and the embedded cluster's PutSchema and Tso.

use std::sync::Arc;
use std::time::Duration;

use binlog_proto::store::store_client::StoreClient;
use binlog_proto::store::{
    HelloRequest, HelloResponse, PutSchemaRequest, ScanRequest, ScanResponse, SchemaObject, SchemaRequest,
    SchemaResponse, StatsRequest, StatsResponse, TsoRequest,
};
use binlog_types::{ClusterId, CommitTs, JobId, NodeId, SchemaVersion, StoreUuid, Ts};
use parking_lot::Mutex;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use crate::error::hex;
use crate::{Dial, Error, Hole, SchemaBase};

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle connection is probed, and how long the answer may take: a half-open one is found within their sum.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for pumps of the original: its server takes pings within five minutes amiss, and hangs up. The kernel asks instead.
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;
/// How long the answer of a call that does not wait for anything may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Which store a pump serves. Remembered by clients: another one is a typed error, not a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Made with the store.
    pub uuid: StoreUuid,
    /// Rises with every opening of the store.
    pub incarnation: u64,
    /// The highest watermark that was seen.
    pub watermark: CommitTs,
}

/// A client of one pump's `Store` service. Cheap to clone; clones share the connection and what they remember.
#[derive(Clone, Debug)]
pub struct PumpClient {
    pub(crate) name: NodeId,
    pub(crate) host: String,
    pub(crate) channel: Channel,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    cluster: ClusterId,
    identity: Option<Identity>,
}

impl PumpClient {
    /// Connects to a pump at `host:port`; its cluster is taken as it is.
    ///
    /// # Errors
    /// [`Error::BadAddress`], or [`Error::Rpc`] when nobody answers.
    pub async fn connect(host: &str) -> Result<Self, Error> {
        let name = NodeId::new(host).map_err(|e| Error::BadAddress {
            pump: unnamed(),
            host: host.to_owned(),
            why: e.to_string(),
        })?;
        Self::connect_as(&name, host, ClusterId(0)).await
    }

    /// Connects to the pump `name` at `host:port`. Every call carries `cluster`; 0: any will do, and the first Hello sets it.
    ///
    /// # Errors
    /// [`Error::BadAddress`], or [`Error::Rpc`] when nobody answers.
    pub async fn connect_as(name: &NodeId, host: &str, cluster: ClusterId) -> Result<Self, Error> {
        Self::dial(name, host, cluster, &Dial::default()).await
    }

    /// [`PumpClient::connect_as`], with TLS where `dial` has it.
    ///
    /// # Errors
    /// As [`PumpClient::connect_as`].
    pub async fn dial(name: &NodeId, host: &str, cluster: ClusterId, dial: &Dial) -> Result<Self, Error> {
        Self::dial_with(name, host, cluster, dial, |endpoint| {
            endpoint
                .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
                .keep_alive_timeout(KEEPALIVE_TIMEOUT)
                .keep_alive_while_idle(true)
        })
        .await
    }

    /// [`PumpClient::dial`] for a pump of the original.
    pub(crate) async fn dial_original(
        name: &NodeId,
        host: &str,
        cluster: ClusterId,
        dial: &Dial,
    ) -> Result<Self, Error> {
        Self::dial_with(name, host, cluster, dial, |endpoint| {
            endpoint
                .tcp_keepalive(Some(PROBE_AFTER))
                .tcp_keepalive_interval(Some(PROBE_INTERVAL))
                .tcp_keepalive_retries(Some(PROBES))
        })
        .await
    }

    /// `probed` says how it is found out that the other end is gone.
    async fn dial_with(
        name: &NodeId,
        host: &str,
        cluster: ClusterId,
        dial: &Dial,
        probed: impl FnOnce(Endpoint) -> Endpoint,
    ) -> Result<Self, Error> {
        let bad = |why: String| Error::BadAddress { pump: name.clone(), host: host.to_owned(), why };
        let bare = host.strip_prefix("http://").or_else(|| host.strip_prefix("https://")).unwrap_or(host);
        if bare.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(bad("write host:port".to_owned()));
        }
        let scheme = if dial.tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{bare}"))
            .map_err(|e| bad(e.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .tcp_nodelay(true);
        endpoint = probed(endpoint);
        if let Some(tls) = &dial.tls {
            // The files may be in the middle of their renewal: worth another try.
            let config = tls.load().map_err(|why| Error::Rpc {
                pump: name.clone(),
                host: host.to_owned(),
                status: Box::new(Status::unavailable(why)),
            })?;
            endpoint = endpoint.tls_config(config).map_err(|e| bad(chain(&e)))?;
        }
        let channel = endpoint.connect().await.map_err(|e| {
            let status = Status::unavailable(chain(&e));
            Error::Rpc { pump: name.clone(), host: host.to_owned(), status: Box::new(status) }
        })?;
        let known = Arc::new(Mutex::new(Known { cluster, identity: None }));
        Ok(PumpClient { name: name.clone(), host: host.to_owned(), channel, known })
    }

    /// The cluster that calls carry; 0 before the first [`PumpClient::hello`] if none was given.
    pub fn cluster(&self) -> ClusterId {
        self.known.lock().cluster
    }

    /// The store that this client remembers.
    pub fn identity(&self) -> Option<Identity> {
        self.known.lock().identity
    }

    /// Makes the client remember a store that was met over an earlier connection.
    pub fn remember(&self, identity: Identity) {
        self.known.lock().identity = Some(identity);
    }

    /// Forgets the store that was met before: whichever is there is taken.
    pub(crate) fn forget(&self) {
        self.known.lock().identity = None;
    }

    /// Asks who is there, and remembers it.
    ///
    /// # Errors
    /// [`Error::WrongStore`] where the store is not the remembered one or was set back, [`Error::WrongCluster`].
    pub async fn hello(&self) -> Result<HelloResponse, Error> {
        let cluster_id = self.cluster().0;
        let mut client = self.store();
        let reply =
            self.timed(CALL_TIMEOUT, CommitTs::ZERO, client.hello(HelloRequest { cluster_id })).await?;
        if cluster_id != 0 && reply.cluster_id != cluster_id {
            return Err(Error::WrongCluster {
                pump: self.name.clone(),
                requested: ClusterId(cluster_id),
                own: ClusterId(reply.cluster_id),
            });
        }
        self.check_identity(&reply)?;
        Ok(reply)
    }

    fn check_identity(&self, reply: &HelloResponse) -> Result<(), Error> {
        let own = hex(&reply.store_uuid);
        let wrong = |why: String| Error::WrongStore { pump: self.name.clone(), why, own: own.clone() };
        let uuid: [u8; 16] = reply.store_uuid[..]
            .try_into()
            .map_err(|_| wrong(format!("its store uuid {own} is not 16 bytes long")))?;
        let (uuid, watermark) = (StoreUuid(uuid), CommitTs::new(reply.watermark));
        let mut known = self.known.lock();
        known.cluster = ClusterId(reply.cluster_id);
        let mut highest = watermark;
        if let Some(before) = known.identity {
            if before.uuid != uuid {
                return Err(wrong(format!("its store is {uuid}, not {} as before", before.uuid)));
            }
            if reply.incarnation < before.incarnation {
                let (now, was) = (reply.incarnation, before.incarnation);
                return Err(wrong(format!("its store is at incarnation {now}, but was at {was} before")));
            }
            if watermark < before.watermark {
                if reply.incarnation == before.incarnation {
                    let was = before.watermark;
                    return Err(wrong(format!("its watermark is {watermark}, but was {was} before")));
                }
                // A store may come up again with an older watermark than it had reached by idling: that part was never written down.
                tracing::info!(pump = %self.name, %watermark, before = %before.watermark, "the pump was restarted and is behind its last watermark");
            }
            highest = highest.max(before.watermark);
        }
        known.identity = Some(Identity { uuid, incarnation: reply.incarnation, watermark: highest });
        Ok(())
    }

    /// Reads the records of `(after, through]`, or with `through = None` follows for ever. `patterns` as in [`crate::StreamOptions`].
    /// `max_batch_bytes` 0 leaves the size of batches to the pump.
    ///
    /// # Errors
    /// As the pump types them: purged, wrong store, …
    pub async fn scan(
        &self,
        after: CommitTs,
        through: Option<CommitTs>,
        patterns: &[String],
    ) -> Result<ScanStream, Error> {
        self.scan_with(after, through, patterns, 0, Duration::ZERO, &[]).await
    }

    /// [`PumpClient::scan`] with a batch size, a time to wait for the watermark to reach `through`, and gaps that are known and read over.
    ///
    /// # Errors
    /// As [`PumpClient::scan`]; [`Error::NotYet`] when the wait was in vain.
    pub async fn scan_with(
        &self,
        after: CommitTs,
        through: Option<CommitTs>,
        patterns: &[String],
        max_batch_bytes: usize,
        wait: Duration,
        accepted: &[Hole],
    ) -> Result<ScanStream, Error> {
        let request = ScanRequest {
            cluster_id: self.cluster().0,
            store_uuid: self.identity().map_or_else(Default::default, |i| i.uuid.0.to_vec().into()),
            after: after.raw(),
            through: through.map_or(0, CommitTs::raw),
            follow: through.is_none(),
            table_patterns: patterns.to_vec(),
            max_batch_bytes: max_batch_bytes as u64,
            wait_millis: millis(wait),
            accepted_gaps: accepted.iter().map(Hole::on_the_wire).collect(),
        };
        let mut client = self.store();
        let stream = self.timed(CALL_TIMEOUT + wait, after, client.scan(request)).await?;
        Ok(ScanStream { pump: self.name.clone(), host: self.host.clone(), after, stream })
    }

    /// Schema objects of versions above `after` (−1: all), once the pump's history reaches `need`, for which it waits up to `wait`; and the version
    /// up to which the history is complete.
    ///
    /// # Errors
    /// [`Error::SchemaNotYet`] when the wait was in vain.
    pub async fn schema(
        &self,
        after: SchemaVersion,
        need: SchemaVersion,
        base: SchemaBase,
        wait: Duration,
    ) -> Result<(Vec<SchemaObject>, SchemaVersion), Error> {
        self.schema_call(SchemaRequest {
            cluster_id: self.cluster().0,
            after_version: after.0,
            need_version: need.0,
            need_job: 0,
            wait_millis: millis(wait),
            base_version: base.version.0,
            base_ts: base.ts.raw(),
        })
        .await
    }

    /// The objects of one DDL job, once the pump knows it, for which it waits up to `wait`.
    ///
    /// # Errors
    /// [`Error::SchemaNotYet`] when the wait was in vain.
    pub async fn schema_of_job(&self, job: JobId, wait: Duration) -> Result<Vec<SchemaObject>, Error> {
        let request = SchemaRequest {
            cluster_id: self.cluster().0,
            after_version: i64::MAX,
            need_version: 0,
            need_job: job.0,
            wait_millis: millis(wait),
            ..SchemaRequest::default()
        };
        Ok(self.schema_call(request).await?.0)
    }

    async fn schema_call(&self, request: SchemaRequest) -> Result<(Vec<SchemaObject>, SchemaVersion), Error> {
        let deadline = CALL_TIMEOUT + Duration::from_millis(request.wait_millis);
        let mut client = self.store();
        let collect = async {
            let mut stream: Streaming<SchemaResponse> = client.schema(request).await?.into_inner();
            let (mut objects, mut complete) = (Vec::new(), SchemaVersion(0));
            while let Some(part) = stream.message().await? {
                objects.extend(part.objects);
                objects.extend(part.steps);
                complete = complete.max(SchemaVersion(part.complete_version));
            }
            Ok(tonic::Response::new((objects, complete)))
        };
        self.timed(deadline, CommitTs::ZERO, collect).await
    }

    /// Counts and sizes of the store.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn stats(&self) -> Result<StatsResponse, Error> {
        let request = StatsRequest { cluster_id: self.cluster().0 };
        self.timed(CALL_TIMEOUT, CommitTs::ZERO, self.store().stats(request)).await
    }

    /// Embedded clusters: hands the pump schema objects, complete up to `complete`. They are durable when it returns.
    ///
    /// # Errors
    /// When the call fails, or the pump follows a cluster's schema by itself.
    pub async fn put_schema(&self, objects: Vec<SchemaObject>, complete: SchemaVersion) -> Result<(), Error> {
        let request =
            PutSchemaRequest { cluster_id: self.cluster().0, objects, complete_version: complete.0 };
        self.timed(CALL_TIMEOUT, CommitTs::ZERO, self.store().put_schema(request)).await.map(|_| ())
    }

    /// Embedded clusters: takes `count` timestamps from the oracle that runs in this pump; returns the highest.
    ///
    /// # Errors
    /// When the call fails, or this pump is not the oracle.
    pub async fn tso(&self, count: u32) -> Result<Ts, Error> {
        let request = TsoRequest { cluster_id: self.cluster().0, count };
        let reply = self.timed(CALL_TIMEOUT, CommitTs::ZERO, self.store().tso(request)).await?;
        Ok(Ts::new(reply.last))
    }

    fn store(&self) -> StoreClient<Channel> {
        StoreClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    async fn timed<T>(
        &self,
        limit: Duration,
        after: CommitTs,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Error> {
        let outcome = tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            Err(Status::deadline_exceeded(format!("no answer within {} s", limit.as_secs())))
        });
        outcome
            .map(tonic::Response::into_inner)
            .map_err(|status| Error::from_status(&self.name, &self.host, after, status))
    }
}

/// The answers of a [`PumpClient::scan`], as they come.
#[derive(Debug)]
pub struct ScanStream {
    pump: NodeId,
    host: String,
    after: CommitTs,
    stream: Streaming<ScanResponse>,
}

impl ScanStream {
    /// The next batch of fragments; None where the pump closed the stream. Cancel safe.
    ///
    /// # Errors
    /// As the pump types them.
    pub async fn next(&mut self) -> Result<Option<ScanResponse>, Error> {
        match self.stream.message().await {
            Ok(Some(response)) => {
                self.after = self.after.max(CommitTs::new(response.complete_through));
                Ok(Some(response))
            }
            Ok(None) => Ok(None),
            Err(status) => Err(Error::from_status(&self.pump, &self.host, self.after, status)),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn unnamed() -> NodeId {
    NodeId::new("unnamed").expect("a constant that is a valid id")
}

/// An error with its causes: transport errors say nothing by themselves.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
