//! Where another drainer left off: the original keeps no books beside its checkpoint.

use binlog_catalog::{ColumnType, Event, SchemaChange};
use binlog_sink::{Checkpoint, SinkOptions};
use binlog_testkit::Mariadb;
use binlog_types::{CommitTs, SchemaVersion};

use crate::support::{
    CLUSTER, builder, created, ddl, delete, in_db, insert, int, mariadb_target, options, txn, update,
};

/// A commit_ts so many milliseconds later.
fn after(millis: u64) -> u64 {
    (1_700_000_000_000 + millis) << 18
}

/// The original was killed a second after it had saved its checkpoint. What it had applied by then comes again.
#[tokio::test]
async fn a_drainer_that_was_killed_leaves_a_window_in_doubt() {
    let server = Mariadb::start().unwrap();
    let keyless =
        in_db(builder(1, "n").column("a", ColumnType::int()).column("v", ColumnType::int()).build());
    let old = in_db(builder(2, "old").column("id", ColumnType::int()).primary_key(&["id"]).build());
    let new = in_db(builder(2, "new").column("id", ColumnType::int()).primary_key(&["id"]).build());
    let row = |a, v| vec![int(a), int(v)];
    // What the original left: the rows as they are a second after its checkpoint, and the table under its new name.
    server
        .sql(&format!(
            "CREATE DATABASE d; CREATE TABLE d.n(a int, v int); CREATE TABLE d.new(id int primary key);
             INSERT INTO d.n VALUES (1, 2), (3, 1);
             CREATE DATABASE tidb_binlog;
             CREATE TABLE tidb_binlog.checkpoint(clusterID bigint unsigned primary key, checkPoint MEDIUMTEXT);
             INSERT INTO tidb_binlog.checkpoint VALUES ({CLUSTER}, '{{\"consistent\":false,\"commitTS\":{},\"ts-map\":{{}},\"schema-version\":3}}')",
            after(0)
        ))
        .unwrap();
    let events: Vec<Event> = vec![
        txn(after(300), vec![update(&keyless, row(1, 1), row(1, 2)), delete(&keyless, row(2, 1))]),
        ddl(
            after(500),
            "RENAME TABLE `old` TO `new`",
            vec![SchemaChange::RenameTable { before: old, after: new.clone() }],
        ),
        txn(after(600), vec![insert(&new, vec![int(1)])]),
    ];
    let open = || async {
        binlog_sink::Sink::open(&mariadb_target(&server), SinkOptions { ..options() }).await.unwrap()
    };
    let mut sink = open().await;
    sink.apply(events.clone()).await.unwrap();
    assert_eq!(server.sql("SELECT * FROM d.n ORDER BY a").unwrap(), "1\t2\n3\t1\n");
    assert_eq!(server.sql("SELECT id FROM d.new").unwrap().trim(), "1");
    // It stays in doubt over restarts, until the checkpoint has passed it …
    let checkpoint = |millis| Checkpoint {
        commit_ts: CommitTs::new(after(millis)),
        schema_version: SchemaVersion(3),
        consistent: false,
    };
    sink.save(checkpoint(1000)).await.unwrap();
    drop(sink);
    let mut sink = open().await;
    sink.apply(vec![txn(after(2000), vec![delete(&keyless, row(9, 9))])]).await.unwrap();
    // … and what comes later is certain.
    let error = sink.apply(vec![txn(after(20_000), vec![delete(&keyless, row(9, 9))])]).await.unwrap_err();
    assert!(error.to_string().contains("`d`.`n`"), "{error}");
    let mut sink = open().await;
    sink.save(checkpoint(30_000)).await.unwrap();
    drop(sink);
    let mut sink = open().await;
    let error = sink.apply(vec![txn(after(31_000), vec![delete(&keyless, row(9, 9))])]).await.unwrap_err();
    assert!(error.to_string().contains("`d`.`n`"), "a checkpoint of one's own is in no doubt: {error}");
}

/// One that stopped in order has applied nothing behind its checkpoint.
#[tokio::test]
async fn an_orderly_end_leaves_no_doubt() {
    let server = Mariadb::start().unwrap();
    let keyless = in_db(builder(1, "n").column("a", ColumnType::int()).build());
    server
        .sql(&format!(
            "CREATE DATABASE tidb_binlog;
             CREATE TABLE tidb_binlog.checkpoint(clusterID bigint unsigned primary key, checkPoint MEDIUMTEXT);
             INSERT INTO tidb_binlog.checkpoint VALUES ({CLUSTER}, '{{\"consistent\":true,\"commitTS\":{},\"ts-map\":{{}},\"schema-version\":3}}')",
            after(0)
        ))
        .unwrap();
    let mut sink = binlog_sink::Sink::open(&mariadb_target(&server), options()).await.unwrap();
    sink.apply(vec![created(after(10), &[&keyless])]).await.unwrap();
    let error = sink.apply(vec![txn(after(20), vec![delete(&keyless, vec![int(1)])])]).await.unwrap_err();
    assert!(error.to_string().contains("`d`.`n`"), "{error}");
}
