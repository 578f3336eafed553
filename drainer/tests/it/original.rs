//! In place of the original drainer: PD with etcd, TiKV, pumps of the original only, and MariaDB.

use std::time::{Duration, Instant};

use binlog_cluster::{NodeKind, NodeState, NodeStatus, Registry};
use binlog_drainer::{Config, Drainer};
use binlog_proto::binlog::Binlog;
use binlog_testkit::{Comparison, FakeCluster, Mariadb, OriginalPump, assert_same, fixtures};
use binlog_types::{NodeId, Ts};
use prost::Message as _;
use tokio::sync::oneshot;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pumps_of_the_original_are_replicated_with_the_schema_from_tikv() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::for_fixture("txn").unwrap();
    cluster.show_all();
    cluster.release_tso();
    let registry = Registry::etcd(&[cluster.url()], None).await.unwrap();
    let mut last = 0;
    for number in 0..3 {
        for payload in fixtures::pulled("txn", number).unwrap() {
            last = last.max(Binlog::decode(payload).unwrap().commit_ts);
        }
    }
    for number in 0..3 {
        let pump = OriginalPump::captured("txn", number).unwrap().with_fillers(last).gzip_only();
        let host = pump.serve().await.unwrap();
        let id = NodeId::new(&format!("original-{number}")).unwrap();
        registry.put(NodeKind::Pump, &NodeStatus::new(id, host, NodeState::Online)).await.unwrap();
    }
    let server = Mariadb::start().unwrap();
    server.sql("CREATE USER drainer@'127.0.0.1' IDENTIFIED BY 'secret'").unwrap();
    server.sql("GRANT ALL ON *.* TO drainer@'127.0.0.1'").unwrap();

    let mut config = Config {
        addr: "127.0.0.1:0".to_owned(),
        node_id: "in-place".to_owned(),
        pd_urls: vec![cluster.url()],
        data_dir: dir.path().join("data").to_str().unwrap().to_owned(),
        compressor: "gzip".to_owned(),
        initial_commit_ts: 0,
        ..Config::default()
    };
    config.syncer.loopback_control = true;
    config.syncer.channel_id = 7;
    config.syncer.to.host = "127.0.0.1".to_owned();
    config.syncer.to.port = i64::from(server.port());
    config.syncer.to.user = "drainer".to_owned();
    config.syncer.to.encrypted_password = binlog_cli::secret_key(|_| None).unwrap().encrypt("secret");
    let drainer = Drainer::start(config).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let addr = drainer.addr().to_string();
    let running = tokio::spawn(drainer.until(async {
        let _ = stopped.await;
    }));
    let begun = Instant::now();
    let id = NodeId::new("in-place").unwrap();
    loop {
        let status = registry.get(NodeKind::Drainer, &id).await.unwrap().unwrap();
        if status.max_commit_ts >= last {
            break;
        }
        assert!(!running.is_finished() && begun.elapsed() < Duration::from_secs(120), "stuck at {status:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let status = crate::replicate::http(&addr, "GET /status").await;
    assert!(status.contains("original-0") && status.contains("\"AcceptedGaps\":[]"), "{status}");
    let marks =
        server.sql("SELECT COUNT(*) FROM retl._drainer_repl_mark WHERE channel_id = 7 AND val > 1").unwrap();
    assert_ne!(marks.trim(), "0", "transactions carry the mark");
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    let mut actual = server.dump_all().unwrap();
    actual.tables.retain(|(schema, _), _| schema != "retl");
    assert_same(&fixtures::truth("txn", "end").unwrap(), &actual, &Comparison::exact());
    // What the original would read when it comes back.
    let row = server.sql("SELECT checkPoint FROM tidb_binlog.checkpoint").unwrap();
    assert!(row.trim().starts_with("{\"consistent\":true,\"commitTS\":"), "{row}");
    assert!(row.contains("\"ts-map\":{},\"schema-version\":"), "{row}");
    let status = registry.get(NodeKind::Drainer, &id).await.unwrap().unwrap();
    assert_eq!(status.state, NodeState::Paused);
    assert!(Ts::new(status.max_commit_ts as u64) >= Ts::new(last as u64));
}
