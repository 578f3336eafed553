//! Starting and stopping a pump, each in one place and in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use binlog_cluster::{
    Action, EmbeddedCluster, NodeKind, NodeState, NodeStatus, Oracle, PdClient, Registry, TikvClient,
    TlsFiles,
};
use binlog_storage::{Options, Store};
use binlog_types::{ClockHandle, ClusterId, NodeId, SystemClock};
use futures::FutureExt;
use tokio::net::{TcpSocket, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::config::{Config, Settings};
use crate::context::{Context, Counts, DiskSpace, GcTrigger, SchemaHub, Shared};
use crate::data_dir::{DataDir, original};
use crate::drain::{self, Drain, Drained};
use crate::error::{Error, START_TSO};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::oracle::{self, TimeSource};
use crate::serve::Services;
use crate::watermark::WatermarkHub;
use crate::{follower, gc, idle, peers, registrar, resolver, tick};

/// How long open requests may take when the pump stops.
const SERVICE_DEADLINE: Duration = Duration::from_secs(10);
/// What requests may take at once: far more than fit into a batch of the store, and far less than would hurt.
const REQUESTS_MIB: u32 = 256;
const PUBLISH_DEADLINE: Duration = Duration::from_secs(2);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Of ten seconds each.
const PD_TRIES: u32 = 10;
const DUTIES_DEADLINE: Duration = Duration::from_secs(5);

/// Runs a pump until `shutdown` or until an operator pauses or closes it.
///
/// # Errors
/// Why it did not start, or did not stop cleanly.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let shutdown = shutdown.shared();
    match start_unless(config, shutdown.clone()).await {
        Ok(running) => running.until(shutdown).await,
        Err(Error::Interrupted) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A pump that serves.
#[derive(Debug)]
pub struct Running {
    context: Shared,
    addr: SocketAddr,
    services: Services,
    duties: JoinSet<()>,
    /// Holds the lock of the data directory to the very end.
    _data_dir: DataDir,
}

/// The cluster as it was found.
struct Surroundings {
    cluster: ClusterId,
    registry: Registry,
    /// None with PD.
    embedded: Option<EmbeddedCluster>,
    /// None without PD.
    pd: Option<PdClient>,
}

/// Starts a pump: when this returns, it is online.
///
/// # Errors
/// Why it cannot start. Nothing is left running.
pub async fn start(config: Config) -> Result<Running, Error> {
    start_unless(config, std::future::pending()).await
}

/// Starts, unless `shutdown` comes while PD or the drainers are waited for.
async fn start_unless(config: Config, shutdown: impl Future<Output = ()>) -> Result<Running, Error> {
    // Fused, since it is looked at more than once.
    let mut shutdown = std::pin::pin!(shutdown.fuse());
    let mut settings = config.check()?;
    let clock = SystemClock::handle();
    let data_dir = DataDir::lock(&settings.data_dir)?;
    let (port, addr) = bind(&settings).await?;
    if settings.addr.port == 0 {
        settings.addr.port = addr.port();
    }
    if settings.advertise.port == 0 {
        settings.advertise.port = addr.port();
    }
    let node_id = data_dir.node_id(settings.node_id.as_ref(), &settings.addr)?;
    let surroundings = tokio::select! {
        found = find_cluster(&settings) => found?,
        () = &mut shutdown => return Err(Error::Interrupted),
    };
    let own = surroundings
        .registry
        .get(NodeKind::Pump, &node_id)
        .await
        .map_err(Error::cluster("read this node's entry in the registry"))?;
    refuse_unread(&data_dir, &surroundings, own.clone()).await?;
    let metrics = Metrics::new().map_err(metrics_error)?;
    metrics.runtime.watch(tokio::runtime::Handle::current());
    let mut options = Options::new(surroundings.cluster, node_id.clone(), clock.clone());
    options.tuning.observer = metrics.batch_observer();
    let store = open_store(&data_dir, &settings, options).await?;
    let stop = CancellationToken::new();
    let time = time_source(&surroundings, &store, &node_id, &settings, &clock, stop.clone())?;
    let previous = own.map_or(NodeState::Offline, |status| status.state);
    let budget = Budget::new(REQUESTS_MIB);
    metrics.watch(store.clone(), budget.clone()).map_err(metrics_error)?;
    let context = Arc::new(Context {
        cluster: surroundings.cluster,
        embedded: surroundings.embedded.is_some(),
        node: Node::new(node_id, settings.advertise.to_string(), previous),
        registry: surroundings.registry,
        time,
        tikv: surroundings.pd.clone().map(TikvClient::new),
        watermark: WatermarkHub::new(&store),
        schema: SchemaHub::new(&store, clock.clone()),
        metrics,
        disk: DiskSpace::new(settings.stop_write_at),
        gc: GcTrigger::default(),
        drain: Drain::default(),
        counts: Counts::default(),
        budget,
        oversize: Arc::new(Semaphore::new(1)),
        registration_ts: AtomicU64::new(0),
        stop,
        clock,
        store,
        settings,
    });
    // Only now that requests can be answered: until then TiDB is to be refused, and takes another pump, not kept waiting.
    let listener = port
        .listen(BACKLOG)
        .map_err(|cause| Error::Listen { addr: context.settings.addr.to_string(), cause })?;
    let socket = context.settings.socket.as_deref().map(listen_on_socket).transpose()?;
    let (services, acceptor) = Services::start(&context, listener, socket)?;
    let mut duties = JoinSet::new();
    duties.spawn(acceptor.run(context.stop.clone()));
    let mut running = Running { context: context.clone(), addr, services, duties, _data_dir: data_dir };
    let online = tokio::select! {
        online = running.go_online(surroundings.pd, surroundings.embedded) => online,
        () = &mut shutdown => Err(Error::Interrupted),
    };
    if let Err(error) = online {
        running.stop().await?;
        return Err(error);
    }
    tracing::info!(node_id = %context.node.id(), %addr, cluster = %context.cluster, "pump is online");
    Ok(running)
}

fn metrics_error(error: prometheus::Error) -> Error {
    Error::Config(format!("metrics: {error}"))
}

/// Takes the address without listening there yet.
async fn bind(settings: &Settings) -> Result<(TcpSocket, SocketAddr), Error> {
    let addr = settings.addr.to_string();
    // Go's empty host means every address.
    let bind = if settings.addr.host.is_empty() { format!("0.0.0.0{addr}") } else { addr.clone() };
    let failed = |cause| Error::Listen { addr: addr.clone(), cause };
    let mut last = std::io::ErrorKind::AddrNotAvailable.into();
    for addr in tokio::net::lookup_host(bind).await.map_err(failed)? {
        match bind_to(addr) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn bind_to(addr: SocketAddr) -> std::io::Result<(TcpSocket, SocketAddr)> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the process before may linger.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    let addr = socket.local_addr()?;
    Ok((socket, addr))
}

async fn find_cluster(settings: &Settings) -> Result<Surroundings, Error> {
    if let Some(dir) = &settings.cluster_dir {
        let cluster =
            EmbeddedCluster::open_or_create(dir).map_err(Error::cluster("open the cluster directory"))?;
        return Ok(Surroundings {
            cluster: cluster.cluster_id(),
            registry: cluster.registry(),
            embedded: Some(cluster),
            pd: None,
        });
    }
    let security = &settings.security;
    let tls = (!security.ssl_ca.is_empty()).then(|| TlsFiles {
        ca: security.ssl_ca.clone(),
        cert: security.ssl_cert.clone(),
        key: security.ssl_key.clone(),
    });
    let pd = find_pd(settings, tls.as_ref()).await?;
    let registry = Registry::etcd(&settings.pd_urls, tls.as_ref())
        .await
        .map_err(Error::cluster("connect to PD's etcd"))?;
    Ok(Surroundings { cluster: pd.cluster_id(), registry, embedded: None, pd: Some(pd) })
}

/// Whole sites start in any order: PD may come up later than its pumps. The original's patience.
async fn find_pd(settings: &Settings, tls: Option<&TlsFiles>) -> Result<PdClient, Error> {
    let mut tries = 1;
    loop {
        match PdClient::connect(&settings.pd_urls, tls).await {
            Ok(pd) => return Ok(pd),
            // Each one takes ten seconds.
            Err(error) if error.is_retryable() && tries < PD_TRIES => {
                tracing::warn!(%error, tries, "PD is waited for");
                tries += 1;
            }
            Err(error) => return Err(Error::cluster("connect to PD")(error)),
        }
    }
}

/// An original pump's files are left behind only if nobody needs them any more.
async fn refuse_unread(
    data_dir: &DataDir,
    surroundings: &Surroundings,
    own: Option<NodeStatus>,
) -> Result<(), Error> {
    if original::has_passed(data_dir.path())? {
        return Ok(());
    }
    let drainers = surroundings
        .registry
        .all(NodeKind::Drainer)
        .await
        .map_err(Error::cluster("find out what drainers have read of the original pump's files"))?;
    let (dir, readers) = (data_dir.path().to_owned(), original::Readers { own, drainers });
    tokio::task::spawn_blocking(move || original::check(&dir, &readers))
        .await
        .map_err(|e| Error::system("read the original's files")(std::io::Error::other(e)))?
}

/// A socket that a dead process left is taken over; a living one's is not.
fn listen_on_socket(path: &Path) -> Result<UnixListener, Error> {
    let failed = |cause| Error::Listen { addr: display(path), cause };
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(failed(std::io::ErrorKind::AddrInUse.into())),
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)?;
        }
        Err(_) => {}
    }
    UnixListener::bind(path).map_err(failed)
}

