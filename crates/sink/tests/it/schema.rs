//! Schema changes in the target.

use std::sync::Arc;

use binlog_catalog::{ColumnType, SchemaChange, Table, TableRef};

use crate::support::{Database, builder, created, ddl, in_db, insert, int, text, txn};

fn changed(table: &TableRef, change: impl FnOnce(&mut Table)) -> TableRef {
    let mut next = (*table.table).clone();
    change(&mut next);
    TableRef { schema: table.schema.clone(), table: Arc::new(next) }
}

#[tokio::test]
async fn columns_come_go_move_and_change() {
    let before = in_db(
        builder(1, "t")
            .column("id", ColumnType::int())
            .column("a", ColumnType::int())
            .column("b", ColumnType::varchar(10))
            .primary_key(&["id"])
            .index("ia", &["a"])
            .build(),
    );
    let after = changed(&before, |table| {
        // a and b change names, c comes first and had a default for old rows that it has no more.
        table.columns[1].name = "b".into();
        table.columns[2].name = "a".into();
        let mut c = table.columns[2].clone();
        (c.id, c.name, c.origin_default, c.default) =
            (9, "c".into(), Some(b"old".to_vec()), Some(b"new".to_vec()));
        table.columns.insert(0, c);
        for (at, column) in table.columns.iter_mut().enumerate() {
            column.offset = at;
        }
        for index in &mut table.indexes {
            for part in &mut index.columns {
                part.offset += 1;
                part.name = table.columns[part.offset].name.clone();
            }
        }
    });
    let alter =
        ddl(200, "alter", vec![SchemaChange::AlterTable { before: before.clone(), after: after.clone() }]);
    let events = vec![
        created(100, &[&before]),
        txn(110, vec![insert(&before, vec![int(1), int(5), text("x")])]),
        alter,
        txn(210, vec![insert(&after, vec![None, int(2), int(6), text("y")])]),
    ];
    for database in Database::both() {
        for _ in 0..2 {
            let mut sink = database.open().await;
            sink.apply(events.clone()).await.unwrap();
            assert_eq!(database.rows("d", "t").await, ["new,2,6,y", "old,1,5,x"]);
        }
    }
}

#[tokio::test]
async fn tables_change_names_in_a_circle() {
    let one = in_db(builder(1, "one").column("id", ColumnType::int()).primary_key(&["id"]).build());
    let two = in_db(builder(2, "two").column("id", ColumnType::int()).primary_key(&["id"]).build());
    let one_after = changed(&one, |t| t.name = "two".into());
    let two_after = changed(&two, |t| t.name = "one".into());
    let swap = ddl(
        200,
        "rename",
        vec![
            SchemaChange::RenameTable { before: one.clone(), after: one_after },
            SchemaChange::RenameTable { before: two.clone(), after: two_after },
        ],
    );
    for database in Database::both() {
        let fill = txn(110, vec![insert(&one, vec![int(1)]), insert(&two, vec![int(2)])]);
        for _ in 0..2 {
            let mut sink = database.open().await;
            sink.apply(vec![created(100, &[&one, &two]), fill.clone(), swap.clone()]).await.unwrap();
            assert_eq!(database.rows("d", "one").await, ["2"]);
            assert_eq!(database.rows("d", "two").await, ["1"]);
        }
    }
}

/// A crash after each statement of a swap, before it could be recorded, and after it was.
#[tokio::test]
async fn a_swap_survives_a_crash_at_each_step() {
    let database = Database::server();
    let Database::Server(server) = &database else { unreachable!() };
    let one = in_db(builder(1, "one").column("id", ColumnType::int()).primary_key(&["id"]).build());
    let two = in_db(builder(2, "two").column("id", ColumnType::int()).primary_key(&["id"]).build());
    let swap = ddl(
        200,
        "rename",
        vec![
            SchemaChange::RenameTable {
                before: one.clone(),
                after: changed(&one, |t| t.name = "two".into()),
            },
            SchemaChange::RenameTable {
                before: two.clone(),
                after: changed(&two, |t| t.name = "one".into()),
            },
        ],
    );
    let steps = ["d.one to d._binlog_rename_1", "d.two to d.one", "d._binlog_rename_1 to d.two"];
    for ended in 0..=steps.len() {
        for recorded in [ended.saturating_sub(1), ended] {
            server.sql("drop database if exists d; drop database if exists tidb_binlog").unwrap();
            let mut sink = database.open().await;
            let fill = txn(110, vec![insert(&one, vec![int(1)]), insert(&two, vec![int(2)])]);
            sink.apply(vec![created(100, &[&one, &two]), fill]).await.unwrap();
            for step in &steps[..ended] {
                server.sql(&format!("rename table {step}")).unwrap();
            }
            let done = u8::from(recorded == steps.len());
            server
                .sql(&format!(
                    "replace into tidb_binlog.ddl_intent values (7710986823498564611, 200, 199, 200, {recorded}, {done}, 0, '', \
                     '{{\"tables\":[[\"d\",\"one\"],[\"d\",\"two\"]]}}')"
                ))
                .unwrap();
            let mut sink = database.open().await;
            sink.apply(vec![swap.clone()]).await.unwrap();
            assert_eq!(database.rows("d", "one").await, ["2"], "{ended} ended, {recorded} recorded");
            assert_eq!(database.rows("d", "two").await, ["1"], "{ended} ended, {recorded} recorded");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_done_stops() {
    let table = in_db(builder(1, "t").column("id", ColumnType::int()).primary_key(&["id"]).build());
    for database in Database::both() {
        let mut sink = database.open().await;
        let recover = ddl(100, "recover table t", vec![SchemaChange::RecoverTable(table.clone())]);
        let error = sink.apply(vec![recover]).await.unwrap_err().to_string();
        assert!(error.contains("`d`.`t`") && error.contains("recover table t"), "{error}");
        assert_eq!(database.is_server(), error.contains("MariaDB"), "{error}");
    }
}
