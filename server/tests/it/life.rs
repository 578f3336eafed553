//! Names, closing, the oracle of an embedded cluster, the unix socket.

use std::time::{Duration, Instant};

use binlog_cluster::{EmbeddedCluster, NodeKind, NodeState, NodeStatus};
use binlog_proto::binlog::{Pos, PullBinlogReq};
use binlog_proto::detail_of;
use binlog_proto::store::error_detail::Kind;
use binlog_proto::store::store_client::StoreClient;
use binlog_proto::store::{HelloRequest, TsoRequest};
use binlog_types::NodeId;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::harness::{Root, TestPump, config, text};
use crate::http::request;

const PATIENCE: Duration = Duration::from_secs(60);

fn embedded(root: &Root) -> EmbeddedCluster {
    EmbeddedCluster::open_or_create(&root.cluster_dir()).unwrap()
}

/// A drainer that has read nothing.
async fn add_drainer(root: &Root) {
    let drainer = NodeStatus::new(NodeId::new("late").unwrap(), "127.0.0.1:1", NodeState::Paused);
    embedded(root).registry().put(NodeKind::Drainer, &drainer).await.unwrap();
}

async fn state(root: &Root) -> NodeState {
    embedded(root).registry().list(NodeKind::Pump).await.unwrap()[0].state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_says_who_blocks_and_can_be_forced() {
    let mut pump = TestPump::start().await;
    add_drainer(&pump.root).await;
    pump.client.transaction(1, 10).await;
    assert!(request(&pump.addr, "GET", "/debug/drain").await.ends_with("null\n"));
    request(&pump.addr, "PUT", "/state/pump-1/close").await;
    let named = async {
        loop {
            let waiting = request(&pump.addr, "GET", "/debug/drain").await;
            if waiting.contains("\"nodeId\":\"late\",\"state\":\"paused\",\"checkpoint\":0") {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, named).await.expect("nobody says who blocks");
    assert_eq!(state(&pump.root).await, NodeState::Closing, "visible while it waits");
    assert!(request(&pump.addr, "GET", "/status").await.contains("\"state\":\"closing\""));
    let reply = request(&pump.addr, "PUT", "/state/pump-1/close?force=true").await;
    assert!(reply.contains("apply action close success!"), "{reply}");
    timeout(PATIENCE, pump.running).await.expect("it still waits").unwrap().unwrap();
    assert_eq!(state(&pump.root).await, NodeState::Offline);
}

/// An entry that is no status may be of a drainer that has not read a thing.
#[tokio::test(flavor = "multi_thread")]
async fn a_drainer_that_cannot_be_made_out_holds_everything() {
    let root = Root::new();
    let mut settings = config(&root);
    settings.gc = "10ms".to_owned();
    let mut pump = TestPump::start_with(root, settings).await;
    let (first, one) = pump.client.transaction(1, 10).await;
    pump.client.transaction(1, 10).await;
    add_drainer(&pump.root).await;
    let folder = pump.root.cluster_dir().join("drainers");
    std::fs::remove_file(folder.join("late.json")).unwrap();
    std::fs::write(folder.join("odd.json"), "no status").unwrap();
    sleep(Duration::from_millis(300)).await;
    assert!(request(&pump.addr, "POST", "/debug/gc/trigger").await.ends_with("trigger gc success\n"));
    sleep(Duration::from_millis(500)).await;
    assert_eq!(pump.client.pull(0, first).await, [one]);
    request(&pump.addr, "PUT", "/state/pump-1/close").await;
    let named = async {
        while !request(&pump.addr, "GET", "/debug/drain").await.contains("odd.json") {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, named).await.expect("nobody says who blocks");
    std::fs::remove_file(folder.join("odd.json")).unwrap();
    timeout(PATIENCE, pump.running).await.expect("it still waits").unwrap().unwrap();
    assert_eq!(state(&pump.root).await, NodeState::Offline);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_with_a_limit_gives_up_as_paused() {
    let root = Root::new();
    let mut config = config(&root);
    config.drain_timeout = "1s".to_owned();
    let mut pump = TestPump::start_with(root, config).await;
    add_drainer(&pump.root).await;
    pump.client.transaction(1, 10).await;
    request(&pump.addr, "PUT", "/state/pump-1/close").await;
    timeout(PATIENCE, pump.running).await.expect("it still waits").unwrap().unwrap();
    assert_eq!(state(&pump.root).await, NodeState::Paused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_pump_of_the_same_name_is_refused() {
    let pump = TestPump::start().await;
    let mut twin = config(&pump.root);
    twin.data_dir = pump.root.0.path().join("twin");
    let error = binlog_server::start(twin).await.unwrap_err().to_string();
    assert!(error.contains("node id pump-1 is taken by a process at"), "{error}");
    assert!(error.contains(&pump.addr), "{error}");
    assert_eq!(state(&pump.root).await, NodeState::Online);
    let pump = pump.restart().await;
    pump.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oracle_moves_on_when_its_pump_is_gone() {
    let mut first = TestPump::start().await;
    let mut other = config(&first.root);
    other.node_id = "pump-2".to_owned();
    other.data_dir = first.root.0.path().join("pump-2");
    let second = binlog_server::start(other).await.unwrap();
    let (addr, cluster_id) = (second.addr(), first.client.hello.cluster_id);
    let running = tokio::spawn(second.until(std::future::pending()));
    let last = first.client.ts().await as u64;
    let root = first.stop().await;
    let mut store = StoreClient::connect(format!("http://{addr}")).await.unwrap();
    let moved = async {
        loop {
            match store.tso(TsoRequest { cluster_id, count: 1 }).await {
                Ok(ts) => return ts.into_inner().last,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let next = timeout(PATIENCE, moved).await.expect("nobody hands out timestamps");
    assert!(next > last, "{next} after {last}");
    // The first one comes back as one that asks.
    let config = config(&root);
    let first = TestPump::start_with(root, config).await;
    assert!(!first.running.is_finished());
    first.stop().await;
    running.abort();
}

/// Whoever stops, the others' timestamps included, stops at once.
#[tokio::test(flavor = "multi_thread")]
async fn pumps_stop_in_any_order() {
    let first = TestPump::start().await;
    let mut other = config(&first.root);
    other.node_id = "pump-2".to_owned();
    other.data_dir = first.root.0.path().join("pump-2");
    let second = binlog_server::start(other).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let second = tokio::spawn(second.until(async move {
        let _ = stopped.await;
    }));
    let root = first.stop().await;
    // Its place is not taken yet.
    stop.send(()).unwrap();
    let began = Instant::now();
    timeout(PATIENCE, second).await.expect("it goes on").unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let cluster = EmbeddedCluster::open(&root.cluster_dir()).unwrap();
    let nodes = cluster.registry().list(NodeKind::Pump).await.unwrap();
    assert_eq!(nodes.iter().map(|node| node.state).collect::<Vec<_>>(), [NodeState::Paused; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_served_besides() {
    let root = Root::new();
    let path = root.0.path().join("pump.sock");
    let mut settings = config(&root);
    settings.socket = format!("unix://{}", text(&path));
    // Left by a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let pump = TestPump::start_with(root, settings.clone()).await;
    let mut store = StoreClient::connect(format!("unix://{}", text(&path))).await.unwrap();
    let hello = store.hello(HelloRequest { cluster_id: 0 }).await.unwrap().into_inner();
    assert_eq!(hello.node_id, "pump-1");
    // A living one's socket is not taken.
    settings.data_dir = pump.root.0.path().join("twin");
    settings.node_id = "twin".to_owned();
    let error = binlog_server::start(settings).await.unwrap_err().to_string();
    assert!(error.contains("pump.sock"), "{error}");
    pump.stop().await;
    assert!(!path.exists());
}

/// Retention, drainers and the cap; and what those get who ask for what is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_drainer_needs_stays_and_what_is_purged_is_said() {
    for (purged_pull, refused) in
        [(binlog_server::PurgedPull::Error, true), (binlog_server::PurgedPull::Clamp, false)]
    {
        let root = Root::new();
        let mut settings = config(&root);
        settings.gc = "10ms".to_owned();
        settings.gc_hard_cap = "0".to_owned();
        settings.purged_pull = purged_pull;
        let mut pump = TestPump::start_with(root, settings).await;
        add_drainer(&pump.root).await;
        let (first, one) = pump.client.transaction(1, 10).await;
        let (last, _) = pump.client.transaction(1, 10).await;
        // One that is old enough, and a drainer that has not read it.
        let settled = async |pump: &mut TestPump| {
            while (pump
                .client
                .store
                .hello(HelloRequest { cluster_id: 0 })
                .await
                .unwrap()
                .into_inner()
                .watermark
                >> 18)
                < (last as u64 >> 18) + 100
            {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, settled(&mut pump)).await.unwrap();
        let collect = async |pump: &TestPump| {
            let reply = request(&pump.addr, "POST", "/debug/gc/trigger").await;
            assert!(reply.ends_with("trigger gc success\n"), "{reply}");
            sleep(Duration::from_millis(500)).await;
        };
        collect(&pump).await;
        assert_eq!(pump.client.pull(0, first).await, [one]);
        // Taken offline, it holds nothing back any more.
        let mut gone = NodeStatus::new(NodeId::new("late").unwrap(), "127.0.0.1:1", NodeState::Offline);
        gone.max_commit_ts = 0;
        embedded(&pump.root).registry().put(NodeKind::Drainer, &gone).await.unwrap();
        let purged = async |pump: &mut TestPump| {
            loop {
                collect(pump).await;
                let hello =
                    pump.client.store.hello(HelloRequest { cluster_id: 0 }).await.unwrap().into_inner();
                if hello.safe_point >= last as u64 {
                    return hello.safe_point;
                }
            }
        };
        let safe_point = timeout(PATIENCE, purged(&mut pump)).await.expect("nothing is collected");
        let start_from = Some(Pos { suffix: 0, offset: 0 });
        let request = PullBinlogReq { cluster_id: pump.client.hello.cluster_id, start_from };
        let answer = pump.client.pump.pull_binlogs(request).await;
        if refused {
            let status = answer.unwrap_err();
            assert_eq!(status.code(), Code::OutOfRange);
            assert!(
                matches!(detail_of(&status), Some(Kind::Purged(p)) if p.safe_point == safe_point),
                "{status}"
            );
        } else {
            let entity = answer.unwrap().into_inner().message().await.unwrap().unwrap().entity.unwrap();
            assert!(entity.meta.unwrap().commit_ts as u64 > safe_point);
        }
        pump.stop().await;
    }
}
