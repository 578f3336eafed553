//! The schema history, followed in a TiKV that holds what TiDB leaves there at each step of its DDLs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::meta::{self, JobSpec, job_type};
use binlog_catalog::{
    ColumnType, Event, Interpreter, SchemaChange, SchemaHistory, Start, Step, Table, TableBuilder,
};
use binlog_cluster::{JobRequests, KeepError, SchemaFollower, SchemaKeeper};
use binlog_proto::Body;
use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_testkit::FakeCluster;
use binlog_types::{CommitTs, JobId, ManualClock, SchemaVersion, StartTs, TableId};
use parking_lot::Mutex;

use crate::connect;

const DB: i64 = 2;
/// Longer than a version waits for its job.
const LONG: Duration = Duration::from_secs(6);

#[derive(Debug, Default)]
struct Shelf {
    objects: BTreeMap<(i64, i32, i64), SchemaObject>,
    complete: SchemaVersion,
    mark: i64,
}

/// What a follower has kept; it outlives the follower.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Shelf>>);

impl Kept {
    fn objects(&self) -> Vec<SchemaObject> {
        self.0.lock().objects.values().cloned().collect()
    }

    /// Versions of a table, and whether it is dropped there.
    fn versions(&self, table: i64) -> Vec<(i64, bool)> {
        let of_table = |o: &SchemaObject| o.kind == ObjectKind::Table as i32 && o.id == table;
        self.objects().into_iter().filter(of_table).map(|o| (o.schema_version, o.dropped)).collect()
    }

    /// Versions with a step of a DDL on a table, and what that left of its unique indexes.
    fn steps(&self, table: i64) -> Vec<(i64, Vec<String>)> {
        let of_table = |o: &SchemaObject| o.kind == ObjectKind::Step as i32 && o.id == table;
        let names = |o: &SchemaObject| {
            let json: serde_json::Value = serde_json::from_slice(&o.json).unwrap();
            let unique = json["unique"].as_array().unwrap().clone();
            unique.iter().map(|index| index["name"].as_str().unwrap().to_owned()).collect()
        };
        self.objects().into_iter().filter(of_table).map(|o| (o.schema_version, names(&o))).collect()
    }

    fn has_job(&self, id: i64) -> bool {
        self.objects().iter().any(|o| o.kind == ObjectKind::Job as i32 && o.id == id)
    }
}

impl SchemaKeeper for Kept {
    fn complete(&self) -> SchemaVersion {
        self.0.lock().complete
    }

    fn mark(&self) -> Result<i64, KeepError> {
        Ok(self.0.lock().mark)
    }

    async fn save_mark(&self, mark: i64) -> Result<(), KeepError> {
        self.0.lock().mark = mark;
        Ok(())
    }

    fn knows(&self, object: &SchemaObject) -> Result<bool, KeepError> {
        Ok(self.objects().iter().any(|o| (o.kind, o.id) == (object.kind, object.id)))
    }

    async fn keep(&self, objects: Vec<SchemaObject>, complete: SchemaVersion) -> Result<(), KeepError> {
        let mut shelf = self.0.lock();
        for object in objects {
            let key = (object.schema_version, object.kind, object.id);
            shelf.objects.entry(key).or_insert(object);
        }
        shelf.complete = complete.max(shelf.complete);
        Ok(())
    }
}

struct Site {
    cluster: FakeCluster,
    clock: Arc<ManualClock>,
    requests: Arc<JobRequests>,
    kept: Kept,
    follower: SchemaFollower<Kept>,
}

impl Site {
    async fn start() -> Self {
        let cluster = FakeCluster::without_etcd().unwrap();
        Self::on(cluster, Kept::default()).await
    }

    async fn on(cluster: FakeCluster, kept: Kept) -> Self {
        let clock = ManualClock::new(0);
        let requests = Arc::new(JobRequests::new(clock.clone()));
        let pd = connect(&cluster).await;
        let follower = SchemaFollower::new(pd, kept.clone(), Arc::clone(&requests), clock.clone());
        Site { cluster, clock, requests, kept, follower }
    }

    /// Another follower of the same cluster, which has kept nothing yet.
    async fn joined(self) -> Self {
        Self::on(self.cluster, Kept::default()).await
    }

