//! The registry in etcd, with fail-over between endpoints.
//!
//! `/tidb-binlog/v1/pumps/ID` and `…/drainers/ID` hold compact JSON. They have no leases and stay for ever. Nothing of ours lies
//! deeper, since a nested key breaks the original's lists: signs of life are under `/tidb-binlog/v1/alive/`, with a lease each.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use binlog_types::NodeId;
use etcd_client::{Client, Compare, CompareOp, ConnectOptions, GetOptions, PutOptions, Txn, TxnOp};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tonic::Code;

use super::{Life, Listing, life};
use crate::backoff::Backoff;
use crate::endpoint::{CONNECT_LIMIT, Tls, normalize, normalize_all};
use crate::{Error, NodeKind, NodeStatus, TlsFiles};

const ROOT: &str = "/tidb-binlog/v1";
/// For one call at one endpoint.
const CALL_LIMIT: Duration = Duration::from_secs(3);
/// For one operation with all its repetitions.
const LIMIT: Duration = Duration::from_secs(10);
/// How often a write is repeated that somebody else overtook.
const RACES: usize = 5;
/// How often etcd is asked for its members; the original's interval.
const MEMBERS_EVERY: Duration = Duration::from_secs(30);

/// etcd behind several endpoints. The client library spreads calls over all of them and fails those that meet a dead one;
/// this stays with one endpoint while it works, and repeats at the next one what failed. Members that were not configured are
/// learnt from those that answer.
pub(super) struct Etcd {
    endpoints: Mutex<Endpoints>,
    tls: Option<Arc<Tls>>,
}

struct Endpoints {
    all: Vec<Arc<Endpoint>>,
    current: usize,
    asked_for_members: Option<Instant>,
}

struct Endpoint {
    url: String,
    client: Mutex<Option<Client>>,
}

impl Endpoint {
    fn new(url: String) -> Arc<Self> {
        Arc::new(Endpoint { url, client: Mutex::new(None) })
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.endpoints.lock().all.iter().map(|endpoint| &endpoint.url)).finish()
    }
}

