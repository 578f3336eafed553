//! One port for HTTP and for gRPC, by which pumps say that they are about to go online.

use std::sync::Arc;
use std::time::Duration;

use binlog_cli::tls::{Connection, Handshake};
use binlog_proto::binlog::cistern_server::{Cistern, CisternServer};
use binlog_proto::binlog::{NotifyReq, NotifyResp};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::context::Context;
use crate::{Error, http};

/// Serves until `stop`.
pub(crate) async fn run(
    context: Arc<Context>,
    listener: Listener,
    stop: CancellationToken,
) -> Result<(), Error> {
    let routes = Routes::from(http::router(Arc::clone(&context)))
        .add_service(CisternServer::new(Notified { context }))
        .prepare();
    let (ready, connections) = mpsc::channel(16);
    let shaking = tokio::spawn(listener.run(ready));
    let incoming = ReceiverStream::new(connections).map(Ok::<_, std::io::Error>);
    let served = Server::builder()
        .accept_http1(true)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await;
    shaking.abort();
    Ok(served?)
}

/// The port, and how connections to it begin.
pub(crate) struct Listener {
    pub(crate) listener: TcpListener,
    pub(crate) handshake: Handshake,
}

impl Listener {
    /// Shakes hands with many at once: one that is slow keeps nobody waiting.
    async fn run(self, ready: mpsc::Sender<Connection>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let (handshake, ready) = (self.handshake.clone(), ready.clone());
                    tokio::spawn(async move {
                        match handshake.accept(stream).await {
                            // Nobody takes it when drainer stops.
                            Ok(connection) => drop(ready.send(connection).await),
                            Err(error) => tracing::warn!(%from, error, "a connection was refused"),
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

struct Notified {
    context: Arc<Context>,
}

#[tonic::async_trait]
impl Cistern for Notified {
    /// Answers when the registry was read and every pump in it is a source: the caller may go online then.
    async fn notify(&self, _: Request<NotifyReq>) -> Result<Response<NotifyResp>, Status> {
        let stopping = || Status::unavailable("drainer is stopping");
        let (asked, answer) = oneshot::channel();
        self.context.detect.send(asked).await.map_err(|_| stopping())?;
        match answer.await {
            Ok(Ok(())) => Ok(Response::new(NotifyResp {})),
            Ok(Err(why)) => Err(Status::unknown(why)),
            Err(_) => Err(stopping()),
        }
    }
}
