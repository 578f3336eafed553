//! Pulling from a pump that has no range service.

use std::pin::Pin;

use binlog_proto::binlog::pump_server::{Pump, PumpServer};
use binlog_proto::binlog::*;
use binlog_pull::{Member, MergedStream};
use binlog_types::NodeId;
use bytes::Bytes;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::stream::options;

struct Original;

#[tonic::async_trait]
impl Pump for Original {
    type PullBinlogsStream = Pin<Box<dyn Stream<Item = Result<PullBinlogResp, Status>> + Send>>;

    async fn write_binlog(&self, _: Request<WriteBinlogReq>) -> Result<Response<WriteBinlogResp>, Status> {
        Err(Status::unimplemented("read only"))
    }

    /// Two items a call, then the stream ends well, as the original's does on any trouble; a filler every 10.
    async fn pull_binlogs(
        &self,
        request: Request<PullBinlogReq>,
    ) -> Result<Response<Self::PullBinlogsStream>, Status> {
        let request = request.into_inner();
        if request.cluster_id != 7 {
            return Err(Status::unknown(format!("cluster ID are mismatch, 7 vs {}", request.cluster_id)));
        }
        let after = request.start_from.unwrap().offset;
        let items = (after + 1..after + 3).map(|commit_ts| {
            let fake = commit_ts % 10 == 0;
            let binlog = Binlog {
                tp: if fake { 2 } else { 1 },
                start_ts: if fake { commit_ts } else { commit_ts - 1 },
                commit_ts,
                prewrite_value: (!fake).then(|| Bytes::from_static(&[0x08, 42])),
                ..Binlog::default()
            };
            let payload = binlog.encode_to_vec().into();
            Ok(PullBinlogResp { entity: Some(Entity { payload, ..Entity::default() }) })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(items.collect::<Vec<_>>()))))
    }
}

#[tokio::test]
async fn an_original_pump_is_pulled_through_its_own_service() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let serve = tonic::transport::Server::builder()
        .add_service(PumpServer::new(Original))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serve);
    let member = Member { id: NodeId::new("original").unwrap(), host };

    let mut stream = MergedStream::new(options(4, Some(11)), vec![member.clone()]);
    let mut commits = Vec::new();
    loop {
        let batch = stream.next().await.unwrap();
        commits.extend(batch.records.iter().map(|r| r.commit_ts.raw()));
        assert!(batch.records.iter().all(|r| r.schema_version.0 == 42));
        if batch.end {
            assert_eq!(batch.complete_through.raw(), 11);
            break;
        }
    }
    assert_eq!(commits, [5, 6, 7, 8, 9, 11]);

    let mut foreign = options(4, Some(11));
    foreign.cluster.0 = 8;
    let error = MergedStream::new(foreign, vec![member]).next().await.unwrap_err();
    assert!(matches!(error, binlog_pull::Error::WrongCluster { .. }), "{error}");
}
