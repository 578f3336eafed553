//! PD and etcd behind TLS, which ask for the client's certificate.

use std::path::Path;
use std::time::Duration;

use binlog_cluster::{Life, NodeKind, NodeState, NodeStatus, PdClient, Registry, TikvClient, TlsFiles};
use binlog_testkit::{Authority, CertFiles, Etcd, FakeCluster};
use binlog_types::NodeId;

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn files(authority: &Authority, own: &CertFiles) -> TlsFiles {
    TlsFiles { ca: text(&authority.ca()), cert: text(&own.cert), key: text(&own.key) }
}

fn node(name: &str) -> NodeStatus {
    NodeStatus::new(NodeId::new(name).unwrap(), "h:1", NodeState::Online)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_is_used_with_a_certificate_that_may_be_renewed() {
    let authority = Authority::new("ca").unwrap();
    let mut etcd = Etcd::start_tls(&authority).unwrap();
    let own = authority.issue("client", "pump").unwrap();
    let tls = files(&authority, &own);
    let registry = Registry::etcd(&[etcd.url()], Some(&tls)).await.unwrap();
    registry.put(NodeKind::Pump, &node("p")).await.unwrap();
    let life = Life {
        node_id: NodeId::new("p").unwrap(),
        host: "h:1".to_owned(),
        owner: "o".to_owned(),
        incarnation: 1,
    };
    let mut mark = registry.claim_life(NodeKind::Pump, life, Duration::from_secs(60)).await.unwrap();

    // Without a certificate there is no way in.
    let anonymous = TlsFiles { cert: String::new(), key: String::new(), ..tls.clone() };
    let refused = Registry::etcd(&[etcd.url()], Some(&anonymous)).await.unwrap();
    let error = refused.list(NodeKind::Pump).await.unwrap_err().to_string();
    assert!(error.contains(&etcd.url()), "{error}");

    // A torn file keeps the old certificate in use, a renewed one is taken up by the next connection.
    std::fs::write(&own.cert, "torn").unwrap();
    etcd.restart().unwrap();
    assert_eq!(registry.list(NodeKind::Pump).await.unwrap(), [node("p")]);

    authority.issue("client", "pump").unwrap();
    etcd.restart().unwrap();
    registry.put(NodeKind::Pump, &node("q")).await.unwrap();
    assert_eq!(registry.list(NodeKind::Pump).await.unwrap(), [node("p"), node("q")]);
    mark.renew().await.unwrap();
}

/// Its TLS names no protocol, as that of older servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pd_and_tikv_are_used_behind_tls_through_a_change_of_leader() {
    let authority = Authority::new("ca").unwrap();
    let mut cluster = FakeCluster::start_tls(&authority).unwrap();
    let tls = files(&authority, &authority.issue("client", "pump").unwrap());
    let first = cluster.url();
    let second = cluster.add_member().unwrap();
    assert!(first.starts_with("https://") && second.starts_with("https://"));
    let pd = PdClient::connect(std::slice::from_ref(&first), Some(&tls)).await.unwrap();
    let before = pd.ts().await.unwrap();
    let tikv = TikvClient::new(pd.clone());
    assert!(tikv.mvcc_get_by_key(b"k").await.unwrap().writes.is_empty());
    let registry = Registry::etcd(&[first], Some(&tls)).await.unwrap();
    registry.put(NodeKind::Drainer, &node("d")).await.unwrap();
    cluster.elect(&second);
    assert!(pd.ts().await.unwrap() > before);
    assert_eq!(registry.list(NodeKind::Drainer).await.unwrap(), [node("d")]);
    let plain = cluster.url().replace("https", "http");
    assert!(PdClient::connect(&[plain], Some(&tls)).await.unwrap_err().to_string().contains("https"));
}
