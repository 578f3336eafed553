//! Starting and stopping a drainer, each in one place and in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use binlog_cli::{DirLock, HostPort, hostname, tls::Handshake};
use binlog_cluster::{Action, NodeState};
use binlog_sink::{Checkpoint, Sink, SinkOptions};
use binlog_types::{NodeId, SystemClock};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::apply::Applier;
use crate::cluster::Cluster;
use crate::context::Context;
use crate::ledger::FileLedger;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::settings::Settings;
use crate::{Config, Error, detect, fetch, registrar, serve};

/// Decoded batches between the fetching and the applying task; the byte budget bounds them further.
const QUEUE: usize = 16;
/// When a drainer stops, what is fetched already is applied for so long …
const HURRY: Duration = Duration::from_secs(10);
/// … and what the downstream is busy with may take so much longer.
const GRACE: Duration = Duration::from_secs(20);
/// How long the registry and open requests may take at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs a drainer until `shutdown`, until an operator pauses or closes it, or until it cannot go on.
///
/// # Errors
/// Why it did not start or could not go on; see [`Error::exit_code`].
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    Drainer::start(config).await?.until(shutdown).await
}

/// A running drainer. Dropping it without [`Drainer::until`] stops it as a crash would.
#[derive(Debug)]
pub struct Drainer {
    context: Arc<Context>,
    addr: SocketAddr,
    fetching: Task,
    applying: Task,
    heartbeat: Task,
    serving: Task,
    detecting: JoinHandle<()>,
    stop_serving: CancellationToken,
    claims: Claims,
}

/// What no other process may have while this one runs.
#[derive(Debug)]
struct Claims {
    /// Shows that the name is taken.
    name: JoinHandle<()>,
    /// Held to the very end.
    _data_dir: DirLock,
}

type Task = JoinHandle<Result<(), Error>>;

impl Drainer {
    /// Starts a drainer: when this returns, it is registered and replicates, or waits for pumps.
    ///
    /// # Errors
    /// Why it cannot start.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let mut settings = config.check(|name| std::env::var(name).ok())?;
        let data_dir = DirLock::take(&settings.data_dir)?;
        let (listener, addr) = listen(&settings.addr).await?;
        for address in [&mut settings.addr, &mut settings.advertise] {
            if address.port == 0 {
                address.port = addr.port();
            }
        }
        let id = match settings.node_id.clone() {
            Some(id) => id,
            None => {
                let name = hostname().map_err(|e| {
                    Error::Config(format!("this machine does not tell its name ({e}); set node-id"))
                })?;
                NodeId::new(&format!("{name}:{}", settings.addr.port))
                    .map_err(|e| Error::Config(format!("{e}; set node-id")))?
            }
        };
        let ledger = Arc::new(FileLedger::open(&settings.data_dir, settings.accepted.clone())?);
        let handshake = Handshake::new(&settings.security)?;
        let cluster = Cluster::find(&settings).await?;
        let clock = SystemClock::handle();
        let metrics = Metrics::new(clock.clone())?;
        metrics.runtime.watch(tokio::runtime::Handle::current());
        let sink = open_sink(&settings, &cluster, &metrics).await?;
        let checkpoint = sink.checkpoint().await.map_err(Error::OpenSink)?;
        tracing::info!(node_id = %id, %addr, cluster = %cluster.id, downstream = ?settings.target, ?checkpoint, "drainer starts");

