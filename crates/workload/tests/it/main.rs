//! The workload against pumps that only write down what they are given: decoded again, it must give the rows of the model.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fake_pump;

use std::collections::BTreeMap;

use binlog_catalog::{ChangeKind, Event, Interpreter, Row, SchemaChange, Start, Step, Table};
use binlog_cluster::{EmbeddedCluster, NodeKind, NodeState, NodeStatus};
use binlog_proto::binlog::{Binlog, BinlogType};
use binlog_proto::split_prewrite;
use binlog_types::{CommitTs, NodeId, SchemaVersion, StartTs};
use binlog_workload::{Limit, Options, RowHasher, TableDigest, Workload};

use fake_pump::FakePump;

struct Site {
    cluster: EmbeddedCluster,
    pumps: Vec<FakePump>,
    _oracle: Option<binlog_cluster::OracleSeat>,
    _dir: tempfile::TempDir,
}

async fn site() -> Site {
    let dir = tempfile::tempdir().unwrap();
    let cluster = EmbeddedCluster::open_or_create(dir.path()).unwrap();
    let mut pumps = Vec::new();
    let mut oracle = None;
    for name in ["pump-1", "pump-2"] {
        let pump = FakePump::start(cluster.cluster_id()).await;
        let id = NodeId::new(name).unwrap();
        oracle = oracle.or(cluster.claim_oracle(&id, &pump.host).unwrap());
        let status = NodeStatus {
            node_id: id,
            host: pump.host.clone(),
            state: NodeState::Online,
            is_alive: false,
            score: 0,
            label: None,
            max_commit_ts: 0,
            update_ts: 0,
        };
        cluster.registry().put(NodeKind::Pump, &status).await.unwrap();
        pumps.push(pump);
    }
    Site { cluster, pumps, _oracle: oracle, _dir: dir }
}

fn options(seed: u64) -> Options {
    Options { seed, accounts: 20, ..Options::default() }
}

/// What all pumps were given, joined: (prewrite, commit_ts) in order of commit_ts, and the number of rollbacks.
fn joined(pumps: &[FakePump]) -> (Vec<(Binlog, i64)>, usize) {
    let (mut stream, mut rollbacks) = (Vec::new(), 0);
    for pump in pumps {
        let writes = pump.writes();
        let mut open = BTreeMap::new();
        for binlog in writes {
            if binlog.tp == BinlogType::Prewrite as i32 {
                assert!(open.insert(binlog.start_ts, binlog).is_none(), "one prewrite a transaction");
                continue;
            }
            let prewrite =
                open.remove(&binlog.start_ts).expect("the outcome goes to the pump that has the prewrite");
            assert_eq!(prewrite.prewrite_key, binlog.prewrite_key);
            if binlog.tp == BinlogType::Rollback as i32 {
                assert_eq!(binlog.commit_ts, 0);
                rollbacks += 1;
            } else {
                assert!(binlog.commit_ts > binlog.start_ts);
                stream.push((prewrite, binlog.commit_ts));
            }
        }
        assert!(open.is_empty(), "every transaction has an outcome");
    }
    stream.sort_by_key(|(_, commit_ts)| *commit_ts);
    (stream, rollbacks)
}

fn text(table: &Table, row: &Row) -> Vec<Option<Vec<u8>>> {
    table.columns.iter().zip(row).map(|(c, v)| v.as_ref().and_then(|v| v.to_text(c))).collect()
}

/// A replica: rows as multisets of texts.
#[derive(Default)]
struct Replica(BTreeMap<String, Vec<Vec<Option<Vec<u8>>>>>);

impl Replica {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Ddl(ddl) => {
                for change in ddl.changes {
                    match change {
                        SchemaChange::CreateTable(t) => {
                            self.0.insert(format!("{}.{}", t.schema, t.table.name), Vec::new());
                        }
                        SchemaChange::DropDatabase { .. } => self.0.clear(),
                        _ => {}
                    }
                }
            }
            Event::Transaction(txn) => {
                for change in txn.changes {
                    let table = &change.table.table;
                    let rows = self.0.get_mut(&format!("{}.{}", change.table.schema, table.name)).unwrap();
                    let (old, new) = match &change.kind {
                        ChangeKind::Insert(row) => (None, Some(row)),
                        ChangeKind::Update { before, after } => (Some(before), Some(after)),
                        ChangeKind::Delete(row) => (Some(row), None),
                    };
                    if let Some(old) = old.map(|row| text(table, row)) {
                        let at = rows.iter().position(|row| *row == old).expect("the old row is there");
                        rows.swap_remove(at);
                    }
                    rows.extend(new.map(|row| text(table, row)));
                }
            }
        }
    }

    fn digests(&self) -> BTreeMap<String, TableDigest> {
        let digest = |rows: &Vec<Vec<Option<Vec<u8>>>>| {
            let mut digest = TableDigest::default();
            for row in rows {
                let mut hasher = RowHasher::new();
                row.iter().for_each(|column| hasher.column(column.as_deref()));
                digest.add(hasher);
            }
            digest
        };
        self.0.iter().map(|(name, rows)| (name.clone(), digest(rows))).collect()
    }
}

