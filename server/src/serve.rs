//! One port for gRPC and HTTP, its connections spread over single-threaded runtimes.
//!
//! A request is then served, stored and answered without another thread waking up for it alone; only batches cross to the
//! store's writer and back (see [`crate::bridge`]).

use std::convert::Infallible;
use std::net::TcpStream as StdTcp;
use std::os::unix::net::UnixStream as StdUnix;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::thread;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use binlog_cli::tls::{Connection, Handshake};
use binlog_proto::binlog::pump_server::PumpServer;
use binlog_proto::store::store_server::StoreServer;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body as Received;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::bridge::Bridge;
use crate::budget::Budget;
use crate::context::Shared;
use crate::error::Error;
use crate::grpc::{PumpService, StoreService, oversize_as_the_original};
use crate::http;

/// What a request that waits for its share of the budget may have sent. It is small, and the window of a connection as large as
/// can be, so that requests that wait do not take the connection from those that have their share.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
const FRAME_BYTES: u32 = 1 << 20;

/// A peer that is gone without a word is noticed after about this long, so that its stream does not stay for ever.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

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
        if let Err(error) = runtime.block_on(serve(context, handshake, incoming)) {
            tracing::error!(error = with_causes(&error), "a service thread ends");
        }
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

async fn serve(
    context: Shared,
    handshake: Handshake,
    incoming: mpsc::UnboundedReceiver<Accepted>,
) -> Result<(), tonic::transport::Error> {
    let stop = context.stop.clone();
    let bridge = Bridge::new();
    let bridge_stop = CancellationToken::new();
    let carrying = tokio::spawn(bridge.clone().run(context.store.clone(), bridge_stop.clone()));
    let mut server = Server::builder()
        .accept_http1(true)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        // hyper's 200 would make the 201st waiting TiDB session queue in its client.
        .max_concurrent_streams(u32::MAX);
    let (ready, connections) = mpsc::unbounded_channel();
    let shaking = tokio::spawn(shake_hands(handshake, incoming, ready));
    let result = server
        .add_routes(routes(context, bridge))
        .serve_with_incoming_shutdown(
            UnboundedReceiverStream::new(connections).map(Ok::<_, std::io::Error>),
            stop.cancelled_owned(),
        )
        .await;
    shaking.abort();
    bridge_stop.cancel();
    // It ends when the store has answered everything; a poisoned store answers at once.
    let _ = carrying.await;
    result
}

/// Shakes hands with many at once: one that is slow keeps nobody waiting.
async fn shake_hands(
    handshake: Handshake,
    mut incoming: mpsc::UnboundedReceiver<Accepted>,
    ready: mpsc::UnboundedSender<Connection>,
) {
    let mut shaking = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = incoming.recv() => stream,
            Some(_) = shaking.join_next() => continue,
        };
        let Some(stream) = stream else { return };
        let (handshake, ready) = (handshake.clone(), ready.clone());
        shaking.spawn(async move {
            let accepted = match stream {
                Accepted::Tcp(stream) => match TcpStream::from_std(stream) {
                    Ok(stream) => handshake.accept(stream).await,
                    Err(error) => Err(error.to_string()),
                },
                Accepted::Unix(stream) => {
                    UnixStream::from_std(stream).map(Connection::Unix).map_err(|e| e.to_string())
                }
            };
            match accepted {
                // The server may have ended meanwhile.
                Ok(connection) => drop(ready.send(connection)),
                Err(error) => tracing::warn!(error, "a connection was refused"),
            }
        });
    }
}

fn routes(context: Shared, bridge: Bridge) -> Routes {
    let limit = context.settings.max_message_size;
    let pump = PumpServer::new(PumpService::new(context.clone(), bridge))
        .max_decoding_message_size(limit)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let budget = context.budget.clone();
    let store = StoreServer::new(StoreService::new(context.clone()))
        .max_decoding_message_size(limit)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    Routes::from(http::router(context))
        .add_service(Edge(pump, budget.clone()))
        .add_service(Edge(store, budget))
        .prepare()
}

/// Makes a service answer as grpc-go does: compressed only if the request was, and oversize in grpc-go's words. Large requests
/// take their share of the budget.
#[derive(Clone, Debug)]
struct Edge<S>(S, Budget);

impl<S: NamedService> NamedService for Edge<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, R> Service<Request<Received>> for Edge<S>
where
    S: Service<Request<Body>, Response = Response<R>, Error = Infallible>,
    S::Future: Send + 'static,
    R: 'static,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Infallible>> + Send>>;

    fn poll_ready(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<Received>) -> Self::Future {
        if !request.headers().contains_key("grpc-encoding") {
            request.headers_mut().remove("grpc-accept-encoding");
        }
        let (head, body) = request.into_parts();
        let (body, share) = self.1.guard(body);
        let response = self.0.call(Request::from_parts(head, body));
        Box::pin(async move {
            let response = response.await.map(oversize_as_the_original);
            drop(share);
            response
        })
    }
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
