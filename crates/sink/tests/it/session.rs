//! The session's settings, the checkpoint's table, marks, and targets with fewer columns.

use binlog_catalog::ColumnType;
use binlog_sink::{Checkpoint, Error, Marks, MySqlTarget, Sink, SinkOptions, Target};
use binlog_testkit::Mariadb;
use binlog_types::{CommitTs, SchemaVersion};

use crate::support::{
    Database, builder, created, in_db, insert, int, mariadb_target, options, text, txn, update,
};

fn checkpoint(commit_ts: u64) -> Checkpoint {
    Checkpoint { commit_ts: CommitTs::new(commit_ts), schema_version: SchemaVersion(3), consistent: false }
}

fn mysql(server: &Mariadb) -> MySqlTarget {
    let Target::MySql(target) = mariadb_target(server) else { panic!("a server") };
    target
}

#[tokio::test]
async fn a_checkpoint_is_written_only_over_ones_own() {
    let database = Database::server();
    let Database::Server(server) = &database else { panic!("a server") };
    server.sql("CREATE DATABASE tidb_binlog; CREATE TABLE tidb_binlog.checkpoint(clusterID bigint unsigned primary key, checkPoint MEDIUMTEXT)").unwrap();
    let row = r#"{"consistent":false,"commitTS":100,"ts-map":{"primary-ts":1,"secondary-ts":2},"schema-version":3}"#;
    let cluster = options().cluster;
    server.sql(&format!("INSERT INTO tidb_binlog.checkpoint VALUES ({cluster}, '{row}')")).unwrap();
    let mut first = database.open().await;
    let mut second = database.open().await;
    assert_eq!(first.checkpoint().await.unwrap(), Some(checkpoint(100)));
    first.save(checkpoint(110)).await.unwrap();
    first.save(checkpoint(110)).await.unwrap();
    let stored = server.sql("SELECT checkPoint FROM tidb_binlog.checkpoint").unwrap();
    assert_eq!(stored.trim(), row.replace("100", "110"));
    let error = second.save(checkpoint(120)).await.unwrap_err();
    assert!(matches!(error, Error::CheckpointTaken { .. }), "{error}");
    first.save(checkpoint(130)).await.unwrap();
    let history = server.sql("SELECT COUNT(*) FROM tidb_binlog.checkpoint_history WHERE slot >= 0").unwrap();
    assert_eq!(history.trim(), "1", "one a minute");
}

#[tokio::test]
async fn a_checkpoint_may_lie_on_another_server() {
    let (rows, elsewhere) = (Mariadb::start().unwrap(), Mariadb::start().unwrap());
    let open = || {
        let options = SinkOptions {
            checkpoint_target: Some(mysql(&elsewhere)),
            checkpoint_schema: "my_binlog".into(),
            checkpoint_table: "cp".into(),
            ..options()
        };
        let target = mariadb_target(&rows);
        async move { Sink::open(&target, options).await }
    };
    let mut sink = open().await.unwrap();
    sink.save(checkpoint(7)).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(open().await.unwrap().checkpoint().await.unwrap(), Some(checkpoint(7)));
    assert!(elsewhere.sql("SELECT checkPoint FROM my_binlog.cp").unwrap().contains("\"commitTS\":7"));
    assert!(rows.sql("SELECT checkPoint FROM my_binlog.cp").is_err());
}

