//! Servers and connections that fail in other ways than by dying.

use std::time::Duration;

use binlog_catalog::{ColumnType, SchemaChange, TableRef};
use binlog_sink::{Checkpoint, MySqlTarget, Session, Sink, SinkOptions, Target};
use binlog_testkit::Mariadb;
use binlog_types::{CommitTs, SchemaVersion};

use crate::proxy::Proxy;
use crate::support::{
    builder, created, ddl, delete, in_db, insert, int, mariadb_target, options, text, txn, update,
};

const READ_TIMEOUT: Duration = Duration::from_secs(1);

fn keyed() -> TableRef {
    in_db(
        builder(1, "k")
            .column("id", ColumnType::int())
            .column("v", ColumnType::int())
            .primary_key(&["id"])
            .build(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_falls_silent_is_given_up() {
    let server = Mariadb::start().unwrap();
    let proxy = Proxy::before(&server).await;
    let table = keyed();
    let mut sink = Sink::open(&proxy.target(READ_TIMEOUT), options()).await.unwrap();
    sink.apply(vec![created(100, &[&table]), txn(200, vec![insert(&table, vec![int(1), int(1)])])])
        .await
        .unwrap();
    let checkpoint =
        Checkpoint { commit_ts: CommitTs::new(200), schema_version: SchemaVersion(1), consistent: false };
    proxy.silence();
    let saved = tokio::time::timeout(Duration::from_secs(20), sink.save(checkpoint)).await;
    saved.expect("the bookkeeping waits for a silent connection").unwrap();
    let update = txn(210, vec![update(&table, vec![int(1), int(1)], vec![int(1), int(2)])]);
    tokio::time::timeout(Duration::from_secs(20), sink.apply(vec![update])).await.unwrap().unwrap();
    assert_eq!(server.sql("SELECT v FROM d.k").unwrap().trim(), "2");
    assert!(server.sql("SELECT checkPoint FROM tidb_binlog.checkpoint").unwrap().contains("200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ddl_whose_answer_is_lost_is_found_to_be_done() {
    let server = Mariadb::start().unwrap();
    let proxy = Proxy::before(&server).await;
    let table = keyed();
    let mut sink = Sink::open(&proxy.target(READ_TIMEOUT), options()).await.unwrap();
    sink.apply(vec![created(100, &[&table])]).await.unwrap();
    let mut wide = (*table.table).clone();
    let mut column = wide.columns[1].clone();
    (column.id, column.name, column.offset) = (9, "w".into(), 2);
    wide.columns.push(column);
    let change = SchemaChange::AlterTable { before: table.clone(), after: in_db(wide) };
    let mut holder = Session::open(&mariadb_target(&server)).await.unwrap();
    holder.execute("LOCK TABLES d.k WRITE").await.unwrap();
    let altering =
        tokio::spawn(
            async move { sink.apply(vec![ddl(200, "alter table k add w int", vec![change])]).await },
        );
    // Longer than the read time-out: the server is at it, so it is waited for.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!altering.is_finished());
    proxy.silence();
    holder.execute("UNLOCK TABLES").await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), altering)
        .await
        .expect("it waits for ever")
        .unwrap()
        .unwrap();
    let columns =
        "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = 'd' AND table_name = 'k'";
    assert_eq!(server.sql(columns).unwrap().trim(), "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_that_show_at_the_end_of_a_whole_transaction_are_replaced() {
    let server = Mariadb::start().unwrap();
    let proxy = Proxy::before(&server).await;
    let options = SinkOptions { workers: 1, whole_transactions: true, ..options() };
    let table = keyed();
    let events = vec![created(100, &[&table]), txn(200, vec![insert(&table, vec![int(1), int(1)])])];
    let mut sink = Sink::open(&proxy.target(READ_TIMEOUT), options.clone()).await.unwrap();
    sink.apply(events.clone()).await.unwrap();
    drop(sink);
    let mut sink = Sink::open(&proxy.target(READ_TIMEOUT), options).await.unwrap();
    proxy.find_a_duplicate_at_the_next_commit();
    let more =
        vec![txn(210, vec![insert(&table, vec![int(2), int(2)]), insert(&table, vec![int(3), int(3)])])];
    sink.apply([events, more].concat()).await.unwrap();
    assert!(proxy.found());
    assert_eq!(server.sql("SELECT id, v FROM d.k ORDER BY 1").unwrap(), "1\t1\n2\t2\n3\t3\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_read_only_for_a_while_is_sat_out() {
    let server = Mariadb::start().unwrap();
    server.sql("CREATE USER app@'127.0.0.1'; GRANT ALL ON *.* TO app@'127.0.0.1'").unwrap();
    server.sql("REVOKE SUPER, READ_ONLY ADMIN ON *.* FROM app@'127.0.0.1'").unwrap();
    let table = keyed();
    let Target::MySql(target) = mariadb_target(&server) else { unreachable!() };
    let target = Target::MySql(MySqlTarget { user: "app".into(), ..target });
    let mut sink = Sink::open(&target, options()).await.unwrap();
    sink.apply(vec![created(100, &[&table])]).await.unwrap();
    server.sql("SET GLOBAL read_only = 1").unwrap();
    let row = txn(200, vec![insert(&table, vec![int(1), int(1)])]);
    let applying = tokio::spawn(async move { sink.apply(vec![row]).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.sql("SET GLOBAL read_only = 0").unwrap();
    tokio::time::timeout(Duration::from_secs(20), applying).await.unwrap().unwrap().unwrap();
    assert_eq!(server.sql("SELECT COUNT(*) FROM d.k").unwrap().trim(), "1");
}

/// With and without a key: the server would end the connection, and the same again would do no better.
#[tokio::test]
async fn a_row_that_is_too_long_for_the_server_is_named() {
    let server = Mariadb::start_with(&["--max-allowed-packet=1M"]).unwrap();
    let long = "x".repeat(1 << 20);
    for (name, key) in [("n", &[][..]), ("k", &["id"][..])] {
        let table =
            builder(1, name).column("id", ColumnType::int()).column("t", ColumnType::varchar(4_000_000));
        let mut table = if key.is_empty() { table.build() } else { table.primary_key(key).build() };
        table.columns[1].ty.tp = binlog_catalog::tp::LONG_BLOB;
        let table = in_db(table);
        let mut sink = Sink::open(&mariadb_target(&server), options()).await.unwrap();
        sink.apply(vec![created(100, &[&table])]).await.unwrap();
        let error =
            sink.apply(vec![txn(200, vec![insert(&table, vec![int(1), text(&long)])])]).await.unwrap_err();
        assert!(!error.retryable());
        let shown = error.to_string();
        assert!(shown.contains(&format!("`d`.`{name}`")) && shown.contains("max_allowed_packet"), "{shown}");
        server.sql("DROP DATABASE d; DROP DATABASE tidb_binlog").unwrap();
    }
}

/// Rows that are each short enough, but not all of them in one search.
#[tokio::test]
async fn many_long_rows_without_a_key_go_in_several_searches() {
    let server = Mariadb::start_with(&["--max-allowed-packet=1M"]).unwrap();
    let mut table =
        builder(1, "n").column("a", ColumnType::int()).column("t", ColumnType::varchar(100_000)).build();
    table.columns[1].ty.tp = binlog_catalog::tp::LONG_BLOB;
    let table = in_db(table);
    let row = |a: i64| vec![int(a), text(&"y".repeat(50_000))];
    let mut sink = Sink::open(&mariadb_target(&server), options()).await.unwrap();
    sink.apply(vec![created(100, &[&table]), txn(200, (0..40).map(|a| insert(&table, row(a))).collect())])
        .await
        .unwrap();
    sink.apply(vec![txn(210, (0..39).map(|a| delete(&table, row(a))).collect())]).await.unwrap();
    assert_eq!(server.sql("SELECT a FROM d.n").unwrap().trim(), "39");
}

#[tokio::test]
async fn a_ddl_of_what_is_not_there_is_left_out_where_the_original_would() {
    let server = Mariadb::start().unwrap();
    let table = keyed();
    let mut narrow = (*table.table).clone();
    narrow.name = "moved".into();
    let rename = || {
        let change = SchemaChange::RenameTable { before: table.clone(), after: in_db(narrow.clone()) };
        vec![ddl(200, "rename table k to moved", vec![change])]
    };
    server.sql("CREATE DATABASE d").unwrap();
    let mut strict = Sink::open(&mariadb_target(&server), options()).await.unwrap();
    let error = strict.apply(rename()).await.unwrap_err();
    assert!(error.to_string().contains("RENAME TABLE"), "{error}");
    server.sql("DROP DATABASE tidb_binlog").unwrap();
    let options = SinkOptions { lenient_ddl: true, ..options() };
    let mut lenient = Sink::open(&mariadb_target(&server), options).await.unwrap();
    lenient.apply(rename()).await.unwrap();
}
