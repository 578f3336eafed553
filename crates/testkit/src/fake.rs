//! PD, TiKV and etcd at one URL, as a real PD serves them (TiKV aside, which any port does).

mod etcd_proxy;
pub(crate) mod history;
mod keys;
mod listen;
mod oracle;
mod pd;
mod regions;
mod store;
mod tikv;
mod txns;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use binlog_proto::binlog::Binlog;
use binlog_proto::kvrpcpb::MvccInfo;
use binlog_proto::pdpb::pd_server::PdServer;
use binlog_proto::tikvpb::tikv_server::TikvServer;
use binlog_types::{ClusterId, StartTs, Ts};
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::oneshot;
use tokio_rustls::rustls::ServerConfig;
use tonic::service::Routes;

pub use self::regions::RegionFault;
pub use self::txns::Outcome;
use crate::{Authority, Etcd, fixtures};

/// A fake cluster over the real protocols. It runs on a thread of its own; dropping it ends it.
#[derive(Debug)]
pub struct FakeCluster {
    state: Arc<State>,
    etcd: Option<Etcd>,
    tls: Option<Arc<ServerConfig>>,
    members: Vec<Member>,
}

/// One process of PD.
#[derive(Debug)]
struct Member {
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    /// Serves the shared state at a port of its own, as the member that this URL names.
    fn start(
        listener: TcpListener,
        state: &Arc<State>,
        etcd: Option<&Etcd>,
        tls: Option<Arc<ServerConfig>>,
    ) -> anyhow::Result<Self> {
        let url = url_of(&listener, tls.is_some())?;
        let (stop, stopped) = oneshot::channel();
        let (shared, own) = (Arc::clone(state), url.clone());
        let authority = etcd.map(|etcd| format!("127.0.0.1:{}", etcd.port()));
        let thread = std::thread::Builder::new().name("fake-cluster".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime for the fake cluster");
            runtime.block_on(async move {
                tokio::select! {
                    () = serve(listener, shared, own, authority, tls) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Member { url, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct State {
    url: String,
    cluster_id: ClusterId,
    oracle: oracle::Oracle,
    map: Mutex<store::VersionedMap>,
    regions: Mutex<regions::Regions>,
    txns: Mutex<txns::Txns>,
    locks: Mutex<BTreeMap<Bytes, Lock>>,
    safe_points: Mutex<BTreeMap<String, Ts>>,
    gc_safe_point: AtomicU64,
    other_members: Mutex<Vec<String>>,
    /// The client URL of the member that leads; every other one refuses.
    leader: Mutex<String>,
    faults: Mutex<Faults>,
    calls: Mutex<BTreeMap<&'static str, u64>>,
    /// Reads and writes of etcd's keys: method and message.
    etcd_requests: Mutex<Vec<(String, Bytes)>>,
    /// As [`FakeCluster::answer_as_unistore`].
    unistore: AtomicBool,
}

impl State {
    fn count(&self, method: &'static str) {
        *self.calls.lock().entry(method).or_default() += 1;
    }
}

#[derive(Debug)]
struct Lock {
    start_ts: StartTs,
    /// So many reads meet it, then it is gone.
    reads: Option<u32>,
}

#[derive(Debug, Default)]
struct Faults {
    pd: u32,
    regions: VecDeque<RegionFault>,
    delays: VecDeque<Duration>,
}

impl Faults {
    fn take_pd(&mut self) -> bool {
        let fails = self.pd > 0;
        self.pd -= u32::from(fails);
        fails
    }

    fn take_region(&mut self) -> (Option<RegionFault>, Option<Duration>) {
        (self.regions.pop_front(), self.delays.pop_front())
    }
}

impl FakeCluster {
    /// An empty cluster with an etcd.
    ///
    /// # Errors
    /// When etcd does not come up.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(ClusterId(7_710_990_007_694_325_283), Some(Etcd::start()?))
    }

    /// An empty cluster without etcd; starts at once.
    ///
    /// # Errors
    /// When no port is free.
    pub fn without_etcd() -> anyhow::Result<Self> {
        Self::start_with(ClusterId(7_710_990_007_694_325_283), None)
    }

    /// The cluster of a capture, with its schema by time: nothing of it is visible until [`Self::advance`], and timestamps stand
    /// just before its first commit. A [`crate::Replayer`] moves both on.
    ///
    /// # Errors
    /// When the capture cannot be read, or etcd does not come up.
    pub fn for_fixture(name: &str) -> anyhow::Result<Self> {
        let first = fixtures::writes(name)?.into_iter().next().context("an empty capture")?;
        let cluster = Self::start_with(ClusterId(first.cluster_id), Some(Etcd::start()?))?;
        cluster.load_meta(name)?;
        // The clock of this machine is past all commits that are still to come: an idle pump must not hear of it.
        cluster.hold_tso(Ts::new(Binlog::decode(first.payload)?.start_ts.max(1) as u64).prev());
        for answer in fixtures::mvcc(name).unwrap_or_default() {
            cluster.set_mvcc(answer.key, answer.response.info.unwrap_or_default());
        }
        Ok(cluster)
    }

    /// A cluster with this id and, if any, this etcd.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start_with(cluster_id: ClusterId, etcd: Option<Etcd>) -> anyhow::Result<Self> {
        Self::launch(cluster_id, etcd, None)
    }

    /// As [`Self::start`], behind TLS: clients need a certificate of this authority.
    ///
    /// # Errors
    /// When etcd does not come up.
    pub fn start_tls(authority: &Authority) -> anyhow::Result<Self> {
        let id = ClusterId(7_710_990_007_694_325_283);
        Self::launch(id, Some(Etcd::start()?), Some(authority.server()?))
    }

    fn launch(
        cluster_id: ClusterId,
        etcd: Option<Etcd>,
        tls: Option<Arc<ServerConfig>>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let url = url_of(&listener, tls.is_some())?;
        let state = Arc::new(State {
            leader: Mutex::new(url.clone()),
            url,
            cluster_id,
            oracle: oracle::Oracle::new(),
            map: Mutex::default(),
            regions: Mutex::default(),
            txns: Mutex::default(),
            locks: Mutex::default(),
            safe_points: Mutex::default(),
            gc_safe_point: AtomicU64::new(0),
            other_members: Mutex::default(),
            faults: Mutex::default(),
            calls: Mutex::default(),
            etcd_requests: Mutex::default(),
            unistore: AtomicBool::new(false),
        });
        let first = Member::start(listener, &state, etcd.as_ref(), tls.clone())?;
        Ok(FakeCluster { state, etcd, tls, members: vec![first] })
    }

    /// Starts one more member of PD, which does not lead; its URL.
    ///
    /// # Errors
    /// When no port is free.
    pub fn add_member(&mut self) -> anyhow::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let member = Member::start(listener, &self.state, self.etcd.as_ref(), self.tls.clone())?;
        let url = member.url.clone();
        self.state.other_members.lock().push(url.clone());
        self.members.push(member);
        Ok(url)
    }

    /// Ends the member at `url`, as a crash would; its connections break.
    pub fn stop_member(&mut self, url: &str) {
        self.members.retain(|member| member.url != url);
    }

    /// The member at `url` leads from now on.
    pub fn elect(&self, url: &str) {
        url.clone_into(&mut self.state.leader.lock());
    }

    /// One URL for PD, etcd and TiKV, as for `-pd-urls`.
    pub fn url(&self) -> String {
        self.state.url.clone()
    }

    /// Its id.
    pub fn cluster_id(&self) -> ClusterId {
        self.state.cluster_id
    }

    /// Its etcd.
    pub fn etcd(&mut self) -> Option<&mut Etcd> {
        self.etcd.as_mut()
    }

    /// TiKV answers as TiDB's own storage node does: a key that is not there has an empty value.
    pub fn answer_as_unistore(&self) {
        self.state.unistore.store(true, Ordering::Relaxed);
    }

    /// The reads and writes of etcd's keys since the last call, as they came: method (`/etcdserverpb.KV/Txn`, …) and message.
    pub fn take_etcd_requests(&self) -> Vec<(String, Bytes)> {
        std::mem::take(&mut self.state.etcd_requests.lock())
    }

    /// How often a gRPC method (`KvGet`, `Tso`, …) was called.
    pub fn calls(&self, method: &str) -> u64 {
        self.state.calls.lock().get(method).copied().unwrap_or(0)
    }

    /// A timestamp, as PD hands them out.
    pub fn now(&self) -> Ts {
        self.state.oracle.take(1)
    }

    /// Timestamps handed out from now on are above `ts`.
    pub fn set_tso_floor(&self, ts: Ts) {
        self.state.oracle.set_floor(ts);
    }

    /// Timestamps stop following the clock and do not pass `ts`: they rise by one from the last one or the floor, and stand when
    /// they reach it.
    pub fn hold_tso(&self, ts: Ts) {
        self.state.oracle.set_ceiling(Some(ts));
    }

    /// Timestamps follow the clock again.
    pub fn release_tso(&self) {
        self.state.oracle.set_ceiling(None);
    }

    /// Loads a capture's schema; see [`Self::for_fixture`]. The map is cut into five regions.
    ///
    /// # Errors
    /// When the capture cannot be read.
    pub fn load_meta(&self, name: &str) -> anyhow::Result<()> {
        let (_, versions) = history::load(name)?;
        let cuts = {
            let mut map = self.state.map.lock();
            for ((key, at), value) in versions {
                map.put(key, at, value);
            }
            map.hide_all();
            map.cuts(5)
        };
        self.state.regions.lock().cut(cuts);
        Ok(())
    }

    /// Shows what was committed up to `ts`; timestamps rise above it.
    pub fn advance(&self, ts: Ts) {
        self.state.map.lock().show_through(ts);
        self.set_tso_floor(ts);
    }

    /// Shows everything that was loaded.
    pub fn show_all(&self) {
        self.state.map.lock().show_through(Ts::MAX);
    }

    /// Puts (or, with `None`, deletes) a key from `at` on.
    pub fn put(&self, key: impl Into<Bytes>, at: Ts, value: Option<&[u8]>) {
        self.state.map.lock().put(key.into(), at, value.map(Bytes::copy_from_slice));
    }

    /// Locks a key; so many `reads` meet the lock before it goes, or all of them.
    pub fn lock(&self, key: impl Into<Bytes>, start_ts: StartTs, reads: Option<u32>) {
        self.state.locks.lock().insert(key.into(), Lock { start_ts, reads });
    }

    /// Cuts the key space into new regions at these plain keys: what clients know is out of date.
    pub fn cut_regions(&self, keys: &[&[u8]]) {
        self.state.regions.lock().cut(keys.iter().map(|key| key.to_vec()).collect());
    }

    /// Makes another store the leader of all regions.
    pub fn move_leaders(&self) {
        self.state.regions.lock().move_leaders();
    }

    /// The next calls to TiKV meet these faults, one each.
    pub fn fail_regions(&self, faults: impl IntoIterator<Item = RegionFault>) {
        self.state.faults.lock().regions.extend(faults);
    }

    /// The next call to TiKV is answered after `delay`.
    pub fn delay_store(&self, delay: Duration) {
        self.state.faults.lock().delays.push_back(delay);
    }

    /// The next `n` calls to PD (timestamps included) are refused as by a member that is no leader.
    pub fn fail_pd(&self, n: u32) {
        self.state.faults.lock().pd = n;
    }

    /// More members, as `GetMembers` names them.
    pub fn set_other_members(&self, urls: &[&str]) {
        *self.state.other_members.lock() = urls.iter().map(|url| (*url).to_owned()).collect();
    }

    /// What TiKV knows about a transaction.
    pub fn set_txn(&self, primary: impl Into<Bytes>, start_ts: StartTs, outcome: Outcome) {
        self.state.txns.lock().set(primary.into(), start_ts, outcome);
    }

    /// What TiKV knows about a transaction by now; questions may have changed it.
    pub fn txn(&self, primary: &[u8], start_ts: StartTs) -> Option<Outcome> {
        self.state.txns.lock().get(primary, start_ts)
    }

    /// A whole answer to `MvccGetByKey`.
    pub fn set_mvcc(&self, key: impl Into<Bytes>, info: MvccInfo) {
        self.state.txns.lock().set_answer(key.into(), info);
    }

    /// TiKV has collected garbage up to here, as PD tells. What became of older transactions is to be forgotten besides: by not setting it.
    pub fn set_gc_safe_point(&self, ts: Ts) {
        self.state.gc_safe_point.store(ts.raw(), Ordering::Relaxed);
    }

    /// The service safe points that are set, by service.
    pub fn service_safe_points(&self) -> BTreeMap<String, Ts> {
        self.state.safe_points.lock().clone()
    }
}

fn url_of(listener: &TcpListener, tls: bool) -> anyhow::Result<String> {
    listener.set_nonblocking(true)?;
    Ok(format!("{}://{}", if tls { "https" } else { "http" }, listener.local_addr()?))
}

async fn serve(
    listener: TcpListener,
    state: Arc<State>,
    own: String,
    etcd: Option<String>,
    tls: Option<Arc<ServerConfig>>,
) {
    let proxy = etcd_proxy::EtcdProxy::new(etcd, Arc::clone(&state));
    let router = Routes::new(PdServer::new(pd::PdService { state: Arc::clone(&state), own }))
        .add_service(TikvServer::new(tikv::TikvService { state }))
        .into_axum_router()
        .fallback(move |request| proxy.clone().pass(request));
    let listener = listen::Listener::new(listener, tls).expect("a listener for the fake cluster");
    axum::serve(listener, router).await.expect("the fake cluster serves");
}
