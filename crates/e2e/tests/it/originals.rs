//! Restores from pumps of the original, with the schema from TiKV, and from what is left of a cluster of ours.

use std::process::Command;

use binlog_cluster::{NodeKind, NodeState, NodeStatus, Registry};
use binlog_e2e::{System, program};
use binlog_testkit::{Comparison, FakeCluster, Mariadb, OriginalPump, Replayer, assert_same, fixtures};
use binlog_types::{NodeId, Ts};

use crate::support::{Reparo, clear, dump, last_commit_ts, said, schemas};

#[tokio::test(flavor = "multi_thread")]
async fn pumps_of_the_original_are_restored_from() {
    let cluster = FakeCluster::for_fixture("txn").unwrap();
    cluster.show_all();
    cluster.release_tso();
    let registry = Registry::etcd(&[cluster.url()], None).await.unwrap();
    let last = last_commit_ts("txn");
    let mut hosts = Vec::new();
    for number in 0..3 {
        let pump = OriginalPump::captured("txn", number).unwrap().with_fillers(i64::try_from(last).unwrap());
        let host = pump.serve().await.unwrap();
        let id = NodeId::new(&format!("original-{number}")).unwrap();
        registry.put(NodeKind::Pump, &NodeStatus::new(id, host.clone(), NodeState::Online)).await.unwrap();
        hosts.push(host);
    }
    let server = Mariadb::start().unwrap();
    let all = schemas("txn");
    let (pd, stop) = (format!("-pd-urls={}", cluster.url()), format!("-stop-tso={last}"));
    let truth = fixtures::truth("txn", "end").unwrap();
    let named = format!("-from-pump={}", hosts.join(","));
    for source in ["-from-pump", &named] {
        clear(&server, &all);
        let (_, told) = Reparo::into(&server).run(None, &[source, &pd, &stop, "-restart"]).unwrap();
        assert!(told.contains("pump original-1 is an original one and does not tell"), "{told}");
        assert_same(&truth, &dump(&server, &all), &Comparison::with_mariadb());
    }
    let alone = said(Command::new(program("reparo")).args([&named, &stop]).output().unwrap()).unwrap_err();
    assert!(alone.contains("is an original one: -pd-urls is needed"), "{alone}");

    // One that has gone offline inside the range is missed; one that was gone before is not.
    let mut gone =
        NodeStatus::new(NodeId::new("gone").unwrap(), "127.0.0.1:1".to_owned(), NodeState::Offline);
    gone.update_ts = i64::try_from(last).unwrap() - 5;
    registry.put(NodeKind::Pump, &gone).await.unwrap();
    let plan = |more: &str| {
        let args = ["plan", "-from-pump", &pd, &stop, more];
        said(Command::new(program("reparo")).args(args).output().unwrap())
    };
    let refused = plan("-dest-type=print").unwrap_err();
    assert!(refused.contains("the registry knows of pump gone (seen until"), "{refused}");
    let (told, _) = plan("-allow-gaps").unwrap();
    assert!(told.contains("HOLE: ") && told.contains("pump gone is not read"), "{told}");
    let (told, _) = plan(&format!("-after-tso={}", last - 5)).unwrap();
    assert!(told.contains("no gaps"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_pump_is_read_beside_those_that_run() {
    let mut system = System::start("txn", 3).unwrap();
    let replayer = Replayer::fixture("txn", &system.hosts()).unwrap();
    replayer.run_all(Some(&system.cluster)).await.unwrap();
    let last = last_commit_ts("txn");
    let (pd, stop) = (format!("-pd-urls={}", system.cluster.url()), format!("-stop-tso={last}"));
    let plan = |more: &[&str]| {
        let source = ["plan", "-from-pump", &pd, &stop];
        said(Command::new(program("reparo")).args(source).args(more).output().unwrap())
    };
    // All pumps are complete through the end.
    plan(&[]).unwrap();
    system.kill_pump(1);
    let refused = plan(&[]).unwrap_err();
    assert!(refused.contains("cannot be asked"), "{refused}");
    let store = format!("-from-store={}", system.pump_dir(1).display());
    let (told, _) = plan(&[&store]).unwrap();
    assert!(told.contains("no gaps") && told.contains("store "), "{told}");

    let server = Mariadb::start().unwrap();
    let all = schemas("txn");
    Reparo::into(&server).run(None, &["-from-pump", &pd, &stop, &store]).unwrap();
    assert_same(&fixtures::truth("txn", "end").unwrap(), &dump(&server, &all), &Comparison::with_mariadb());

    // Of a store that ends too early, no more is read than it has.
    const TEN_YEARS: u64 = 10 * 365 * 24 * 3600 * 1000;
    let later = Ts::new(last).physical() + TEN_YEARS;
    let later = format!("-stop-tso={}", Ts::compose(later, 0));
    let beyond =
        said(Command::new(program("reparo")).args(["-from-pump", &pd, &store, &later]).output().unwrap());
    assert!(beyond.unwrap_err().contains("is complete only through"));

    // Where none runs any more, the stores are all there is; and all of them are needed.
    (0..3).for_each(|pump| system.kill_pump(pump));
    let stores = |pumps: &[usize]| {
        let dirs = pumps.iter().map(|pump| system.pump_dir(*pump).display().to_string());
        format!("-from-store={}", dirs.collect::<Vec<_>>().join(","))
    };
    let refused = plan(&[&stores(&[0, 1])]).unwrap_err();
    assert!(refused.contains("cannot be asked"), "{refused}");
    let (told, _) = plan(&[&stores(&[0, 1]), "-allow-gaps"]).unwrap();
    assert!(told.contains("HOLE: ") && told.contains("cannot be asked"), "{told}");
    let (told, _) = plan(&[&stores(&[0, 1, 2])]).unwrap();
    assert!(told.contains("no gaps"), "{told}");
    clear(&server, &all);
    let all_stores = stores(&[0, 1, 2]);
    Reparo::into(&server).run(None, &["-from-pump", &pd, &stop, &all_stores, "-restart"]).unwrap();
    assert_same(&fixtures::truth("txn", "end").unwrap(), &dump(&server, &all), &Comparison::with_mariadb());
}