        let (detect, asked) = mpsc::channel(16);
        let node = Node::new(id, settings.advertise.to_string());
        let context = Arc::new(Context::new(settings, cluster, node, metrics, ledger, clock, detect));
        if let Some(checkpoint) = &checkpoint {
            context.set_saved(checkpoint.commit_ts);
        }
        let heartbeat_error = |source| Error::Heartbeat { failures: 1, source };
        let mark = registrar::claim_name(&context).await.map_err(heartbeat_error)?;
        // Registered first, and the pumps are looked for after: one that comes in between finds us and notifies us.
        registrar::publish(&context).await.map_err(heartbeat_error)?;
        let name = tokio::spawn(registrar::keep_name(Arc::clone(&context), mark));
        let claims = Claims { name, _data_dir: data_dir };
        let listener = serve::Listener { listener, handshake };
        Ok(Self::spawn(context, addr, listener, asked, sink, checkpoint, claims))
    }

    fn spawn(
        context: Arc<Context>,
        addr: SocketAddr,
        listener: serve::Listener,
        asked: mpsc::Receiver<crate::context::Asked>,
        sink: Sink,
        checkpoint: Option<Checkpoint>,
        claims: Claims,
    ) -> Self {
        let (members, changes) = mpsc::channel(1);
        let (batches, fetched) = mpsc::channel(QUEUE);
        let stop_serving = CancellationToken::new();
        if let Some((address, interval)) = context.settings.push.clone() {
            let (context, stop) = (Arc::clone(&context), stop_serving.clone());
            tokio::spawn(async move {
                let metrics = Arc::clone(&context);
                let gather = move || metrics.metrics.text();
                let push = binlog_cli::push_metrics(&address, context.node.id.as_str(), interval, gather);
                stop.run_until_cancelled(push).await;
            });
        }
        let applier = Applier::new(Arc::clone(&context), sink, checkpoint);
        Drainer {
            addr,
            serving: tokio::spawn(serve::run(Arc::clone(&context), listener, stop_serving.clone())),
            detecting: tokio::spawn(detect::run(Arc::clone(&context), asked, members)),
            fetching: tokio::spawn(fetch::run(Arc::clone(&context), checkpoint, changes, batches)),
            applying: tokio::spawn(applier.run(fetched, HURRY)),
            heartbeat: tokio::spawn(registrar::heartbeat(Arc::clone(&context))),
            context,
            stop_serving,
            claims,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its name.
    pub fn node_id(&self) -> &NodeId {
        &self.context.node.id
    }

    /// The checkpoint as it was saved last; zero: none yet.
    pub fn checkpoint(&self) -> binlog_types::CommitTs {
        self.context.saved()
    }

    /// Everything at or below it is durable downstream; the checkpoint follows.
    pub fn applied(&self) -> binlog_types::CommitTs {
        self.context.applied()
    }

    /// What holds it back, for people.
    pub fn waits_for(&self) -> String {
        self.context.waits_for()
    }

    /// Replicates until `shutdown`, until an operator pauses or closes the node, or until something fails; then applies what was fetched, saves
    /// the checkpoint and says goodbye.
    ///
    /// # Errors
    /// What failed first.
    pub async fn until(mut self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let mut changes = self.context.node.changes();
        let mut failed = None;
        let (mut fetched, mut applied) = (false, false);
        tokio::select! {
            () = shutdown => { let _ = self.context.node.request(Action::Pause); }
            _ = changes.wait_for(|state| matches!(state, NodeState::Pausing | NodeState::Closing)) => {}
            end = &mut self.fetching => { fetched = true; failed = ended("fetch", end); }
            end = &mut self.applying => { applied = true; failed = ended("apply", end); }
            end = &mut self.heartbeat => failed = ended("heartbeat", end),
            end = &mut self.serving => failed = ended("serve", end),
        }
        if let Some(error) = &failed {
            let kind = match error {
                Error::Pull(_) => "pull",
                Error::Sink { .. } => "sink",
                _ => "other",
            };
            self.context.metrics.errors.with_label_values(&[kind]).inc();
            tracing::error!(%error, "drainer cannot go on");
        }
        let stopped = self.stop(fetched, applied).await;
        failed.map_or(stopped, Err)
    }

    /// In order: no more is fetched, what was fetched is applied and the checkpoint saved, the registry learns it, the port closes.
    async fn stop(mut self, fetched: bool, applied: bool) -> Result<(), Error> {
        self.context.stop.cancel();
        if let Err(error) = registrar::publish(&self.context).await {
            tracing::warn!(%error, "the registry does not know that this node is stopping");
        }
        let mut result = Ok(());
        if !fetched {
            // It is told to stop and drops what it was at; only what it failed with before counts.
            result = (&mut self.fetching).await.unwrap_or(Ok(()));
        }
        if !applied {
            match timeout(HURRY + GRACE, &mut self.applying).await {
                Ok(end) => result = result.and(ended("apply", end).map_or(Ok(()), Err)),
                Err(_) => {
                    tracing::warn!(
                        "the downstream did not take what was fetched in time; it will be applied from the checkpoint on after the next start"
                    );
                    self.applying.abort();
                }
            }
        }
        self.context.node.finish();
        match timeout(FAREWELL, registrar::publish(&self.context)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the registry does not know that this node has stopped")
            }
            Err(_) => {
                tracing::error!("the registry did not answer: it does not know that this node has stopped")
            }
        }
        self.detecting.abort();
        if timeout(FAREWELL, &mut self.claims.name).await.is_err() {
            self.claims.name.abort();
        }
        self.stop_serving.cancel();
        if timeout(FAREWELL, &mut self.serving).await.is_err() {
            self.serving.abort();
        }
        tracing::info!(state = %self.context.node.state(), checkpoint = %self.context.saved(), "drainer has stopped");
        result
    }
}

impl Drop for Drainer {
    fn drop(&mut self) {
        self.context.stop.cancel();
        self.stop_serving.cancel();
        for task in [&self.fetching, &self.applying, &self.heartbeat, &self.serving] {
            task.abort();
        }
        self.detecting.abort();
    }
}

/// Why a task ended; None: as it should.
fn ended(name: &'static str, end: Result<Result<(), Error>, JoinError>) -> Option<Error> {
    match end {
        Ok(result) => result.err(),
        Err(_) => Some(Error::TaskDied(name)),
    }
}

async fn listen(addr: &HostPort) -> Result<(TcpListener, SocketAddr), Error> {
    // Go's empty host means every address.
    let text = if addr.host.is_empty() { format!("0.0.0.0{addr}") } else { addr.to_string() };
    let failed = |source| Error::Listen { addr: text.clone(), source };
    let listener = TcpListener::bind(&text).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok((listener, addr))
}

async fn open_sink(settings: &Settings, cluster: &Cluster, metrics: &Metrics) -> Result<Sink, Error> {
    let options = SinkOptions {
        cluster: cluster.id,
        workers: settings.workers,
        batch_rows: settings.batch_rows,
        whole_transactions: settings.workers == 1,
        checkpoint_schema: settings.checkpoint_schema.clone(),
        checkpoint_table: settings.checkpoint_table.clone(),
        checkpoint_target: settings.checkpoint_target.clone(),
        marks: settings.marks,
        partial_columns: settings.partial_columns,
        lenient_ddl: true,
        watch: Some(metrics.watch()),
        checkpoint: true,
        recycle_bin: settings.recycle_bin.clone(),
    };
    Sink::open(&settings.target, options).await.map_err(Error::OpenSink)
}
