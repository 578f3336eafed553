//! Events that come again after a crash have no second effect.

use binlog_catalog::{ColumnType, SchemaChange};
use binlog_sink::Checkpoint;
use binlog_types::{CommitTs, SchemaVersion};

use crate::support::{Database, builder, created, ddl, delete, in_db, insert, int, text, txn, update};

fn checkpoint(commit_ts: u64) -> Checkpoint {
    Checkpoint { commit_ts: CommitTs::new(commit_ts), schema_version: SchemaVersion(58), consistent: false }
}

#[tokio::test]
async fn rows_without_a_key_are_applied_once() {
    let table =
        in_db(builder(1, "hist").column("a", ColumnType::int()).column("b", ColumnType::varchar(10)).build());
    let row = |a: i64| vec![int(a), text("x")];
    let first: Vec<_> =
        (0..50).map(|i| txn(200 + i, vec![insert(&table, row(1)), insert(&table, row(2))])).collect();
    let later = vec![
        txn(300, vec![delete(&table, row(1)), update(&table, row(2), row(3))]),
        txn(310, vec![insert(&table, row(1))]),
    ];
    for database in Database::both() {
        let mut sink = database.open().await;
        sink.apply(vec![created(100, &[&table])]).await.unwrap();
        sink.save(checkpoint(150)).await.unwrap();
        sink.apply(first.clone()).await.unwrap();
        sink.apply(later.clone()).await.unwrap();
        let once = database.rows("d", "hist").await;
        assert_eq!(once.len(), 100);
        assert_eq!(once.iter().filter(|r| *r == "3,x").count(), 1);
        // The process dies here: the checkpoint is still at 150.
        drop(sink);
        let mut sink = database.open().await;
        assert_eq!(sink.checkpoint().await.unwrap(), Some(checkpoint(150)));
        sink.apply([first.clone(), later.clone()].concat()).await.unwrap();
        sink.apply(vec![txn(320, vec![insert(&table, row(9))])]).await.unwrap();
        let rows = database.rows("d", "hist").await;
        assert_eq!(rows.len(), 101, "{rows:?}");
        assert!(rows.contains(&"9,x".to_owned()));
        sink.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_truncate_does_not_take_later_rows() {
    let keyed = in_db(builder(1, "k").column("id", ColumnType::int()).primary_key(&["id"]).build());
    let keyless = in_db(builder(2, "n").column("a", ColumnType::int()).build());
    let truncate = |at, table: &binlog_catalog::TableRef| {
        ddl(at, "truncate", vec![SchemaChange::TruncateTable { before: table.clone(), after: table.clone() }])
    };
    let events = vec![
        created(100, &[&keyed, &keyless]),
        txn(200, vec![insert(&keyed, vec![int(1)]), insert(&keyless, vec![int(1)])]),
        truncate(210, &keyed),
        truncate(211, &keyless),
        txn(220, vec![insert(&keyed, vec![int(2)]), insert(&keyless, vec![int(2)])]),
    ];
    for database in Database::both() {
        for _ in 0..2 {
            let mut sink = database.open().await;
            sink.apply(events.clone()).await.unwrap();
            assert_eq!(database.rows("d", "k").await, ["2"]);
            assert_eq!(database.rows("d", "n").await, ["2"]);
        }
    }
}

#[tokio::test]
async fn unique_values_may_change_places() {
    let table = in_db(
        builder(1, "u")
            .column("id", ColumnType::int())
            .column("u", ColumnType::int())
            .primary_key(&["id"])
            .unique("u", &["u"])
            .build(),
    );
    let row = |id, u| vec![int(id), int(u)];
    let fill = txn(200, (0..100).map(|i| insert(&table, row(i, i))).collect());
    // Every row takes the value of its neighbour, and then keys change places too.
    let shift = txn(210, (0..100).map(|i| update(&table, row(i, i), row(i, (i + 1) % 100))).collect());
    let swap = txn(
        220,
        vec![
            delete(&table, row(0, 1)),
            update(&table, row(1, 2), row(0, 2)),
            insert(&table, row(1, 1)),
            update(&table, row(99, 0), row(500, 0)),
        ],
    );
    let events = vec![created(100, &[&table]), fill, shift, swap];
    for database in Database::both() {
        for _ in 0..2 {
            let mut sink = database.open().await;
            sink.apply(events.clone()).await.unwrap();
            let rows = database.rows("d", "u").await;
            assert_eq!(rows.len(), 100);
            for expected in ["0,2", "1,1", "2,3", "500,0"] {
                assert!(rows.contains(&expected.to_owned()), "{expected} in {rows:?}");
            }
        }
    }
}

#[tokio::test]
async fn keys_that_a_collation_takes_as_one() {
    let mut table = builder(1, "ci")
        .column("k", ColumnType::varchar(10))
        .column("v", ColumnType::int())
        .primary_key(&["k"])
        .build();
    table.columns[0].ty.collate = "utf8mb4_general_ci".into();
    let table = in_db(table);
    let row = |k: &str, v| vec![text(k), int(v)];
    let events = vec![
        created(100, &[&table]),
        txn(200, vec![insert(&table, row("a", 1)), insert(&table, row("b", 1))]),
        txn(210, vec![update(&table, row("a", 1), row("A", 2))]),
        txn(220, vec![delete(&table, row("b", 1)), insert(&table, row("B", 2))]),
        txn(230, vec![delete(&table, row("B", 2)), insert(&table, row("b ", 3))]),
    ];
    for database in Database::both() {
        for _ in 0..2 {
            let mut sink = database.open().await;
            sink.apply(events.clone()).await.unwrap();
            assert_eq!(database.rows("d", "ci").await, ["A,2", "b ,3"]);
        }
    }
}

#[tokio::test]
async fn an_update_keeps_what_it_does_not_bind() {
    let table = in_db(
        builder(1, "p")
            .column("id", ColumnType::int())
            .column("a", ColumnType::int())
            .column("fresh", ColumnType::int())
            .default_value("7")
            .primary_key(&["id"])
            .build(),
    );
    let events = vec![
        created(100, &[&table]),
        txn(
            200,
            vec![insert(&table, vec![int(1), int(1), int(42)]), insert(&table, vec![int(2), int(1), None])],
        ),
        txn(210, vec![update(&table, vec![int(1), int(1), None], vec![int(1), int(5), None])]),
    ];
    for database in Database::both() {
        for _ in 0..2 {
            let mut sink = database.open().await;
            sink.apply(events.clone()).await.unwrap();
            assert_eq!(database.rows("d", "p").await, ["1,5,42", "2,1,7"]);
        }
    }
}

#[tokio::test]
async fn a_missing_row_without_a_key_is_named() {
    let table = in_db(builder(1, "n").column("a", ColumnType::int()).build());
    for database in Database::both() {
        let mut sink = database.open().await;
        sink.apply(vec![created(100, &[&table])]).await.unwrap();
        let error = sink.apply(vec![txn(200, vec![delete(&table, vec![int(1)])])]).await.unwrap_err();
        assert!(!error.retryable());
        let shown = error.to_string();
        assert!(shown.contains("`d`.`n`") && shown.contains("200"), "{shown}");
    }
}

#[tokio::test]
async fn the_checkpoint_row_is_the_originals() {
    let database = Database::server();
    let Database::Server(server) = &database else { unreachable!() };
    let mut sink = database.open().await;
    assert_eq!(sink.checkpoint().await.unwrap(), None);
    sink.save(checkpoint(470_641_326_871_281_705)).await.unwrap();
    let shown = server.sql("select clusterID, checkPoint from tidb_binlog.checkpoint").unwrap();
    assert_eq!(
        shown,
        "7710986823498564611\t{\"consistent\":false,\"commitTS\":470641326871281705,\"ts-map\":{},\"schema-version\":58}\n"
    );
    // The original wrote a TiDB target's own time: it stays.
    server
        .sql("update tidb_binlog.checkpoint set checkPoint = '{\"consistent\":true,\"commitTS\":5,\"ts-map\":{\"primary-ts\":5,\"secondary-ts\":6},\"schema-version\":2}'")
        .unwrap();
    let mut sink = database.open().await;
    assert!(sink.checkpoint().await.unwrap().unwrap().consistent);
    sink.save(checkpoint(9)).await.unwrap();
    let shown = server.sql("select checkPoint from tidb_binlog.checkpoint").unwrap();
    assert!(shown.contains("\"ts-map\":{\"primary-ts\":5,\"secondary-ts\":6}"), "{shown}");
}

/// The server dies and comes back while rows are on their way, each time at another moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_is_sat_out() {
    let keyed = in_db(
        builder(1, "k")
            .column("id", ColumnType::int())
            .column("v", ColumnType::int())
            .primary_key(&["id"])
            .build(),
    );
    let keyless =
        in_db(builder(2, "n").column("a", ColumnType::int()).column("v", ColumnType::int()).build());
    let mut server = binlog_testkit::Mariadb::start().unwrap();
    let mut sink =
        binlog_sink::Sink::open(&crate::support::mariadb_target(&server), crate::support::options())
            .await
            .unwrap();
    sink.apply(vec![created(100, &[&keyed, &keyless])]).await.unwrap();
    const ROWS: i64 = 4000;
    for round in 0..3 {
        let events: Vec<_> = (0..ROWS)
            .map(|i| {
                let at = 1000 + (round * ROWS + i) as u64;
                let row = |v| vec![int(i), int(v)];
                let key = if round == 0 {
                    insert(&keyed, row(round))
                } else {
                    update(&keyed, row(round - 1), row(round))
                };
                txn(at, vec![key, insert(&keyless, vec![int(i % 7), int(round)])])
            })
            .collect();
        let applying = tokio::spawn(async move {
            sink.apply(events).await.unwrap();
            sink
        });
        tokio::time::sleep(std::time::Duration::from_millis(40 + 90 * round as u64)).await;
        server.kill9();
        server.restart().unwrap();
        sink = applying.await.unwrap();
        let counted = |sql: &str| server.sql(sql).unwrap().trim().to_owned();
        assert_eq!(counted("select count(*), min(v), max(v) from d.k"), format!("{ROWS}\t{round}\t{round}"));
        assert_eq!(counted("select count(*) from d.n"), (ROWS * (round + 1)).to_string());
    }
}