    fn put(&self, key: impl AsRef<[u8]>, value: &[u8]) {
        self.cluster.put(key.as_ref().to_vec(), self.cluster.now(), Some(value));
    }

    /// The schema version, and the diff that leads to it.
    fn put_version(&self, version: i64, kind: u8, table: i64, more: &str) {
        let diff =
            format!(r#"{{"version":{version},"type":{kind},"schema_id":{DB},"table_id":{table}{more}}}"#);
        self.put(meta::diff_key(SchemaVersion(version)), diff.as_bytes());
        self.put(meta::schema_version_key(), version.to_string().as_bytes());
    }

    fn put_table(&self, table: &Table) {
        self.put(meta::table_key(DB, table.id), &meta::table_json(table));
    }

    /// A finished job that made this version of a table.
    fn put_job(&self, id: i64, kind: u8, old_id: i64, table: &Table) {
        let now = self.cluster.now().raw();
        let job = JobSpec {
            id,
            job_type: kind,
            schema_id: DB,
            schema_name: "d",
            table_id: old_id,
            query: "…",
            schema_version: table.version.0,
            start_ts: now,
            finished_ts: now,
            table: Some(table),
            ..JobSpec::default()
        };
        self.put(meta::job_key(JobId(id)), &meta::job_json(&job));
    }

    /// CREATE TABLE, done.
    fn create(&self, job: i64, table: &Table) {
        self.put_version(table.version.0, job_type::CREATE_TABLE, table.id.0, "");
        self.put_table(table);
        self.put_job(job, job_type::CREATE_TABLE, table.id.0, table);
    }

    /// Rounds until all is settled, past the wait for a job that does not come.
    async fn settle(&mut self) {
        if !self.follower.round().await.unwrap() {
            self.clock.advance(LONG);
            assert!(self.follower.round().await.unwrap());
        }
    }
}

fn table(id: i64, name: &str, version: i64) -> Table {
    TableBuilder::new(TableId(id), name, SchemaVersion(version))
        .column("a", ColumnType::bigint())
        .column("b", ColumnType::bigint())
        .primary_key(&["a"])
        .unique("u", &["b"])
        .build()
}

fn rebuilt(mut table: Table) -> Table {
    table.json = meta::table_json(&table).into();
    table
}

fn ddl(interpreter: &mut Interpreter, job: i64) -> Vec<SchemaChange> {
    let body =
        Body { ddl_query: Some("…".into()), ddl_job_id: job, ddl_schema_state: 5, ..Body::default() };
    // Behind everything that the fake cluster has handed out.
    let (start_ts, commit_ts) = (StartTs::new(u64::MAX >> 1), CommitTs::new((u64::MAX >> 1) + 1));
    let mut changes = Vec::new();
    loop {
        match interpreter.step(start_ts, commit_ts, &body).unwrap() {
            Step::Ahead(ddl) => changes.extend(ddl.changes),
            Step::Event(Event::Ddl(ddl)) => {
                changes.extend(ddl.changes);
                return changes;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// TiDB's ids of jobs come from a counter that tables, partitions and sequences use too.
#[tokio::test]
async fn a_job_that_is_filed_away_far_below_the_others_is_found_when_it_is_asked_for() {
    let mut site = Site::start().await;
    site.create(10_000, &table(10, "t", 1));
    site.settle().await;
    site.put_version(2, job_type::ADD_INDEX, 10, "");
    site.put_table(&table(10, "t", 2));
    site.put_job(5_000, job_type::ADD_INDEX, 10, &table(10, "t", 2));
    site.settle().await;
    assert!(!site.kept.has_job(5_000));
    site.requests.want(JobId(5_000));
    site.requests.want(JobId(6_000));
    assert!(site.follower.round().await.unwrap());
    assert!(site.kept.has_job(5_000) && !site.kept.has_job(6_000));

    // One that is filed away only later, and after a restart.
    let mut site = Site::on(site.cluster, site.kept).await;
    site.requests.want(JobId(4_000));
    site.settle().await;
    site.put_job(4_000, job_type::MODIFY_TABLE_COMMENT, 10, &table(10, "t", 2));
    site.clock.advance(LONG);
    site.settle().await;
    assert!(site.kept.has_job(4_000));

    // One that was read, and that the keeper has let go of since.
    site.kept.0.lock().objects.retain(|(_, kind, _), _| *kind != ObjectKind::Job as i32);
    site.requests.want(JobId(4_000));
    site.settle().await;
    assert!(site.kept.has_job(4_000) && !site.kept.has_job(5_000));
}

/// A DROP INDEX waits in its first step, for a transaction that uses the index; somebody starts then.
#[tokio::test]
async fn a_stalled_step_is_no_state_of_the_table() {
    let mut site = Site::start().await;
    site.create(100, &table(10, "t", 1));
    site.settle().await;
    let mut step = table(10, "t", 2);
    step.indexes.iter_mut().filter(|index| index.name == "u").for_each(|index| index.public = false);
    site.put_version(2, job_type::DROP_INDEX, 10, "");
    site.put_table(&rebuilt(step));
    site.settle().await;
    assert_eq!((site.kept.complete(), site.kept.versions(10)), (SchemaVersion(2), vec![(1, false)]));
    assert_eq!(
        site.kept.steps(10),
        [(2, vec!["PRIMARY".to_owned()])],
        "rows of the version may be equal in u"
    );

    let mut interpreter = Interpreter::new(Start::Version(SchemaVersion(2)));
    interpreter.extend(site.kept.objects(), site.kept.complete()).unwrap();

    let mut without = table(10, "t", 3);
    without.indexes.retain(|index| index.name != "u");
    let without = rebuilt(without);
    site.put_version(3, job_type::DROP_INDEX, 10, "");
    site.put_table(&without);
    site.put_job(101, job_type::DROP_INDEX, 10, &without);
    assert!(site.follower.round().await.unwrap(), "its job explains the version");
    interpreter.extend(site.kept.objects(), site.kept.complete()).unwrap();
    let changes = ddl(&mut interpreter, 101);
    // That it is not enforced any more was known where the reader began.
    let (Some(SchemaChange::AlterTable { before, .. }), Some(SchemaChange::AlterTable { after, .. })) =
        (changes.first(), changes.last())
    else {
        panic!("{changes:?}")
    };
    let names = |table: &Table| table.indexes.iter().map(|index| index.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        (names(&before.table), names(&after.table)),
        (vec!["PRIMARY".into(), "u".into()], vec!["PRIMARY".into()])
    );
    assert!(before.table.indexes.iter().all(|index| index.public));
}

/// Versions of a DDL that ended before anybody looked: which of them were steps is known by their diffs, and what they took by its job.
#[tokio::test]
async fn the_steps_of_a_ddl_that_has_ended_are_kept_too() {
    let left = || vec!["PRIMARY".to_owned()];
    let mut site = Site::start().await;
    site.create(100, &table(10, "t", 1));
    site.create(101, &table(11, "other", 2));
    let mut without = table(10, "t", 6);
    without.indexes.retain(|index| index.name != "u");
    let without = rebuilt(without);
    for version in [3, 4, 6] {
        site.put_version(version, job_type::DROP_INDEX, 10, "");
        if version == 4 {
            site.put_version(5, job_type::ADD_INDEX, 11, "");
        }
    }
    site.put_table(&without);
    site.put_job(102, job_type::DROP_INDEX, 10, &without);
    site.settle().await;
    assert_eq!(site.kept.complete(), SchemaVersion(6));
    assert_eq!(site.kept.steps(10), [(3, left()), (4, left())], "its last version is the job's own");
    assert_eq!(site.kept.steps(11), [], "an index that comes is no matter");
    assert_eq!(site.kept.versions(10), [(1, false), (6, false)]);

    // The next one: its steps are not those of the one before.
    let mut changed = without.clone();
    changed.version = SchemaVersion(8);
    changed.comment = "next".into();
    let changed = rebuilt(changed);
    site.put_version(7, job_type::DROP_COLUMN, 10, "");
    site.put_version(8, job_type::DROP_COLUMN, 10, "");
    site.put_table(&changed);
    site.put_job(103, job_type::DROP_COLUMN, 10, &changed);
    site.settle().await;
    assert_eq!(site.kept.steps(10), [(3, left()), (4, left()), (7, left())]);
}

/// TiDB raises the version in a transaction of its own, before the one that makes it.
#[tokio::test]
async fn a_version_that_is_raised_and_not_made_yet_is_waited_for() {
    let mut site = Site::start().await;
    site.create(100, &table(10, "t", 1));
    site.settle().await;
    let raise = |site: &Site, version: i64| {
        site.put(meta::schema_version_key(), version.to_string().as_bytes());
    };
    raise(&site, 2);
    assert!(!site.follower.round().await.unwrap());
    assert_eq!(site.kept.complete(), SchemaVersion(1), "rows of version 2 may need what it brings");
    let mut step = table(10, "t", 2);
    step.indexes.iter_mut().filter(|index| index.name == "u").for_each(|index| index.public = false);
    site.put_version(2, job_type::DROP_INDEX, 10, "");
    site.put_table(&rebuilt(step));
    raise(&site, 3);
    site.settle().await;
    assert_eq!(site.kept.steps(10), [(2, vec!["PRIMARY".to_owned()])]);
    // What raised version 3 has died, and nothing comes of it.
    assert_eq!(site.kept.complete(), SchemaVersion(3));

    site.create(101, &table(11, "later", 4));
    assert!(site.follower.round().await.unwrap());
    assert_eq!((site.kept.complete(), site.kept.versions(11)), (SchemaVersion(4), vec![(4, false)]));
}

/// A multi-schema change that was rolled back has taken nothing, and says no version; one that is under way is read as it stands.
#[tokio::test]
async fn a_step_that_took_nothing_says_so() {
    let all = || vec!["PRIMARY".to_owned(), "u".to_owned()];
    let mut site = Site::start().await;
    site.create(100, &table(10, "t", 1));
    site.settle().await;
    site.put_version(2, job_type::MULTI_SCHEMA_CHANGE, 10, "");
    site.settle().await;
    assert_eq!(site.kept.steps(10), [(2, all())]);

    // It is rolled back, by a job with a version.
    site.put_version(3, job_type::DROP_INDEX, 10, "");
    site.put_version(4, job_type::DROP_INDEX, 10, "");
    let ts = site.cluster.now().raw();
    let job = format!(
        r#"{{"id":101,"type":8,"schema_id":{DB},"table_id":10,"state":3,"start_ts":{ts},"query":"…",
            "binlog":{{"SchemaVersion":4,"FinishedTS":{ts}}}}}"#
    );
    site.put(meta::job_key(JobId(101)), job.as_bytes());
    site.settle().await;
    assert_eq!((site.kept.complete(), site.kept.steps(10)), (SchemaVersion(4), vec![(2, all())]));

    // The table has gone by the time that it is read.
    site.put_version(5, job_type::DROP_INDEX, 10, "");
    site.cluster.put(meta::table_key(DB, TableId(10)), site.cluster.now(), None);
    site.settle().await;
    assert_eq!((site.kept.complete(), site.kept.steps(10)), (SchemaVersion(5), vec![(2, all())]));
}

/// A table that is at rest although its job is not in the history: it is taken as it stands.
#[tokio::test]
async fn a_version_whose_job_does_not_come_is_read_from_its_table() {
    let mut site = Site::start().await;
    site.create(100, &table(10, "t", 1));
    site.settle().await;
    site.put_version(2, job_type::RENAME_TABLE, 10, "");
    site.put_table(&table(10, "renamed", 2));
    assert!(!site.follower.round().await.unwrap());
    assert_eq!(site.kept.complete(), SchemaVersion(1));
    site.settle().await;
    assert_eq!(
        (site.kept.complete(), site.kept.versions(10)),
        (SchemaVersion(2), vec![(1, false), (2, false)])
    );
}

/// EXCHANGE PARTITION, then a DDL on the plain table. TiKV has collected what lay between by the time a second pump joins.
#[tokio::test]
async fn a_pump_that_joins_late_takes_no_collected_version_for_a_drop() {
    let mut site = Site::start().await;
    site.create(100, &table(10, "parts", 1));
    site.create(101, &table(12, "plain", 2));
    site.settle().await;
    // The plain table has the partition's id 11 now. That version of it is gone.
    let exchange = format!(r#","old_table_id":12,"affected_options":[{{"schema_id":{DB},"table_id":10}}]"#);
    site.put_version(3, job_type::EXCHANGE_TABLE_PARTITION, 11, &exchange);
    site.put_job(102, job_type::EXCHANGE_TABLE_PARTITION, 12, &table(10, "parts", 3));
    site.put_version(4, job_type::RENAME_TABLE, 11, "");
    site.put_job(103, job_type::RENAME_TABLE, 11, &table(11, "renamed", 4));
    site.put_table(&table(11, "renamed", 4));
    let early = site.kept.clone();
    // The first pump has read the table in time.
    let read = meta::table_object(
        &meta::table_key(DB, TableId(11)),
        DB,
        &meta::table_json(&table(11, "plain", 3)),
        SchemaVersion(3),
    );
    site.settle().await;
    early.keep(vec![read.unwrap().unwrap()], SchemaVersion(4)).await.unwrap();

    let mut late = site.joined().await;
    late.settle().await;
    assert_eq!((late.kept.complete(), late.kept.versions(11)), (SchemaVersion(4), vec![(4, false)]));
    assert_eq!(late.kept.versions(12), [(2, false), (3, true)], "the old id is gone");
    let mut united = SchemaHistory::default();
    for object in early.objects().into_iter().chain(late.kept.objects()) {
        united.insert(object).unwrap();
    }
}

/// What a view of the same name was replaced by has no job of its own, and goes by its old id.
#[tokio::test]
async fn an_old_id_that_is_not_there_is_dropped() {
    let mut site = Site::start().await;
    site.create(100, &table(10, "v", 1));
    site.settle().await;
    site.put_version(2, job_type::CREATE_VIEW, 11, r#","old_table_id":10"#);
    site.put_job(101, job_type::CREATE_VIEW, 11, &table(11, "v", 2));
    site.cluster.put(meta::table_key(DB, TableId(10)), site.cluster.now(), None);
    site.settle().await;
    assert_eq!(site.kept.versions(10), [(1, false), (2, true)]);
}

#[tokio::test]
async fn jobs_that_were_rolled_back_are_kept_and_do_not_hold_up_versions() {
    let mut site = Site::start().await;
    site.create(100, &table(10, "t", 1));
    site.settle().await;
    let job = |id: i64, version: i64| {
        let (table, ts) = (10, site.cluster.now().raw());
        format!(
            r#"{{"id":{id},"type":7,"schema_id":{DB},"table_id":{table},"state":3,"start_ts":{ts},"query":"…",
                "binlog":{{"SchemaVersion":{version},"FinishedTS":{ts}}}}}"#
        )
    };
    for version in 2..=5 {
        site.put_version(version, job_type::ADD_INDEX, 10, "");
    }
    site.put(meta::job_key(JobId(101)), job(101, 5).as_bytes());
    // A multi-schema change that was rolled back says no version.
    site.put(meta::job_key(JobId(102)), job(102, 0).as_bytes());
    assert!(site.follower.round().await.unwrap(), "nothing is waited for");
    assert_eq!((site.kept.complete(), site.kept.versions(10)), (SchemaVersion(5), vec![(1, false)]));
    assert!(site.kept.has_job(101) && site.kept.has_job(102));
}

/// A job that is not even JSON must not hold up the others.
#[tokio::test]
async fn a_job_that_cannot_be_read_is_kept_as_it_is() {
    let mut site = Site::start().await;
    site.create(100, &table(10, "t", 1));
    site.put(meta::job_key(JobId(101)), b"{torn");
    site.settle().await;
    assert_eq!(site.kept.complete(), SchemaVersion(1));
    assert!(site.kept.has_job(100) && site.kept.has_job(101));
}

/// What is read is not read again in every round.
#[tokio::test]
async fn a_version_that_is_waited_for_is_read_once() {
    let mut site = Site::start().await;
    site.create(100, &table(10, "t", 1));
    for version in 2..=40 {
        site.put_version(version, job_type::ADD_INDEX, 10, "");
    }
    assert!(!site.follower.round().await.unwrap());
    let reads = site.cluster.calls("KvGet");
    let scans = site.cluster.calls("KvScan");
    for _ in 0..5 {
        assert!(!site.follower.round().await.unwrap());
    }
    assert_eq!(site.cluster.calls("KvGet") - reads, 5, "the version");
    assert_eq!(site.cluster.calls("KvScan") - scans, 5, "jobs above the mark");
    site.settle().await;
    assert_eq!(site.kept.complete(), SchemaVersion(40));
}
