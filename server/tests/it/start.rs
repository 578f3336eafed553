//! What others see of a pump that is still starting.

use std::time::Duration;

use binlog_cluster::{NodeKind, NodeState, NodeStatus, Registry};
use binlog_proto::binlog::pump_client::PumpClient;
use binlog_proto::binlog::{Pos, PullBinlogReq};
use binlog_testkit::FakeCluster;
use binlog_types::NodeId;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::harness::{Root, config};

const PATIENCE: Duration = Duration::from_secs(60);

/// An address that is free now.
fn free_addr() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// TiDB, to which the registry still names the pump, takes another one at once when it is refused; it would wait for an answer that cannot come.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_before_there_is_an_answer() {
    // A PD that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let root = Root::new();
    let mut settings = config(&root);
    settings.cluster_dir = String::new();
    settings.pd_urls = vec![format!("http://{}", silent.local_addr().unwrap())];
    settings.addr = free_addr();
    let (addr, named) = (settings.addr.clone(), root.data_dir().join(".node"));
    let starting = tokio::spawn(binlog_server::start(settings.clone()));
    let has_its_address = async {
        while !named.exists() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, has_its_address).await.expect("it does not get as far as PD");
    let refused = TcpStream::connect(&addr).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(!starting.is_finished());
    starting.abort();
}

/// A drainer that died online is told of the new pump in vain for a long time. Those that live must not wait for a pump that says nothing meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn drainers_hear_of_a_new_pump_while_a_dead_one_is_told() {
    let cluster = FakeCluster::start().unwrap();
    let registry = Registry::etcd(&[cluster.url()], None).await.unwrap();
    let dead = NodeStatus::new(NodeId::new("dead").unwrap(), free_addr(), NodeState::Online);
    registry.put(NodeKind::Drainer, &dead).await.unwrap();
    let root = Root::new();
    let mut settings = config(&root);
    settings.cluster_dir = String::new();
    settings.pd_urls = vec![cluster.url()];
    settings.addr = free_addr();
    // The original's default.
    settings.gen_binlog_interval = 3;
    let addr = settings.addr.clone();
    let starting = tokio::spawn(binlog_server::start(settings));
    let before = cluster.now();
    let heard = async {
        let mut client = loop {
            match PumpClient::connect(format!("http://{addr}")).await {
                Ok(client) => break client,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        // From now on those that live wait for it.
        while registry.list(NodeKind::Pump).await.unwrap().is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
        let start_from = Some(Pos { suffix: 0, offset: before.as_i64() });
        let request = PullBinlogReq { cluster_id: cluster.cluster_id().0, start_from };
        let mut stream = client.pull_binlogs(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap()
    };
    timeout(PATIENCE, heard).await.expect("it says nothing");
    let state = registry.list(NodeKind::Pump).await.unwrap()[0].state;
    assert_eq!(state, NodeState::Paused, "still being announced");
    starting.abort();
}
