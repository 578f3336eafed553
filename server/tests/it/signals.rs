//! Signals, as service managers send them to the program.

use std::time::Duration;

use binlog_cluster::{NodeKind, NodeState, NodeStatus, Registry};
use binlog_testkit::{FakeCluster, Process, free_port};
use binlog_types::NodeId;
use rustix::process::Signal;

use crate::harness::{Root, text};

const PATIENCE: Duration = Duration::from_secs(60);

fn start(root: &Root, pd: &str) -> Process {
    let file = root.0.path().join("pump.toml");
    std::fs::write(&file, "[storage]\nstop-write-at-available-space = \"0\"\n").unwrap();
    let (file, data) = (text(&file), text(&root.data_dir()));
    let args = ["-config", &file, "-addr", "127.0.0.1:0", "-pd-urls", pd, "-data-dir", &data];
    Process::start(env!("CARGO_BIN_EXE_pump"), args).unwrap()
}

#[test]
fn a_start_that_waits_for_pd_can_be_ended() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let root = Root::new();
        let mut pump = start(&root, &format!("http://127.0.0.1:{}", free_port()));
        pump.wait_for_output("start pump...", PATIENCE).unwrap();
        pump.signal(signal).unwrap();
        assert_eq!(pump.wait(PATIENCE).unwrap().code(), Some(0));
        assert!(pump.output().contains("got signal to exit"), "{}", pump.output());
    }
}

/// A new pump waits for a drainer that it cannot tell of itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_waits_for_drainers_can_be_ended() {
    let (root, cluster) = (Root::new(), FakeCluster::start().unwrap());
    let registry = Registry::etcd(&[cluster.url()], None).await.unwrap();
    let gone = NodeStatus::new(NodeId::new("gone").unwrap(), "127.0.0.1:1", NodeState::Online);
    registry.put(NodeKind::Drainer, &gone).await.unwrap();
    let mut pump = start(&root, &cluster.url());
    let state = async || registry.list(NodeKind::Pump).await.unwrap().first().map(|node| node.state);
    while state().await != Some(NodeState::Paused) {
        assert!(pump.is_running(), "{}", pump.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pump.signal(Signal::TERM).unwrap();
    assert_eq!(pump.wait(PATIENCE).unwrap().code(), Some(0));
    assert!(!pump.output().contains("pump is online"), "{}", pump.output());
    assert_eq!(state().await, Some(NodeState::Paused));
}

#[test]
fn the_first_signal_pauses_and_the_second_one_ends_at_once() {
    let (first, second) = (Root::new(), Root::new());
    let mut cluster = FakeCluster::start().unwrap();
    let mut pump = start(&first, &cluster.url());
    pump.wait_for_output("pump is online", PATIENCE).unwrap();
    pump.signal(Signal::HUP).unwrap();
    assert_eq!(pump.wait(PATIENCE).unwrap().code(), Some(0));
    assert!(pump.output().contains("pump has stopped"), "{}", pump.output());

    // With nobody to say goodbye to, it takes its time; who does not want to wait says it again.
    let mut pump = start(&second, &cluster.url());
    pump.wait_for_output("pump is online", PATIENCE).unwrap();
    cluster.etcd().unwrap().kill9();
    pump.signal(Signal::TERM).unwrap();
    pump.wait_for_output("got signal to exit", PATIENCE).unwrap();
    pump.signal(Signal::TERM).unwrap();
    assert_eq!(pump.wait(PATIENCE).unwrap().code(), Some(1), "{}", pump.output());
    assert!(pump.output().contains("got a second signal"), "{}", pump.output());
}
