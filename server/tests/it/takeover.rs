//! A pump in the data directory that an original one left.

use std::fs;
use std::path::Path;

use binlog_cluster::{EmbeddedCluster, NodeKind, NodeState, NodeStatus};
use binlog_proto::binlog::{Binlog, BinlogType};
use binlog_types::NodeId;
use prost::Message;

use crate::harness::{Root, TestPump, config};

/// A file of the original's value log.
pub(crate) fn write_value_log(data_dir: &Path, binlogs: &[Binlog]) {
    fs::create_dir_all(data_dir.join("value")).unwrap();
    let mut log = Vec::new();
    for binlog in binlogs {
        let payload = binlog.encode_to_vec();
        log.extend(0x823a_56e8_u32.to_le_bytes());
        log.extend((payload.len() as u64).to_le_bytes());
        log.extend(crc32c(&payload).to_le_bytes());
        log.extend(payload);
    }
    fs::write(data_dir.join("value/000000.vlog"), log).unwrap();
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |check, byte| {
        (0..8).fold(check ^ u32::from(*byte), |check, _| {
            (check >> 1) ^ (0x82f6_3b78 & (check & 1).wrapping_neg())
        })
    })
}

fn binlog(tp: BinlogType, start_ts: i64, commit_ts: i64) -> Binlog {
    Binlog { tp: tp as i32, start_ts, commit_ts, ..Binlog::default() }
}

async fn put(root: &Root, kind: NodeKind, name: &str, state: NodeState, max_commit_ts: i64) {
    let cluster = EmbeddedCluster::open_or_create(&root.cluster_dir()).unwrap();
    let node =
        NodeStatus { max_commit_ts, ..NodeStatus::new(NodeId::new(name).unwrap(), "127.0.0.1:1", state) };
    cluster.registry().put(kind, &node).await.unwrap();
}

/// The original had rolled a prewrite back in silence, as it does. After the first start the registry no longer says how far it had settled
/// everything, and in the end not who had read it either.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_taken_over_stays_so() {
    let root = Root::new();
    write_value_log(
        &root.data_dir(),
        &[
            binlog(BinlogType::Prewrite, 3, 0),
            binlog(BinlogType::Prewrite, 5, 0),
            binlog(BinlogType::Commit, 5, 10),
        ],
    );
    put(&root, NodeKind::Pump, "pump-1", NodeState::Paused, 10).await;
    put(&root, NodeKind::Drainer, "d", NodeState::Online, 10).await;
    let settings = config(&root);
    let mut pump = TestPump::start_with(root, settings).await;
    let (commit_ts, joined) = pump.client.transaction(1, 10).await;
    let mut pump = pump.restart().await;
    assert_eq!(pump.client.pull(0, commit_ts).await, [joined]);
    let root = pump.stop().await;
    put(&root, NodeKind::Drainer, "d", NodeState::Offline, 10).await;
    let settings = config(&root);
    TestPump::start_with(root, settings).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_drainer_has_not_read_is_not_left_behind() {
    let root = Root::new();
    write_value_log(
        &root.data_dir(),
        &[binlog(BinlogType::Prewrite, 5, 0), binlog(BinlogType::Commit, 5, 10)],
    );
    put(&root, NodeKind::Pump, "pump-1", NodeState::Paused, 10).await;
    put(&root, NodeKind::Drainer, "late", NodeState::Paused, 9).await;
    for _ in 0..2 {
        let error = binlog_server::start(config(&root)).await.unwrap_err().to_string();
        assert!(error.contains("drainer late (paused) has read up to 9"), "{error}");
    }
    // Nor where nobody can tell who there is.
    put(&root, NodeKind::Drainer, "late", NodeState::Online, 10).await;
    let entry = root.cluster_dir().join("drainers/odd.json");
    fs::write(&entry, "no status").unwrap();
    let error = binlog_server::start(config(&root)).await.unwrap_err().to_string();
    assert!(error.contains("odd.json"), "{error}");
    fs::remove_file(entry).unwrap();
    let settings = config(&root);
    TestPump::start_with(root, settings).await.stop().await;
}
