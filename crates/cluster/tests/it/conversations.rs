//! Our words to PD and etcd beside those of the original's programs, byte for byte.

use binlog_cluster::{NodeKind, NodeStatus, Registry};
use binlog_proto::pdpb::{
    GetMembersResponse, GetRegionRequest, GetRegionResponse, GetStoreRequest, GetStoreResponse,
    RequestHeader, TsoRequest, TsoResponse,
};
use binlog_testkit::FakeCluster;
use binlog_testkit::fixtures::{self, Message};
use bytes::Bytes;
use prost::Message as _;

const KEY: &[u8] = b"/tidb-binlog/v1/pumps/pump0";
/// `need_buckets`, which the original asks for and has no use for.
const NEED_BUCKETS: &[u8] = &[0x18, 1];

fn messages(method: &str, is_request: bool) -> Vec<Bytes> {
    let of = |message: &Message| message.method == method && message.is_request == is_request;
    let found: Vec<_> = fixtures::conversation("pd").unwrap().into_iter().filter(of).collect();
    assert!(!found.is_empty(), "{method}");
    found.into_iter().map(|message| message.bytes).collect()
}

/// Decodes and encodes again: nothing of it is unknown to us.
fn again<M: prost::Message + Default>(bytes: &Bytes) -> M {
    let message = M::decode(bytes.clone()).unwrap();
    assert_eq!(message.encode_to_vec(), *bytes);
    message
}

#[test]
fn pd_is_asked_in_the_originals_words_and_understood() {
    let cluster_id = again::<TsoRequest>(&messages("/pdpb.PD/Tso", true)[0]).header.unwrap().cluster_id;
    let header = || Some(RequestHeader { cluster_id, ..RequestHeader::default() });
    for request in messages("/pdpb.PD/Tso", true) {
        let count = again::<TsoRequest>(&request).count;
        let ours = TsoRequest { header: header(), count, dc_location: "global".to_owned() };
        assert_eq!(ours.encode_to_vec(), request);
    }
    let mut last = 0;
    for response in messages("/pdpb.PD/Tso", false) {
        let response: TsoResponse = again(&response);
        let timestamp = response.timestamp.unwrap();
        assert!(timestamp.physical >= last && timestamp.logical > 0, "{timestamp:?}");
        last = timestamp.physical;
    }
    let regions = messages("/pdpb.PD/GetRegion", true).into_iter().zip(messages("/pdpb.PD/GetRegion", false));
    for (request, response) in regions {
        let region_key = GetRegionRequest::decode(request.clone()).unwrap().region_key;
        let ours = GetRegionRequest { header: header(), region_key: region_key.clone() };
        assert_eq!([&ours.encode_to_vec(), NEED_BUCKETS].concat(), request);
        let response = GetRegionResponse::decode(response).unwrap();
        let region = response.region.unwrap();
        assert!(region.start_key <= region_key && region_key < region.end_key);
        assert_eq!(region.peers, [response.leader.unwrap()]);
    }
    for (request, response) in
        messages("/pdpb.PD/GetStore", true).into_iter().zip(messages("/pdpb.PD/GetStore", false))
    {
        let store_id = again::<GetStoreRequest>(&request).store_id;
        assert_eq!(GetStoreRequest { header: header(), store_id }.encode_to_vec(), request);
        let store = GetStoreResponse::decode(response).unwrap().store.unwrap();
        assert_eq!((store.id, store.address.as_str()), (store_id, "127.0.0.1:20161"));
    }
    for response in messages("/pdpb.PD/GetMembers", false) {
        let response = GetMembersResponse::decode(response).unwrap();
        assert_eq!(response.header.unwrap().cluster_id, cluster_id);
        assert_eq!(response.leader.unwrap().client_urls, ["http://127.0.0.1:12379"]);
    }
}

/// A heartbeat: read, then write if the key is still there.
#[tokio::test]
async fn etcd_is_written_in_the_originals_words() {
    let about_pump = |message: &Bytes| message.windows(KEY.len()).any(|part| part == KEY);
    let one = |method: &str| messages(method, true).into_iter().find(about_pump).unwrap();
    let (range, txn) = (one("/etcdserverpb.KV/Range"), one("/etcdserverpb.KV/Txn"));
    let begin = txn.iter().position(|byte| *byte == b'{').unwrap();
    let status: NodeStatus = serde_json::from_slice(&txn[begin..]).unwrap();

    let cluster = FakeCluster::start().unwrap();
    let registry = Registry::etcd(&[cluster.url()], None).await.unwrap();
    registry.put(NodeKind::Pump, &status).await.unwrap();
    cluster.take_etcd_requests();
    registry.put(NodeKind::Pump, &status).await.unwrap();
    let expected = [("/etcdserverpb.KV/Range".to_owned(), range), ("/etcdserverpb.KV/Txn".to_owned(), txn)];
    assert_eq!(cluster.take_etcd_requests(), expected);
}
