//! Restores from pumps of the original, with the schema from TiKV, and from what is left of a cluster of ours.

use std::pin::Pin;
use std::process::Command;
use std::time::Duration;

use binlog_cluster::{NodeKind, NodeState, NodeStatus, Registry};
use binlog_e2e::{System, program};
use binlog_proto::binlog::pump_server::{Pump, PumpServer};
use binlog_proto::binlog::{Binlog, Entity, PullBinlogReq, PullBinlogResp, WriteBinlogReq, WriteBinlogResp};
use binlog_testkit::{
    Comparison, FakeCluster, Mariadb, Replayer, assert_same, fixtures, free_port, wait_for_port,
};
use binlog_types::{NodeId, Ts};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use prost::Message as _;
use tonic::{Request, Response, Status};

use crate::support::{Reparo, clear, dump, last_commit_ts, said, schemas};

/// What an original pump answered, and then fillers later than all that any pump has.
struct Captured {
    payloads: Vec<(i64, Bytes)>,
    newest: i64,
}

#[tonic::async_trait]
impl Pump for Captured {
    type PullBinlogsStream = Pin<Box<dyn Stream<Item = Result<PullBinlogResp, Status>> + Send>>;

    async fn write_binlog(&self, _: Request<WriteBinlogReq>) -> Result<Response<WriteBinlogResp>, Status> {
        Err(Status::unimplemented("read only"))
    }

    async fn pull_binlogs(
        &self,
        request: Request<PullBinlogReq>,
    ) -> Result<Response<Self::PullBinlogsStream>, Status> {
        let after = request.into_inner().start_from.unwrap_or_default().offset;
        let real: Vec<Bytes> =
            self.payloads.iter().filter(|(ts, _)| *ts > after).map(|(_, payload)| payload.clone()).collect();
        let fillers = stream::unfold(after.max(self.newest) + 1, |ts| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let filler = Binlog { tp: 2, start_ts: ts, commit_ts: ts, ..Binlog::default() };
            Some((Bytes::from(filler.encode_to_vec()), ts + 1))
        });
        let entity = |payload| PullBinlogResp { entity: Some(Entity { payload, ..Entity::default() }) };
        Ok(Response::new(Box::pin(stream::iter(real).chain(fillers).map(move |payload| Ok(entity(payload))))))
    }
}

async fn original_pump(fixture: &str, number: u8, newest: i64) -> String {
    let payloads = fixtures::pulled(fixture, number).unwrap();
    let commit_ts = |payload: &Bytes| Binlog::decode(payload.clone()).unwrap().commit_ts;
    let payloads = payloads.into_iter().map(|payload| (commit_ts(&payload), payload)).collect();
    let port = free_port();
    let service = PumpServer::new(Captured { payloads, newest });
    let address = format!("127.0.0.1:{port}");
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve(address.parse().unwrap()));
    assert!(wait_for_port(port, Duration::from_secs(10)));
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn pumps_of_the_original_are_restored_from() {
    let cluster = FakeCluster::for_fixture("txn").unwrap();
    cluster.show_all();
    cluster.release_tso();
    let registry = Registry::etcd(&[cluster.url()], None).await.unwrap();
    let last = last_commit_ts("txn");
    let mut hosts = Vec::new();
    for number in 0..3 {
        let host = original_pump("txn", number, i64::try_from(last).unwrap()).await;
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
    assert!(told.contains("HOLE: pump 127.0.0.1") && told.contains("cannot be asked"), "{told}");
    let (told, _) = plan(&[&stores(&[0, 1, 2])]).unwrap();
    assert!(told.contains("no gaps"), "{told}");
    clear(&server, &all);
    let all_stores = stores(&[0, 1, 2]);
    Reparo::into(&server).run(None, &["-from-pump", &pd, &stop, &all_stores, "-restart"]).unwrap();
    assert_same(&fixtures::truth("txn", "end").unwrap(), &dump(&server, &all), &Comparison::with_mariadb());
}
