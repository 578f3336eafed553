//! A transaction many times as large as the memory budget, through the program, with a kill in its middle.
//!
//! `BINLOG_LARGE_MB=1024` makes it a gigabyte.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use binlog_catalog::encode::{Mutation, delete_row, insert_row, prewrite_value, update_row};
use binlog_catalog::meta::{JobSpec, database_json, database_object, job_json, job_type, objects_of_job};
use binlog_catalog::{ColumnType, Database, Row, Table, TableBuilder, Value};
use binlog_cluster::{EmbeddedCluster, NodeKind, NodeState, NodeStatus};
use binlog_proto::Body;
use binlog_proto::store::store_server::{Store, StoreServer};
use binlog_proto::store::*;
use binlog_testkit::Mariadb;
use binlog_types::{NodeId, SchemaVersion, TableId};
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

const BUDGET_MIB: u64 = 16;
/// What the program needs beside its budget: code, connections, buffers of statements, what the allocator keeps.
const BESIDE_MIB: u64 = 72;
const COMMIT: u64 = 20;
const FRAGMENT: usize = 1 << 20;

/// A pump with two DDLs and one large transaction.
pub(crate) struct Pump {
    pub(crate) cluster: u64,
    pub(crate) schema: Arc<Mutex<Vec<SchemaObject>>>,
    pub(crate) records: Vec<(u64, Bytes)>,
}

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Store for Pump {
    type ScanStream = Out<ScanResponse>;
    type SchemaStream = Out<SchemaResponse>;

    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        Ok(Response::new(HelloResponse {
            cluster_id: self.cluster,
            node_id: "pump".to_owned(),
            store_uuid: vec![7; 16].into(),
            incarnation: 1,
            protocol: 1,
            watermark: 2 * COMMIT,
            ..HelloResponse::default()
        }))
    }

    async fn scan(&self, request: Request<ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        let after = request.into_inner().after;
        let records: Vec<(u64, Bytes)> =
            self.records.iter().filter(|(commit_ts, _)| *commit_ts > after).cloned().collect();
        let fragments = records.into_iter().flat_map(move |(commit_ts, payload)| {
            let count = payload.len().div_ceil(FRAGMENT);
            (0..count).map(move |sequence| {
                let from = sequence * FRAGMENT;
                let last = sequence + 1 == count;
                let fragment = Fragment {
                    commit_ts,
                    start_ts: commit_ts - 1,
                    sequence: sequence as u32,
                    last,
                    payload: payload.slice(from..payload.len().min(from + FRAGMENT)),
                    ..Fragment::default()
                };
                let complete_through = if last { commit_ts } else { 0 };
                Ok(ScanResponse { fragments: vec![fragment], complete_through, end: false })
            })
        });
        let done = Ok(ScanResponse { complete_through: 2 * COMMIT, ..ScanResponse::default() });
        let all = tokio_stream::iter(fragments.chain([done])).chain(futures::stream::pending());
        Ok(Response::new(Box::pin(all)))
    }

    async fn schema(&self, request: Request<SchemaRequest>) -> Result<Response<Self::SchemaStream>, Status> {
        let request = request.into_inner();
        let wanted = |o: &&SchemaObject| {
            let job = o.kind == ObjectKind::Job as i32 && o.id == request.need_job;
            job || o.schema_version > request.after_version
        };
        let objects = self.schema.lock().iter().filter(wanted).cloned().collect();
        let all = SchemaResponse { objects, complete_version: 3, steps: Vec::new() };
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(all)))))
    }

    async fn stats(&self, _: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        Ok(Response::new(StatsResponse::default()))
    }

    async fn put_schema(&self, _: Request<PutSchemaRequest>) -> Result<Response<PutSchemaResponse>, Status> {
        Err(Status::unimplemented("read only"))
    }

    async fn tso(&self, _: Request<TsoRequest>) -> Result<Response<TsoResponse>, Status> {
        Err(Status::unimplemented("no oracle"))
    }
}

pub(crate) async fn serve(pump: Pump) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serve = tonic::transport::Server::builder()
        .add_service(StoreServer::new(pump))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serve);
    addr
}

pub(crate) fn table(id: i64, name: &str, version: i64, keyed: bool) -> Table {
    let table = TableBuilder::new(TableId(id), name, SchemaVersion(version))
        .column("id", ColumnType::bigint())
        .column("v", ColumnType::varchar(4000));
    if keyed { table.primary_key(&["id"]).build() } else { table.build() }
}

/// A database, and a job for each of these tables.
pub(crate) fn schema(tables: &[&Table]) -> Vec<SchemaObject> {
    let database = Database { id: 2, name: "d".into(), version: SchemaVersion(1), ..Database::default() };
    let mut objects = vec![database_object(&database_json(&database), SchemaVersion(1)).unwrap()];
    for table in tables {
        let spec = JobSpec {
            id: 90 + table.id.0,
            job_type: job_type::CREATE_TABLE,
            schema_id: 2,
            schema_name: "d",
            table_id: table.id.0,
            query: "create table …",
            schema_version: table.version.0,
            finished_ts: 3,
            table: Some(table),
            ..JobSpec::default()
        };
        objects.extend(objects_of_job(&job_json(&spec)).unwrap());
    }
    objects
}

pub(crate) fn row(id: i64, text: &str) -> Row {
    vec![Some(Value::Int(id)), Some(Value::Text(Bytes::copy_from_slice(text.as_bytes())))]
}

