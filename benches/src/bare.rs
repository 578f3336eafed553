//! A gRPC server that answers each WriteBinlog at once and keeps nothing: what the transport alone costs. It runs as
//! pump's services do, on one single-threaded runtime.

use std::io::Read as _;
use std::pin::Pin;

use binlog_proto::binlog::pump_server::{Pump, PumpServer};
use binlog_proto::binlog::{PullBinlogReq, PullBinlogResp, WriteBinlogReq, WriteBinlogResp};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::report;

struct Nothing;

type Responses = Pin<Box<dyn tokio_stream::Stream<Item = Result<PullBinlogResp, Status>> + Send>>;

#[tonic::async_trait]
impl Pump for Nothing {
    async fn write_binlog(
        &self,
        _request: Request<WriteBinlogReq>,
    ) -> Result<Response<WriteBinlogResp>, Status> {
        Ok(Response::new(WriteBinlogResp::default()))
    }

    type PullBinlogsStream = Responses;

    async fn pull_binlogs(&self, _: Request<PullBinlogReq>) -> Result<Response<Responses>, Status> {
        Err(Status::unimplemented("it keeps nothing"))
    }
}

/// Serves on a free port, which it prints, until standard input ends.
pub(crate) fn serve() -> anyhow::Result<()> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0; 1]);
        // The server may have ended by itself.
        let _ = stop.send(());
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        report::print(&listener.local_addr()?.to_string());
        tonic::transport::Server::builder()
            .tcp_nodelay(true)
            .add_service(PumpServer::new(Nothing).max_decoding_message_size(usize::MAX))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                let _ = stopped.await;
            })
            .await?;
        Ok(())
    })
}
