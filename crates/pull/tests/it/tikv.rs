//! The schema history from TiKV.

use std::time::Duration;

use binlog_catalog::meta::{self, JobSpec, job_type};
use binlog_catalog::{ColumnType, Table, TableBuilder};
use binlog_cluster::PdClient;
use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_pull::{SchemaBase, SchemaSource as _, TikvSchema};
use binlog_testkit::FakeCluster;
use binlog_types::{CommitTs, JobId, SchemaVersion, SystemClock, TableId};

const LONG: Duration = Duration::from_secs(20);

fn table(version: i64) -> Table {
    TableBuilder::new(TableId(10), "t", SchemaVersion(version)).column("a", ColumnType::bigint()).build()
}

/// Job 100 + n made version n of one table, each after two steps; job 999 was rolled back.
fn history(versions: i64) -> FakeCluster {
    let cluster = FakeCluster::without_etcd().unwrap();
    let put = |key: Vec<u8>, value: &[u8]| cluster.put(key, cluster.now(), Some(value));
    for version in 1..=versions {
        let diff = format!(r#"{{"version":{version},"type":5,"schema_id":2,"table_id":10}}"#);
        put(meta::diff_key(SchemaVersion(version)).to_vec(), diff.as_bytes());
        if version % 3 != 0 {
            continue;
        }
        let now = cluster.now().raw();
        let job = JobSpec {
            id: 100 + version,
            job_type: if version == 3 { job_type::CREATE_TABLE } else { job_type::ADD_COLUMN },
            schema_id: 2,
            schema_name: "d",
            table_id: 10,
            query: "…",
            schema_version: version,
            start_ts: now,
            finished_ts: now,
            table: Some(&table(version)),
            ..JobSpec::default()
        };
        put(meta::job_key(JobId(job.id)).to_vec(), &meta::job_json(&job));
    }
    put(meta::table_key(2, TableId(10)).to_vec(), &meta::table_json(&table(versions)));
    put(meta::schema_version_key().to_vec(), versions.to_string().as_bytes());
    let rolled_back = r#"{"id":999,"type":61,"schema_id":2,"table_id":10,"schema_name":"d","state":3,"err":null,"query":"…",
        "binlog":{"SchemaVersion":0,"DBInfo":null,"TableInfo":null,"FinishedTS":5},"start_ts":1,"raw_args":null}"#;
    put(meta::job_key(JobId(999)).to_vec(), rolled_back.as_bytes());
    cluster
}

fn jobs(objects: &[SchemaObject]) -> Vec<i64> {
    objects.iter().filter(|o| o.kind == ObjectKind::Job as i32).map(|o| o.id).collect()
}

#[tokio::test]
async fn a_reader_that_begins_late_reads_little_and_still_finds_every_job() {
    let cluster = history(600);
    let pd = PdClient::connect(&[cluster.url()], None).await.unwrap();
    let source = TikvSchema::new(pd, SystemClock::handle());
    let base = SchemaBase { version: SchemaVersion(590), ts: CommitTs::ZERO };
    let (objects, complete) =
        source.versions(SchemaVersion(-1), SchemaVersion(600), base, LONG).await.unwrap();
    assert_eq!(complete, SchemaVersion(600));
    assert_eq!(jobs(&objects), [691, 694, 697, 700], "those behind the base");
    let tables: Vec<i64> =
        objects.iter().filter(|o| o.kind == ObjectKind::Table as i32).map(|o| o.schema_version).collect();
    assert_eq!(tables, [588, 591, 594, 597, 600]);
    let reads = cluster.calls("KvGet");
    assert!(reads < 40, "{reads} reads for ten versions");

    // A rolled-back job has no version, and one from long ago was let go: both are found by their ids.
    for id in [999, 103] {
        let found = source.job(JobId(id), LONG).await.unwrap().expect("it is in the history");
        assert_eq!(jobs(&found), [id]);
    }
    assert!(source.job(JobId(5), Duration::from_millis(300)).await.unwrap().is_none());

    // What it has is not given again; who begins anew gets it.
    let (more, _) = source.versions(complete, complete, base, LONG).await.unwrap();
    assert_eq!(more, []);
    let (again, _) = source.versions(SchemaVersion(-1), complete, base, LONG).await.unwrap();
    assert_eq!(again, objects);
}
