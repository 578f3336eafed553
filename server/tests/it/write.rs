//! WriteBinlog: what is taken, what is refused, and in which words.

use binlog_proto::binlog::WriteBinlogReq;
use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

use crate::harness::{Client, TestPump, commit, config, prewrite, rollback};

/// What grpc-go makes of a status: with details, code and message are those of the `google.rpc.Status` in them, and another code than the trailer's is an
/// error of its own.
fn as_go_sees(status: &Status) -> (Code, String) {
    #[derive(Clone, PartialEq, Message)]
    struct RpcStatus {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
    }
    if status.details().is_empty() {
        return (status.code(), status.message().to_owned());
    }
    let inner = RpcStatus::decode(status.details()).expect("details that are no google.rpc.Status");
    if inner.code != i32::from(status.code()) {
        return (Code::Internal, "mismatched grpc-status-details-bin".to_owned());
    }
    (Code::from(inner.code), inner.message)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_empty_payload_is_a_ping() {
    let mut pump = TestPump::start().await;
    pump.client.write(Bytes::new()).await.unwrap();
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_in_the_originals_words() {
    let mut pump = TestPump::start().await;
    let own = pump.client.hello.cluster_id;
    let request = WriteBinlogReq { cluster_id: own + 1, payload: Bytes::new() };
    let status = pump.client.pump.write_binlog(request).await.unwrap_err();
    let text = format!("cluster ID are mismatch, {} vs {own}", own + 1);
    assert_eq!((status.code(), status.message()), (Code::Unknown, text.as_str()));
    assert_eq!(as_go_sees(&status), (Code::Unknown, text));

    let status = pump.client.write(vec![0xff_u8; 7]).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unknown, "unexpected EOF"));
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversize_request_is_refused_as_grpc_go_does() {
    let root = crate::harness::Root::new();
    let mut config = config(&root);
    config.max_message_size = 1 << 16;
    let mut pump = TestPump::start_with(root, config).await;
    let status = pump.client.write(vec![0_u8; 1 << 17]).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("received message larger than max"), "{status}");
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pausing_pump_refuses_prewrites_and_takes_outcomes() {
    let mut pump = TestPump::start().await;
    let open = prewrite(pump.client.ts().await, 1, 10);
    pump.client.send(&open).await.unwrap();
    let late = pump.client.ts().await;
    let done = commit(&open, pump.client.ts().await);
    // A close waits for the open transaction, so there is time to look.
    let reply = crate::http::request(&pump.addr, "PUT", "/state/pump-1/close").await;
    assert!(reply.contains("apply action close success!"), "{reply}");
    let status = pump.client.send(&prewrite(late, 1, 10)).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unknown, "no online: closing"));
    assert_eq!(as_go_sees(&status), (Code::Unknown, "no online: closing".to_owned()));
    let status = pump.client.write(Bytes::new()).await.unwrap_err();
    assert_eq!(status.message(), "no online: closing");
    pump.client.send(&done).await.unwrap();
    // Nothing is open and no drainer is behind: it goes offline by itself.
    pump.running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_transaction_is_never_seen() {
    let mut pump = TestPump::start().await;
    let rolled_back = prewrite(pump.client.ts().await, 1, 10);
    pump.client.send(&rolled_back).await.unwrap();
    pump.client.send(&rollback(&rolled_back)).await.unwrap();
    let (through, expected) = pump.client.transaction(1, 10).await;
    assert_eq!(pump.client.pull(0, through).await, [expected]);
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once() {
    let mut pump = TestPump::start().await;
    let writers = (0..16).map(|n| {
        let addr = pump.addr.clone();
        tokio::spawn(async move {
            let mut client = Client::connect(&addr).await;
            let mut sent = Vec::new();
            for _ in 0..50 {
                sent.push(client.transaction(n, 200).await);
            }
            sent
        })
    });
    let mut sent = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        sent.extend(writer.await.unwrap());
    }
    sent.sort();
    let through = sent.last().unwrap().0;
    let expected: Vec<Bytes> = sent.into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(pump.client.pull(0, through).await, expected);
    pump.stop().await;
}

/// The guard keeps room for what must still be written: outcomes are taken when prewrites are not.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_prewrites_and_takes_outcomes() {
    let mut pump = TestPump::start().await;
    let open = prewrite(pump.client.ts().await, 1, 10);
    pump.client.send(&open).await.unwrap();
    let root = pump.stop().await;
    let mut config = config(&root);
    config.storage.stop_write_at_available_space = binlog_types::ByteSize(u64::MAX);
    let mut pump = TestPump::start_with(root, config).await;
    let late = prewrite(pump.client.ts().await, 1, 10);
    for refused in [pump.client.send(&late).await, pump.client.write(Bytes::new()).await] {
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::Unknown);
        let (start, end) =
            ("no available space, available: ", format!("StopWriteAtAvailableSpace: {}", u64::MAX));
        assert!(status.message().starts_with(start) && status.message().ends_with(&end), "{status}");
    }
    let ready = crate::http::request(&pump.addr, "GET", "/ready").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("no available space"), "{ready}");
    assert!(
        crate::http::request(&pump.addr, "GET", "/metrics")
            .await
            .contains("binlog_pump_loss_binlog_count 2\n")
    );
    let done = commit(&open, pump.client.ts().await);
    pump.client.send(&done).await.unwrap();
    assert_eq!(pump.client.pull(0, done.commit_ts).await, [crate::harness::joined(&open, &done)]);
    pump.stop().await;
}

/// grpc-go answers with the codec of the request.
#[tokio::test(flavor = "multi_thread")]
async fn gzip_is_understood_and_answered_to_who_speaks_it() {
    use binlog_proto::binlog::pump_client::PumpClient;
    use binlog_proto::binlog::{Pos, PullBinlogReq};
    use tonic::codec::CompressionEncoding::Gzip;

    let mut pump = TestPump::start().await;
    let (commit_ts, joined) = pump.client.transaction(1, 1 << 16).await;
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", pump.addr)).unwrap();
    let client = PumpClient::new(channel.connect().await.unwrap());
    for (mut client, answered) in [
        (client.clone().send_compressed(Gzip).accept_compressed(Gzip), true),
        (client.accept_compressed(Gzip), false),
    ] {
        let start_from = Some(Pos { suffix: 0, offset: commit_ts - 1 });
        let request = PullBinlogReq { cluster_id: pump.client.hello.cluster_id, start_from };
        let response = client.pull_binlogs(request).await.unwrap();
        assert_eq!(response.metadata().get("grpc-encoding").is_some_and(|codec| codec == "gzip"), answered);
        let entity = response.into_inner().message().await.unwrap().unwrap().entity.unwrap();
        assert_eq!(entity.payload, joined);
    }
    pump.stop().await;
}