async fn open_store(data_dir: &DataDir, settings: &Settings, mut options: Options) -> Result<Store, Error> {
    let dir = data_dir.store();
    options.retention = settings.gc;
    options.sync = settings.sync;
    if !settings.sync {
        tracing::warn!("storage.sync-log is false: a power failure loses acknowledged binlogs");
    }
    let opened = {
        let dir = dir.clone();
        tokio::task::spawn_blocking(move || Store::open(&dir, options)).await
    };
    match opened {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(binlog_storage::Error::WrongCluster { stored, given })) => {
            Err(Error::OtherCluster { dir: data_dir.path().to_owned(), stored, own: given })
        }
        Ok(Err(cause)) => Err(Error::Store { action: "open the store", cause }),
        Err(panic) => Err(Error::system("open the store")(std::io::Error::other(panic))),
    }
}

fn time_source(
    surroundings: &Surroundings,
    store: &Store,
    node_id: &NodeId,
    settings: &Settings,
    clock: &ClockHandle,
    stop: CancellationToken,
) -> Result<TimeSource, Error> {
    let Some(cluster) = &surroundings.embedded else {
        let Some(pd) = surroundings.pd.clone() else {
            return Err(Error::Config("neither PD nor a cluster directory is configured".to_owned()));
        };
        return Ok(TimeSource::remote(Oracle::pd(pd), stop));
    };
    let seat = cluster
        .claim_oracle(node_id, &settings.advertise.to_string())
        .map_err(Error::cluster("claim the oracle of the cluster directory"))?;
    let time = TimeSource::remote(Oracle::embedded(cluster), stop);
    if let Some(seat) = seat {
        time.take_seat(seat, store, clock);
    }
    Ok(time)
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

impl Running {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its name.
    pub fn node_id(&self) -> &NodeId {
        self.context.node.id()
    }

    /// Its cluster.
    pub fn cluster_id(&self) -> ClusterId {
        self.context.cluster
    }

    async fn go_online(
        &mut self,
        pd: Option<PdClient>,
        embedded: Option<EmbeddedCluster>,
    ) -> Result<(), Error> {
        let context = &self.context;
        let now = context.time.now().await.map_err(|e| match e {
            oracle::OracleError::Remote(cause) => Error::Cluster { action: START_TSO, cause },
            other => Error::Config(format!("{START_TSO}: {other}")),
        })?;
        let mark = registrar::claim_name(context).await?;
        self.duties.spawn(registrar::keep_name(context.clone(), mark));
        // Drainers wait for this pump from the moment that they know of it, which is long before the last of them was told.
        self.duties.spawn(idle::run(context.clone()));
        registrar::register(context, now).await?;
        if let Some(cluster) = embedded {
            self.duties.spawn(oracle::watch_seat(context.clone(), cluster));
        }
        self.duties.spawn(tick::run(context.clone()));
        self.duties.spawn(registrar::heartbeat(context.clone(), now));
        self.duties.spawn(idle::watch_disk(context.clone()));
        self.duties.spawn(gc::run(context.clone()));
        self.duties.spawn(peers::run(context.clone()));
        if let Some((address, interval)) = context.settings.push.clone() {
            let (context, stop) = (context.clone(), context.stop.clone());
            self.duties.spawn(async move {
                let metrics = context.clone();
                let gather = move || metrics.metrics.expose().unwrap_or_else(|e| format!("# {e}\n"));
                let instance = context.node.id().as_str();
                let push = binlog_cli::push_metrics(&address, instance, interval, gather);
                stop.run_until_cancelled(push).await;
            });
        }
        if let Some(pd) = pd {
            self.duties.spawn(resolver::run(context.clone(), pd.clone()));
            self.duties.spawn(resolver::protect(context.clone(), pd.clone()));
            self.duties.spawn(follower::run(context.clone(), pd));
        }
        Ok(())
    }

    /// Serves until `shutdown`, or until an operator pauses or closes the node; then stops.
    ///
    /// # Errors
    /// When the store cannot be closed cleanly.
    pub async fn until(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let context = self.context.clone();
        let mut changes = context.node.changes();
        // Fused, since it is looked at again after it ended.
        let mut shutdown = std::pin::pin!(shutdown.fuse());
        tokio::select! {
            () = &mut shutdown => {
                tracing::info!("got a signal to stop");
                // An order that came first is on its way already.
                let _ = context.node.request(Action::Pause);
            }
            _ = changes.wait_for(|state| matches!(state, NodeState::Pausing | NodeState::Closing)) => {}
        }
        if context.node.state() == NodeState::Closing {
            tokio::select! {
                drained = drain::drained(&context) => match drained {
                    Drained::All => {}
                    Drained::Forced(waiting) => {
                        tracing::error!(?waiting, "forced to go offline: the drainers that are named miss what they have not read, and open transactions are lost");
                    }
                    Drained::TimedOut(waiting) => {
                        tracing::warn!(?waiting, "the time to wait for drainers is over: the node stays in the cluster as paused");
                        context.node.enter(NodeState::Pausing);
                    }
                },
                () = &mut shutdown => {
                    tracing::warn!("stopped before every drainer had read everything: the node stays in the cluster as paused");
                    context.node.enter(NodeState::Pausing);
                }
            }
        }
        self.stop().await
    }

    /// Stops in order: no new work, streams end, open requests are answered, duties end, the registry learns it, the store closes.
    async fn stop(mut self) -> Result<(), Error> {
        let context = self.context;
        // TiDB chooses another pump as soon as it sees the state, so it learns it before this one stops to answer.
        if context.registration_ts().raw() > 0 {
            let told = registrar::publish(&context, context.store.watermark().ts());
            if !matches!(tokio::time::timeout(PUBLISH_DEADLINE, told).await, Ok(Ok(()))) {
                tracing::warn!("the registry does not know yet that this node stops");
            }
        }
        context.stop.cancel();
        if !self.services.ended(SERVICE_DEADLINE).await {
            tracing::warn!("some requests were still open after {SERVICE_DEADLINE:?}");
        }
        let duties = async { while self.duties.join_next().await.is_some() {} };
        if tokio::time::timeout(DUTIES_DEADLINE, duties).await.is_err() {
            self.duties.abort_all();
        }
        let registered = context.registration_ts().raw() > 0;
        if registered {
            context.node.finish();
            // Without the time, it is said to have been here as long as what it holds shows.
            let held = || context.store.watermark().max(context.store.max_commit_ts()).ts();
            let now = context.time.last().await.unwrap_or_else(held);
            if let Err(error) = registrar::publish(&context, now).await {
                tracing::error!(%error, "the registry does not know that this node has stopped");
            }
        }
        context.time.leave_seat();
        if let Some(socket) = &context.settings.socket {
            // Left over, it would only be taken over by the next start.
            let _ = std::fs::remove_file(socket);
        }
        let store = context.store.clone();
        match tokio::task::spawn_blocking(move || store.close()).await {
            Ok(closed) => closed.map_err(Error::store("close the store"))?,
            Err(panic) => return Err(Error::system("close the store")(std::io::Error::other(panic))),
        }
        tracing::info!(state = ?context.node.state(), "pump has stopped");
        Ok(())
    }
}