fn replay(pumps: &[FakePump], through: u64) -> Replica {
    let mut interpreter = Interpreter::new(Start::At(CommitTs::ZERO));
    let (objects, complete) = pumps[0].schema();
    assert_eq!(pumps[1].schema(), (objects.clone(), complete), "every pump gets every object");
    interpreter.extend(objects, SchemaVersion(complete)).unwrap();
    let mut replica = Replica::default();
    for (prewrite, commit_ts) in joined(pumps).0 {
        if commit_ts as u64 > through {
            break;
        }
        let (start, commit) = (StartTs::new(prewrite.start_ts as u64), CommitTs::new(commit_ts as u64));
        match interpreter.step(start, commit, &split_prewrite(&prewrite)).unwrap() {
            Step::Event(event) => replica.apply(event),
            other => panic!("{prewrite:?} is {other:?}"),
        }
    }
    replica
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_pumps_get_decodes_to_the_model() {
    let site = site().await;
    let mut bank = Workload::connect(&site.cluster, options(7)).await.unwrap();
    bank.create_schema().await.unwrap();
    let mut calls = 0;
    let done = bank.run(6, Limit::Transactions(60), |_| calls += 1).await.unwrap();
    assert!(calls > 0);
    assert_eq!(done.committed + done.rolled_back, 6 * 60 + 1);
    assert!(done.rolled_back > 0, "some roll back");
    assert_eq!(bank.total_cents(), bank.expected_cents(), "transfers move money, they do not make it");
    let before = bank.snapshot().await.unwrap();
    assert_eq!(before.tables["bank.accounts"].rows, 20);
    assert!(before.tables.values().all(|t| t.rows > 0));

    let accounts = bank.delete_all("accounts").await.unwrap();
    assert_eq!(accounts, 20);
    let after_delete = bank.snapshot().await.unwrap();
    bank.drop_database().await.unwrap();
    let after_drop = bank.snapshot().await.unwrap();

    let (stream, rollbacks) = joined(&site.pumps);
    assert_eq!(rollbacks as u64, done.rolled_back);
    assert!(stream.windows(2).all(|w| w[0].1 < w[1].1), "no commit_ts twice");
    assert!(site.pumps.iter().all(|p| p.writes().len() > 50), "both pumps get their share");
    assert_eq!(replay(&site.pumps, before.ts.raw()).digests(), before.tables);
    assert_eq!(replay(&site.pumps, after_delete.ts.raw()).digests(), after_delete.tables);
    assert_eq!(replay(&site.pumps, after_drop.ts.raw()).digests(), after_drop.tables);
    assert!(after_drop.tables.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seed_decides_the_content_however_sessions_interleave() {
    let mut snapshots = Vec::new();
    for seed in [5, 5, 6] {
        let site = site().await;
        let mut bank = Workload::connect(&site.cluster, options(seed)).await.unwrap();
        bank.create_schema().await.unwrap();
        bank.run(4, Limit::Transactions(40), |_| ()).await.unwrap();
        // Notes may be written by two sessions, and the last one wins: what is compared is what does not depend on that.
        let mut tables = bank.snapshot().await.unwrap().tables;
        tables.remove("bank.accounts");
        snapshots.push((tables, bank.total_cents()));
    }
    assert_eq!(snapshots[0], snapshots[1]);
    assert_ne!(snapshots[0], snapshots[2]);
}

#[tokio::test]
async fn a_pump_that_refuses_ends_the_run() {
    let site = site().await;
    let mut bank = Workload::connect(&site.cluster, options(1)).await.unwrap();
    bank.create_schema().await.unwrap();
    site.pumps[1].refuse("no available space");
    let error = bank.run(3, Limit::Transactions(50), |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("no available space"), "{error}");
}