#[tokio::test]
async fn settings_hold_and_rows_carry_marks() {
    let server = Mariadb::start().unwrap();
    let target = MySqlTarget {
        sql_mode: vec!["ANSI_QUOTES".into()],
        session: vec![
            ("lock_wait_timeout".into(), "77".into()),
            ("collation_connection".into(), "utf8mb4_bin".into()),
        ],
        ..mysql(&server)
    };
    let options = SinkOptions { marks: Some(Marks { channel: 5 }), ..options() };
    let keyed = in_db(builder(1, "k").column("id", ColumnType::int()).primary_key(&["id"]).build());
    let keyless = in_db(builder(2, "n").column("a", ColumnType::varchar(20)).build());
    let mut sink = Sink::open(&Target::MySql(target), options.clone()).await.unwrap();
    sink.apply(vec![
        created(100, &[&keyed, &keyless]),
        txn(200, vec![insert(&keyed, vec![int(1)]), insert(&keyless, vec![text("it's \\ \"x\"")])]),
    ])
    .await
    .unwrap();
    assert_eq!(server.sql("SELECT a FROM d.n WHERE a = 'it''s \\\\ \"x\"'").unwrap().lines().count(), 1);
    let marked = server.sql("SELECT SUM(val - 1) FROM retl._drainer_repl_mark WHERE channel_id = 5").unwrap();
    assert_eq!(marked.trim(), "2", "one a transaction");
    sink.close().await.unwrap();
    assert_eq!(server.sql("SELECT COUNT(*) FROM retl._drainer_repl_mark").unwrap().trim(), "0");
    let refused = MySqlTarget { session: vec![("no_such_variable".into(), "1".into())], ..mysql(&server) };
    let error = Sink::open(&Target::MySql(refused), options).await.unwrap_err();
    assert!(error.to_string().contains("no_such_variable"), "{error}");
}

#[tokio::test]
async fn a_target_may_lack_columns() {
    let server = Mariadb::start().unwrap();
    server
        .sql("CREATE DATABASE d; CREATE TABLE d.p(id int primary key, a int); CREATE TABLE d.q(a int)")
        .unwrap();
    let wide = |id, name: &str, keyed: bool| {
        let table = builder(id, name).column("id", ColumnType::int()).column("a", ColumnType::int());
        let table = table.column("b", ColumnType::int());
        in_db(if keyed { table.primary_key(&["id"]).build() } else { table.build() })
    };
    let (p, q) = (wide(1, "p", true), wide(2, "q", false));
    let row = |id, a, b| vec![int(id), int(a), int(b)];
    let options = SinkOptions { partial_columns: true, ..options() };
    let mut sink = Sink::open(&mariadb_target(&server), options).await.unwrap();
    sink.apply(vec![
        txn(200, vec![insert(&p, row(1, 2, 3)), insert(&q, row(1, 2, 3))]),
        txn(210, vec![update(&p, row(1, 2, 3), row(1, 5, 6)), update(&q, row(1, 2, 3), row(1, 5, 6))]),
    ])
    .await
    .unwrap();
    assert_eq!(server.sql("SELECT id, a FROM d.p").unwrap().trim(), "1\t5");
    assert_eq!(server.sql("SELECT a FROM d.q").unwrap().trim(), "5");
}

/// Two drainers of one cluster into one server, each with a checkpoint of its own: neither takes the other's books for its own.
#[tokio::test]
async fn each_checkpoint_has_books_of_its_own() {
    let (server, elsewhere) = (Mariadb::start().unwrap(), Mariadb::start().unwrap());
    let open = |checkpoint_table: &str, far: bool| {
        let options = SinkOptions {
            checkpoint_table: checkpoint_table.into(),
            checkpoint_target: far.then(|| mysql(&elsewhere)),
            ..options()
        };
        let target = mariadb_target(&server);
        async move { Sink::open(&target, options).await.unwrap() }
    };
    let tables = ["a", "b", "c"].map(|name| in_db(builder(1, name).column("a", ColumnType::int()).build()));
    let [a, b, c] = &tables;
    let events = |table| vec![created(100, &[table]), txn(200, vec![insert(table, vec![int(1)])])];
    open("checkpoint", false).await.apply(events(a)).await.unwrap();
    // The first one's progress says that it applied everything up to 200.
    open("other", false).await.apply(events(b)).await.unwrap();
    open("checkpoint", true).await.apply(events(c)).await.unwrap();
    for _ in 0..2 {
        for name in ["a", "b", "c"] {
            let rows = server.sql(&format!("SELECT a FROM d.{name}")).unwrap();
            assert_eq!(rows.trim(), "1", "{name}");
        }
        // They come again, each to its own books.
        open("checkpoint", false).await.apply(events(a)).await.unwrap();
        open("other", false).await.apply(events(b)).await.unwrap();
        open("checkpoint", true).await.apply(events(c)).await.unwrap();
    }
}
