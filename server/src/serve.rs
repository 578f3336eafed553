//! One port for gRPC and HTTP, its connections spread over single-threaded runtimes.
//!
//! A request is then served, stored and answered without another thread waking up for it alone; only batches cross to the
//! store's writer and back (see [`crate::bridge`]).

use std::net::TcpStream as StdTcp;
use std::os::unix::net::UnixStream as StdUnix;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use binlog_cli::tls::{Connection, Handshake};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bridge::Bridge;
use crate::context::Shared;
use crate::error::Error;
use crate::gate::Gate;

/// What a request that waits for its share of the budget may have sent. It is small, and the window of a connection as large as
/// can be, so that requests that wait do not take the connection from those that have their share.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
const FRAME_BYTES: u32 = 1 << 20;

/// A peer that is gone without a word is noticed, so that its stream does not stay for ever: by the system, since HTTP/2's own pings look at
/// the clock with every frame. It takes 80 s where nothing is on its way to the peer, and else as long as the system sends that again. One that
/// is there and takes nothing for a while is not gone.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 4;

/// An accepted connection before its handshake.
#[derive(Debug)]
enum Accepted {
    Tcp(StdTcp),
    /// Without TLS: only users of this machine get here.
    Unix(StdUnix),
}

/// The threads that serve connections.
#[derive(Debug)]
pub(crate) struct Services {
    ended: Vec<oneshot::Receiver<()>>,
}

/// Hands accepted connections to the threads.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: TcpListener,
    /// Besides, where a socket is configured.
    socket: Option<UnixListener>,
    threads: Vec<mpsc::UnboundedSender<Accepted>>,
}

impl Services {
    /// Starts the threads; they end when `stop` is cancelled and their requests are answered.
    ///
    /// # Errors
    /// When a thread or runtime cannot be made, or the TLS files cannot be used.
    pub(crate) fn start(
        context: &Shared,
        listener: TcpListener,
        socket: Option<UnixListener>,
    ) -> Result<(Self, Acceptor), Error> {
        let handshake = Handshake::new(&context.settings.security)?;
        let (mut ended, mut threads) = (Vec::new(), Vec::new());
        for n in 0..context.settings.service_threads {
            let (connections, end) = start_thread(n, context.clone(), handshake.clone())?;
            threads.push(connections);
            ended.push(end);
        }
        Ok((Services { ended }, Acceptor { listener, socket, threads }))
    }

    /// Waits for the threads to end; false when some still serve after `deadline`.
    pub(crate) async fn ended(self, deadline: Duration) -> bool {
        tokio::time::timeout(deadline, futures::future::join_all(self.ended)).await.is_ok()
    }
}

impl Acceptor {
    /// Hands connections to the threads in turn, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut turns = self.threads.iter().cycle();
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted.and_then(|(stream, _)| {
                    stream.set_nodelay(true)?;
                    probe(&stream)?;
                    stream.into_std().map(Accepted::Tcp)
                }),
                accepted = accept_on(self.socket.as_ref()) => accepted.map(Accepted::Unix),
            };
            match stream {
                Ok(stream) => {
                    if let Some(thread) = turns.next() {
                        // A thread that has ended takes none; the connection is closed.
                        let _ = thread.send(stream);
                    }
                }
                Err(error) => {
                    // Out of file descriptors, most likely: it passes when connections end.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Has the system look whether the peer of an idle connection is still there.
fn probe(stream: &TcpStream) -> std::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_INTERVAL)?;
    Ok(sockopt::set_tcp_keepcnt(stream, PROBES)?)
}

async fn accept_on(socket: Option<&UnixListener>) -> std::io::Result<StdUnix> {
    match socket {
        Some(socket) => socket.accept().await?.0.into_std(),
        None => std::future::pending().await,
    }
}

type Thread = (mpsc::UnboundedSender<Accepted>, oneshot::Receiver<()>);

fn start_thread(n: usize, context: Shared, handshake: Handshake) -> Result<Thread, Error> {
    let (connections, incoming) = mpsc::unbounded_channel();
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::system("make a service runtime"))?;
    context.metrics.runtime.watch(runtime.handle().clone());
    let serve = move || {
        runtime.block_on(serve(context, handshake, incoming));
        let _ = end.send(());
        // Reads that are still on their way need not be waited for.
        runtime.shutdown_background();
    };
    thread::Builder::new()
        .name(format!("serve-{n}"))
        .spawn(serve)
        .map_err(Error::system("start a service thread"))?;
    Ok((connections, ended))
}

async fn serve(context: Shared, handshake: Handshake, incoming: mpsc::UnboundedReceiver<Accepted>) {
    let stop = context.stop.clone();
    let bridge = Bridge::new();
    let bridge_stop = CancellationToken::new();
    let carrying = tokio::spawn(bridge.clone().run(context.store.clone(), bridge_stop.clone()));
    serve_connections(handshake, incoming, Gate::new(context, bridge), stop).await;
    bridge_stop.cancel();
    // It ends when the store has answered everything; a poisoned store answers at once.
    let _ = carrying.await;
}

/// Serves connections until `stop`, and then what they have under way. Each has a task: one whose handshake is slow keeps nobody waiting.
async fn serve_connections(
    handshake: Handshake,
    mut incoming: mpsc::UnboundedReceiver<Accepted>,
    gate: Gate,
    stop: CancellationToken,
) {
    let http = http();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = incoming.recv() => {
                let Some(accepted) = accepted else { break };
                let (http, handshake, gate, stop) = (http.clone(), handshake.clone(), gate.clone(), stop.clone());
                connections.spawn(async move {
                    let shaken = tokio::select! {
                        () = stop.cancelled() => return,
                        shaken = shake_hands(&handshake, accepted) => shaken,
                    };
                    match shaken {
                        Ok(connection) => serve_connection(&http, connection, gate, &stop).await,
                        Err(error) => tracing::warn!(error, "a connection was refused"),
                    }
                });
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn shake_hands(handshake: &Handshake, accepted: Accepted) -> Result<Connection, String> {
    match accepted {
        Accepted::Tcp(stream) => {
            handshake.accept(TcpStream::from_std(stream).map_err(|e| e.to_string())?).await
        }
        Accepted::Unix(stream) => {
            UnixStream::from_std(stream).map(Connection::Unix).map_err(|e| e.to_string())
        }
    }
}

async fn serve_connection(http: &Http, connection: Connection, gate: Gate, stop: &CancellationToken) {
    let mut serving = pin!(http.serve_connection(TokioIo::new(connection), gate));
    let served = tokio::select! {
        // What has work looks first.
        biased;
        served = &mut serving => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = with_causes(error.as_ref()), "a connection ends");
    }
}

type Http = auto::Builder<TokioExecutor>;

fn http() -> Http {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new());
    http.http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        // As grpc-go: it would be a header of every answer.
        .auto_date_header(false)
        // hyper's 200 would make the 201st waiting TiDB session queue in its client.
        .max_concurrent_streams(u32::MAX);
    http
}

/// An error with its causes: the transport's own text is just "transport error".
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
