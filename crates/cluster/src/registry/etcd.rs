//! The registry in etcd, with fail-over between endpoints.
//!
//! `/tidb-binlog/v1/pumps/ID` and `…/drainers/ID` hold compact JSON. There are no leases; entries stay for ever. Nothing of
//! ours lies deeper, since a nested key breaks the original's lists.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use binlog_types::NodeId;
use etcd_client::{Client, Compare, CompareOp, ConnectOptions, GetOptions, Txn, TxnOp};
use parking_lot::Mutex;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::ClientTlsConfig;

use super::Listing;
use crate::backoff::Backoff;
use crate::endpoint::{CONNECT_LIMIT, normalize_all};
use crate::{Error, NodeKind, NodeStatus, TlsFiles};

const ROOT: &str = "/tidb-binlog/v1";
/// For one call at one endpoint.
const CALL_LIMIT: Duration = Duration::from_secs(3);
/// For one operation with all its repetitions.
const LIMIT: Duration = Duration::from_secs(10);
/// How often a write is repeated that somebody else overtook.
const RACES: usize = 5;

/// etcd behind several endpoints. The client library spreads calls over all of them and fails those that meet a dead one;
/// this stays with one endpoint while it works, and repeats at the next one what failed.
pub(super) struct Etcd {
    endpoints: Vec<Endpoint>,
    current: AtomicUsize,
    tls: Option<ClientTlsConfig>,
}

struct Endpoint {
    url: String,
    client: Mutex<Option<Client>>,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.endpoints.iter().map(|endpoint| &endpoint.url)).finish()
    }
}

impl Etcd {
    pub(super) fn new(urls: &[String], tls: Option<&TlsFiles>) -> Result<Self, Error> {
        let tls = tls.map(TlsFiles::load).transpose()?.flatten();
        let endpoints = normalize_all(urls, tls.is_some())?
            .into_iter()
            .map(|url| Endpoint { url, client: Mutex::new(None) })
            .collect();
        Ok(Etcd { endpoints, current: AtomicUsize::new(0), tls })
    }

    pub(super) async fn list(&self, kind: NodeKind) -> Result<Listing, Error> {
        let prefix = format!("{ROOT}/{}/", kind.folder());
        let mut response = self
            .call("list", |mut client| {
                let prefix = prefix.clone();
                async move { client.get(prefix, Some(GetOptions::new().with_prefix())).await }
            })
            .await?;
        let mut listing = Listing::default();
        for pair in response.take_kvs() {
            let key = String::from_utf8_lossy(pair.key()).into_owned();
            // A deeper key is not a node: other tools may keep theirs there.
            if key.strip_prefix(&prefix).is_none_or(|name| name.is_empty() || name.contains('/')) {
                continue;
            }
            match parse(pair.value()) {
                Ok(status) => listing.nodes.extend(status),
                Err(why) => listing.malformed.push((key, why)),
            }
        }
        Ok(listing)
    }

    pub(super) async fn get(&self, kind: NodeKind, id: &NodeId) -> Result<Option<NodeStatus>, Error> {
        let key = key(kind, id);
        let mut response = self.read(&key).await?;
        match response.take_kvs().first() {
            None => Ok(None),
            Some(pair) => parse(pair.value()).map_err(|why| Error::Malformed { key, why }),
        }
    }

    /// As the original writes: reads, then puts on the condition that the key is still there, or still is not.
    pub(super) async fn put(&self, kind: NodeKind, status: &NodeStatus) -> Result<(), Error> {
        let key = key(kind, &status.node_id);
        let value = serde_json::to_vec(status).expect("a node status has string keys, so it is JSON");
        for _ in 0..RACES {
            let there = !self.read(&key).await?.kvs().is_empty();
            let condition = if there { CompareOp::Greater } else { CompareOp::Equal };
            let txn = Txn::new()
                .when([Compare::mod_revision(key.as_str(), condition, 0)])
                .and_then([TxnOp::put(key.as_str(), value.as_slice(), None)]);
            let response = self
                .call("put", |mut client| {
                    let txn = txn.clone();
                    async move { client.txn(txn).await }
                })
                .await?;
            if response.succeeded() {
                return Ok(());
            }
        }
        Err(Error::Contended { key })
    }

    async fn read(&self, key: &str) -> Result<etcd_client::GetResponse, Error> {
        self.call("get", |mut client| {
            let key = key.to_owned();
            async move { client.get(key, None).await }
        })
        .await
    }

    /// Every call here may be repeated: reads are, and a put writes the same bytes again.
    async fn call<T, F, Fut>(&self, what: &'static str, send: F) -> Result<T, Error>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1), LIMIT);
        let mut failures = 0;
        loop {
            let at = self.current.load(Ordering::Relaxed) % self.endpoints.len();
            let endpoint = &self.endpoints[at];
            let attempt = async { send(self.client(endpoint).await?).await };
            let (why, fatal) = match timeout(CALL_LIMIT, attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => (error.to_string(), !is_transient(&error)),
                Err(_) => (format!("no answer within {CALL_LIMIT:?}"), false),
            };
            *endpoint.client.lock() = None;
            // Several callers that failed at one endpoint move on together, once.
            let next = (at + 1) % self.endpoints.len();
            let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
            failures += 1;
            let round_over = failures % self.endpoints.len() == 0;
            if fatal || (round_over && !backoff.wait(Duration::ZERO).await) {
                return Err(Error::Etcd {
                    what,
                    endpoint: endpoint.url.clone(),
                    waited: backoff.elapsed(),
                    why,
                });
            }
        }
    }

    async fn client(&self, endpoint: &Endpoint) -> Result<Client, etcd_client::Error> {
        if let Some(client) = endpoint.client.lock().as_ref() {
            return Ok(client.clone());
        }
        let mut options = ConnectOptions::new().with_connect_timeout(CONNECT_LIMIT);
        if let Some(tls) = &self.tls {
            options = options.with_tls(tls.clone());
        }
        let client = Client::connect([&endpoint.url], Some(options)).await?;
        *endpoint.client.lock() = Some(client.clone());
        Ok(client)
    }
}

fn key(kind: NodeKind, id: &NodeId) -> String {
    format!("{ROOT}/{}/{id}", kind.folder())
}

/// JSON `null` is no node and no error, as in the original.
fn parse(value: &[u8]) -> Result<Option<NodeStatus>, String> {
    serde_json::from_slice(value).map_err(|e| e.to_string())
}

fn is_transient(error: &etcd_client::Error) -> bool {
    match error {
        etcd_client::Error::IoError(_) | etcd_client::Error::TransportError(_) => true,
        etcd_client::Error::GRpcStatus(status) => !matches!(
            status.code(),
            Code::InvalidArgument | Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented
        ),
        _ => false,
    }
}
