//! One port for HTTP and for gRPC, by which pumps say that they are about to go online.

use std::sync::Arc;

use binlog_proto::binlog::cistern_server::{Cistern, CisternServer};
use binlog_proto::binlog::{NotifyReq, NotifyResp};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::context::Context;
use crate::{Error, http};

/// Serves until `stop`.
pub(crate) async fn run(
    context: Arc<Context>,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), Error> {
    let routes = Routes::from(http::router(Arc::clone(&context)))
        .add_service(CisternServer::new(Notified { context }))
        .prepare();
    let incoming = TcpListenerStream::new(listener);
    Server::builder()
        .accept_http1(true)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await?;
    Ok(())
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