/// Rows of `table` of about `bytes`, some of which are changed and some of which go again far behind; and how many are left, how
/// many of them changed, and the sum of their ids.
fn changes(table: &Table, bytes: usize, width: usize, rarely: i64) -> (Vec<Mutation>, u64, u64, i64) {
    let text = "x".repeat(width);
    let rows = (bytes / (width + 20)) as i64;
    let mut changes = Vec::new();
    let (mut left, mut changed, mut sum) = (0, 0, 0);
    for id in 0..rows {
        changes.push(insert_row(table, id + 1, &row(id, &text)).unwrap());
        (left, sum) = (left + 1, sum + id);
        // Those of a while ago: mostly of an earlier part.
        let old = id - 3000;
        if old >= 0 && old % rarely == 0 {
            changes.push(update_row(table, old + 1, &row(old, &text), &row(old, "changed")).unwrap());
            changed += 1;
        }
        if old >= 0 && old % rarely == 25 {
            changes.push(delete_row(table, old + 1, &row(old, &text)).unwrap());
            (left, sum) = (left - 1, sum - old);
        }
    }
    (changes, left, changed, sum)
}

fn drainer(dir: &Path, port: u16) -> Child {
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let budget = format!("{BUDGET_MIB}MiB");
    Command::new(env!("CARGO_BIN_EXE_drainer"))
        .args(["-addr", "127.0.0.1:0", "-node-id", "drainer-1", "-initial-commit-ts", "1"])
        .args([
            "-cluster-dir",
            &path("cluster"),
            "-data-dir",
            &path("drainer"),
            "-log-file",
            &path("drainer.log"),
        ])
        .args(["-dest-db-type", "mysql", "-memory-budget", &budget])
        .env("MYSQL_HOST", "127.0.0.1")
        .env("MYSQL_PORT", port.to_string())
        .spawn()
        .unwrap()
}

/// The most memory that a process ever had, in MiB.
fn peak(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

fn count(server: &Mariadb, sql: &str) -> u64 {
    server.sql(sql).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_far_beyond_the_budget_is_applied_once_within_it() {
    let mib: usize = std::env::var("BINLOG_LARGE_MB").map_or(160, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let cluster = EmbeddedCluster::open_or_create(&dir.path().join("cluster")).unwrap();
    let server = Mariadb::start().unwrap();

    let (keyed, bare) = (table(10, "k", 2, true), table(11, "b", 3, false));
    let schema = schema(&[&keyed, &bare]);
    server.sql("CREATE DATABASE d").unwrap();
    server.sql("CREATE TABLE d.k(id BIGINT PRIMARY KEY, v VARCHAR(4000))").unwrap();
    server.sql("CREATE TABLE d.b(id BIGINT, v VARCHAR(4000))").unwrap();

    let half = mib << 19;
    let (k_changes, k_left, k_changed, k_sum) = changes(&keyed, half, 2000, 50);
    let (b_changes, b_left, b_changed, b_sum) = changes(&bare, half, 500, 400);
    let value = prewrite_value(SchemaVersion(3), vec![(keyed.id, k_changes), (bare.id, b_changes)]);
    let payload: Bytes = Body { prewrite_value: Some(value), ..Body::default() }.encode_to_vec().into();
    let size = payload.len() >> 20;
    assert!(size >= mib * 9 / 10, "{size} MiB");
    let pump = Pump {
        cluster: cluster.cluster_id().0,
        schema: Arc::new(Mutex::new(schema)),
        records: vec![(COMMIT, payload)],
    };
    let host = serve(pump).await.to_string();
    let node = NodeStatus::new(NodeId::new("pump").unwrap(), host, NodeState::Online);
    cluster.registry().put(NodeKind::Pump, &node).await.unwrap();
    let checkpoint = || async {
        let drainers = cluster.registry().list(NodeKind::Drainer).await.unwrap();
        drainers.first().map_or(0, |d| d.max_commit_ts as u64)
    };
    let log = || std::fs::read_to_string(dir.path().join("drainer.log")).unwrap_or_default();

    let begun = Instant::now();
    let limit = Duration::from_secs(120 + mib as u64);
    let mut child = drainer(dir.path(), server.port());
    // Killed in the middle of the rows without a key, which nothing but the progress tells apart.
    while count(&server, "SELECT COUNT(*) FROM d.b") < b_left / 3 {
        assert!(child.try_wait().unwrap().is_none() && begun.elapsed() < limit, "{}", log());
        assert!(checkpoint().await < COMMIT, "acknowledged before its end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let first = peak(&child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(checkpoint().await < COMMIT, "acknowledged before its end");

    let mut child = drainer(dir.path(), server.port());
    while checkpoint().await < COMMIT {
        assert!(child.try_wait().unwrap().is_none() && begun.elapsed() < limit, "{}", log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let second = peak(&child);
    child.kill().unwrap();
    child.wait().unwrap();
    let rows = |sql: &str| count(&server, sql);
    for (name, left, changed, sum) in [("k", k_left, k_changed, k_sum), ("b", b_left, b_changed, b_sum)] {
        assert_eq!(rows(&format!("SELECT COUNT(*) FROM d.{name}")), left, "{name}");
        assert_eq!(rows(&format!("SELECT COUNT(DISTINCT id) FROM d.{name}")), left, "{name}");
        assert_eq!(rows(&format!("SELECT COUNT(*) FROM d.{name} WHERE v = 'changed'")), changed, "{name}");
        assert_eq!(rows(&format!("SELECT SUM(id) FROM d.{name}")), sum as u64, "{name}");
    }
    eprintln!(
        "{size} MiB in {:?}: {first} MiB at most until the kill, {second} MiB after it",
        begun.elapsed()
    );
    assert!(first.max(second) <= BUDGET_MIB + BESIDE_MIB, "{first} and {second} MiB of memory");
}
