//! Targets whose tables have other columns than the source's.

use binlog_catalog::{ColumnType, Event, TableRef};
use binlog_sink::{Sink, SinkOptions};
use binlog_testkit::Mariadb;

use crate::support::{builder, ddl, delete, in_db, insert, int, mariadb_target, options, txn, update};

fn table(id: i64, name: &str, unique: bool) -> TableRef {
    let table = builder(id, name).column("id", ColumnType::int()).column("v", ColumnType::int());
    let table = table.primary_key(&["id"]);
    in_db(if unique { table.unique("v", &["v"]).build() } else { table.build() })
}

fn rows(server: &Mariadb, table: &str) -> String {
    server.sql(&format!("SELECT * FROM d.{table} ORDER BY 1")).unwrap()
}

async fn open(server: &Mariadb, partial_columns: bool) -> Sink {
    let options = SinkOptions { partial_columns, ..options() };
    Sink::open(&mariadb_target(server), options).await.unwrap()
}

/// An UPDATE of the source changes the source's columns, as it does with the original; also when it comes again.
#[tokio::test]
async fn columns_of_the_targets_own_keep_their_values() {
    let server = Mariadb::start().unwrap();
    server
        .sql(
            "CREATE DATABASE d;
             CREATE TABLE d.k(id int primary key, v int, note varchar(9) default 'none');
             CREATE TABLE d.u(id int primary key, v int, note varchar(9) default 'none', unique key v(v));
             CREATE TABLE d.g(id int primary key, v int, twice int as (v * 2) stored)",
        )
        .unwrap();
    let (k, u, g) = (table(1, "k", false), table(2, "u", true), table(3, "g", false));
    let row = |id, v| vec![int(id), int(v)];
    let fill = |at: u64, table: &TableRef| txn(at, (1..=4).map(|id| insert(table, row(id, id))).collect());
    let note = "UPDATE d.k SET note = concat('k', id); UPDATE d.u SET note = concat('u', id)";
    let changes = |at: u64, table: &TableRef| {
        vec![
            txn(at, vec![update(table, row(1, 1), row(1, 10)), delete(table, row(2, 2))]),
            txn(at + 1, vec![insert(table, row(2, 20)), update(table, row(3, 3), row(30, 30))]),
            // The value that row 1 gives up, row 4 takes.
            txn(at + 2, vec![update(table, row(1, 10), row(1, 11)), update(table, row(4, 4), row(4, 10))]),
        ]
    };
    let events: Vec<Event> =
        [changes(210, &k), changes(220, &u), vec![txn(230, vec![update(&g, row(1, 1), row(1, 7))])]].concat();
    let mut sink = open(&server, false).await;
    sink.apply(vec![fill(200, &k), fill(201, &u), fill(202, &g)]).await.unwrap();
    server.sql(note).unwrap();
    sink.apply(events.clone()).await.unwrap();
    let kept = |c: char| format!("1\t11\t{c}1\n2\t20\tnone\n4\t10\t{c}4\n30\t30\t{c}3\n");
    assert_eq!(rows(&server, "k"), kept('k'));
    assert_eq!(rows(&server, "u"), kept('u'));
    assert_eq!(rows(&server, "g"), "1\t7\t14\n2\t2\t4\n3\t3\t6\n4\t4\t8\n");
    // The process dies, and they come again.
    drop(sink);
    let mut sink = open(&server, false).await;
    sink.apply(events).await.unwrap();
    let values = |name: &str| server.sql(&format!("SELECT id, v FROM d.{name} ORDER BY 1")).unwrap();
    assert_eq!(values("k"), "1\t11\n2\t20\n4\t10\n30\t30\n");
    assert_eq!(values("u"), values("k"));
    assert_eq!(server.sql("SELECT note FROM d.k WHERE id = 1").unwrap().trim(), "k1");
}

/// A DDL that was left out comes without its changes: whoever keeps the target may have done the same there.
#[tokio::test]
async fn a_column_that_somebody_adds_later_gets_its_values() {
    let server = Mariadb::start().unwrap();
    server.sql("CREATE DATABASE d; CREATE TABLE d.p(id int primary key)").unwrap();
    let p = table(1, "p", false);
    let row = |id, v| vec![int(id), int(v)];
    let mut sink = open(&server, true).await;
    sink.apply(vec![txn(200, vec![insert(&p, row(1, 1))])]).await.unwrap();
    assert_eq!(rows(&server, "p"), "1\n");
    server.sql("ALTER TABLE d.p ADD v int").unwrap();
    sink.apply(vec![ddl(210, "alter table p add v int", Vec::new()), txn(220, vec![insert(&p, row(2, 2))])])
        .await
        .unwrap();
    assert_eq!(rows(&server, "p"), "1\tNULL\n2\t2\n");
}

#[tokio::test]
async fn a_column_that_somebody_drops_is_missed_and_left_out() {
    let server = Mariadb::start().unwrap();
    server
        .sql(
            "CREATE DATABASE d; CREATE TABLE d.p(id int primary key, v int); CREATE TABLE d.n(id int, v int)",
        )
        .unwrap();
    let p = table(1, "p", false);
    let n = in_db(builder(2, "n").column("id", ColumnType::int()).column("v", ColumnType::int()).build());
    let row = |id, v| vec![int(id), int(v)];
    let mut sink = open(&server, true).await;
    sink.apply(vec![txn(200, vec![insert(&p, row(1, 1)), insert(&n, row(1, 1))])]).await.unwrap();
    server.sql("ALTER TABLE d.p DROP v; ALTER TABLE d.n DROP v").unwrap();
    let later = (0..50)
        .map(|i| txn(210 + i, vec![insert(&p, row(i as i64 + 2, 2)), insert(&n, row(i as i64 + 2, 2))]));
    sink.apply(later.collect()).await.unwrap();
    sink.apply(vec![txn(300, vec![insert(&p, row(100, 3)), insert(&n, row(100, 3))])]).await.unwrap();
    for name in ["p", "n"] {
        let counted = server.sql(&format!("SELECT COUNT(*), COUNT(DISTINCT id) FROM d.{name}")).unwrap();
        assert_eq!(counted.trim(), "52\t52", "{name}");
    }
}

#[tokio::test]
async fn a_target_that_lacks_columns_is_written_in_long_statements() {
    let server = Mariadb::start().unwrap();
    server.sql("CREATE DATABASE d; CREATE TABLE d.p(id int primary key)").unwrap();
    let p = table(1, "p", false);
    let row = |id, v| vec![int(id), int(v)];
    let mut sink = open(&server, true).await;
    sink.apply(vec![txn(200, (0..2000).map(|id| insert(&p, row(id, 1))).collect())]).await.unwrap();
    let statements = || -> u64 {
        let status = "SELECT SUM(VARIABLE_VALUE) FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN \
                      ('COM_INSERT', 'COM_UPDATE', 'COM_REPLACE')";
        server.sql(status).unwrap().trim().parse().unwrap()
    };
    let before = statements();
    sink.apply(vec![txn(210, (0..2000).map(|id| update(&p, row(id, 1), row(id, 2))).collect())])
        .await
        .unwrap();
    assert!(statements() - before < 200, "{} statements for 2000 rows", statements() - before);
}