impl Etcd {
    pub(super) fn new(urls: &[String], tls: Option<&TlsFiles>) -> Result<Self, Error> {
        let tls = tls.map(TlsFiles::load).transpose()?.flatten();
        let all = normalize_all(urls, tls.is_some())?.into_iter().map(Endpoint::new).collect();
        Ok(Etcd { endpoints: Mutex::new(Endpoints { all, current: 0, asked_for_members: None }), tls })
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

    /// Takes a name under a new lease; its id.
    pub(super) async fn claim(&self, kind: NodeKind, own: &Life, ttl: Duration) -> Result<i64, Error> {
        let key = format!("{ROOT}/{}/{}/{}", life::FOLDER, kind.folder(), own.node_id);
        let value = serde_json::to_vec(own).expect("our own types have string keys, so they are JSON");
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        for _ in 0..RACES {
            let found = self.read(&key).await?;
            let known = found.kvs().first();
            // What cannot be read is nobody's.
            if let Some(other) = known.and_then(|kv| serde_json::from_slice::<Life>(kv.value()).ok())
                && !own.follows(&other)
            {
                return Err(Life::taken(&other));
            }
            let seen = known.map_or(0, |kv| kv.mod_revision());
            let granted = self
                .call("lease", |mut client| async move { client.lease_grant(seconds, None).await })
                .await?;
            let txn = Txn::new()
                .when([Compare::mod_revision(key.as_str(), CompareOp::Equal, seen)])
                .and_then([TxnOp::put(
                    key.as_str(),
                    value.as_slice(),
                    Some(PutOptions::new().with_lease(granted.id())),
                )]);
            let response = self
                .call("claim", |mut client| {
                    let txn = txn.clone();
                    async move { client.txn(txn).await }
                })
                .await?;
            if response.succeeded() {
                return Ok(granted.id());
            }
            self.release(granted.id()).await?;
        }
        Err(Error::Contended { key })
    }

    /// Renews a lease; false where it is gone.
    pub(super) async fn renew(&self, lease: i64) -> Result<bool, Error> {
        self.call("renew", |mut client| async move {
            let (mut keeper, mut answers) = match client.lease_keep_alive(lease).await {
                // The library's word for a lease that is gone.
                Err(etcd_client::Error::LeaseKeepAliveError(_)) => return Ok(false),
                opened => opened?,
            };
            keeper.keep_alive().await?;
            let answer = answers.message().await?;
            Ok(answer.is_some_and(|answer| answer.ttl() > 0))
        })
        .await
    }

    pub(super) async fn release(&self, lease: i64) -> Result<(), Error> {
        let revoked = self.call("release", |mut client| async move {
            match client.lease_revoke(lease).await {
                // Gone already is as good.
                Err(etcd_client::Error::GRpcStatus(status)) if status.code() == Code::NotFound => Ok(()),
                other => other.map(|_| ()),
            }
        });
        revoked.await
    }

    pub(super) async fn lives(&self, kind: NodeKind) -> Result<Vec<Life>, Error> {
        let prefix = format!("{ROOT}/{}/{}/", life::FOLDER, kind.folder());
        let response = self
            .call("list", |mut client| {
                let prefix = prefix.clone();
                async move { client.get(prefix, Some(GetOptions::new().with_prefix())).await }
            })
            .await?;
        Ok(response.kvs().iter().filter_map(|kv| serde_json::from_slice(kv.value()).ok()).collect())
    }

    /// Every call here may be repeated: reads are, a put writes the same bytes again, and a lease that nobody knows of ends by itself.
    async fn call<T, F, Fut>(&self, what: &'static str, send: F) -> Result<T, Error>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1), LIMIT);
        let mut failures = 0;
        loop {
            let (endpoint, count) = self.current();
            // Boxed: the client's futures are large, and every caller would carry them.
            let attempt = Box::pin(async { send(self.client(&endpoint).await?).await });
            let (why, fatal) = match timeout(CALL_LIMIT, attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => (error.to_string(), !is_transient(&error)),
                Err(_) => (format!("no answer within {CALL_LIMIT:?}"), false),
            };
            self.leave(&endpoint);
            failures += 1;
            let round_over = failures % count == 0;
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

    /// The endpoint to ask, and how many there are.
    fn current(&self) -> (Arc<Endpoint>, usize) {
        let endpoints = self.endpoints.lock();
        (Arc::clone(&endpoints.all[endpoints.current % endpoints.all.len()]), endpoints.all.len())
    }

    /// Goes on to the next endpoint, unless somebody else who failed here did so already.
    fn leave(&self, failed: &Arc<Endpoint>) {
        *failed.client.lock() = None;
        let mut endpoints = self.endpoints.lock();
        let at = endpoints.current % endpoints.all.len();
        if Arc::ptr_eq(&endpoints.all[at], failed) {
            endpoints.current = (at + 1) % endpoints.all.len();
        }
    }

    async fn client(&self, endpoint: &Endpoint) -> Result<Client, etcd_client::Error> {
        let known = endpoint.client.lock().clone();
        let client = match known {
            Some(client) => client,
            None => {
                let mut options = ConnectOptions::new().with_connect_timeout(CONNECT_LIMIT);
                if let Some(tls) = &self.tls {
                    options = options.with_tls(tls.config());
                }
                let client = Box::pin(Client::connect([&endpoint.url], Some(options))).await?;
                *endpoint.client.lock() = Some(client.clone());
                client
            }
        };
        if self.is_time_for_members() {
            Box::pin(self.learn_members(client.clone())).await;
        }
        Ok(client)
    }

    fn is_time_for_members(&self) -> bool {
        let mut endpoints = self.endpoints.lock();
        let due = endpoints.asked_for_members.is_none_or(|last| last.elapsed() >= MEMBERS_EVERY);
        if due {
            endpoints.asked_for_members = Some(Instant::now());
        }
        due
    }

    /// Adds members that nobody configured. Those that left are kept: they only cost a failed attempt.
    async fn learn_members(&self, mut client: Client) {
        let members = match timeout(CALL_LIMIT, Box::pin(client.member_list())).await {
            Ok(Ok(members)) => members,
            Ok(Err(error)) => return tracing::debug!(%error, "etcd does not name its members"),
            Err(_) => return,
        };
        let mut endpoints = self.endpoints.lock();
        for url in members.members().iter().flat_map(|member| member.client_urls()) {
            let Ok(url) = normalize(url, self.tls.is_some()) else { continue };
            if endpoints.all.iter().all(|known| known.url != url) {
                tracing::info!(%url, "learnt of another member of etcd");
                endpoints.all.push(Endpoint::new(url));
            }
        }
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
