//! Rows that a unique index no longer holds off upstream, before the DDL that takes it away.

use std::sync::Arc;

use binlog_catalog::{ColumnType, Ddl, Event, SchemaChange, Table, TableRef};
use binlog_sink::Checkpoint;
use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs};

use crate::support::{Database, builder, created, ddl, delete, in_db, insert, int, txn, update};

/// The table without its index `u`.
fn without(table: &TableRef) -> TableRef {
    let mut left = Table::clone(&table.table);
    left.indexes.retain(|index| index.name != "u");
    left.json = binlog_catalog::meta::table_json(&left).into();
    TableRef { table: Arc::new(left), ..table.clone() }
}

/// What goes ahead of a transaction.
fn ahead(commit_ts: u64, tables: &[&TableRef]) -> Event {
    let changes = tables
        .iter()
        .map(|table| SchemaChange::AlterTable { before: (*table).clone(), after: without(table) });
    let Event::Ddl(told) = ddl(commit_ts, "ALTER TABLE … DROP INDEX `u`", changes.collect()) else {
        unreachable!("it is a DDL")
    };
    let (start_ts, job_id) = (StartTs::new(commit_ts - 2), JobId(0));
    Event::Ddl(Ddl { start_ts, job_id, ahead: true, ..told })
}

struct Story {
    keyed: TableRef,
    keyless: TableRef,
    events: Vec<Event>,
}

/// A table with a key beside the index, and one in which the index is what tells rows apart.
fn story() -> Story {
    let keyed = builder(1, "keyed").column("id", ColumnType::int()).column("u", ColumnType::int());
    let keyed = in_db(keyed.primary_key(&["id"]).unique("u", &["u"]).build());
    let keyless =
        builder(2, "keyless").column("u", ColumnType::int().not_null()).column("v", ColumnType::int());
    let keyless = in_db(keyless.unique("u", &["u"]).build());
    let (k, n) = (without(&keyed), without(&keyless));
    let row = |a, b| vec![int(a), int(b)];
    let events = vec![
        txn(200, vec![insert(&keyed, row(1, 1)), insert(&keyless, row(1, 1)), insert(&keyless, row(2, 2))]),
        txn(210, vec![update(&keyless, row(2, 2), row(3, 2))]),
        ahead(300, &[&keyed, &keyless]),
        txn(300, vec![insert(&k, row(2, 1)), insert(&n, row(1, 1)), insert(&n, row(1, 7))]),
        txn(310, vec![update(&n, row(1, 7), row(3, 2)), insert(&k, row(3, 1)), delete(&k, row(1, 1))]),
        ddl(
            400,
            "ALTER TABLE keyed DROP INDEX u",
            vec![SchemaChange::AlterTable { before: k.clone(), after: k.clone() }],
        ),
        ddl(
            401,
            "ALTER TABLE keyless DROP INDEX u",
            vec![SchemaChange::AlterTable { before: n.clone(), after: n.clone() }],
        ),
        txn(410, vec![insert(&k, row(4, 1)), insert(&n, row(1, 1))]),
    ];
    Story { keyed, keyless, events }
}

async fn check(database: &Database, why: &str) {
    assert_eq!(database.rows("d", "keyed").await, ["2,1", "3,1", "4,1"], "{why}");
    assert_eq!(database.rows("d", "keyless").await, ["1,1", "1,1", "1,1", "3,2", "3,2"], "{why}");
}

#[tokio::test]
async fn rows_that_are_equal_in_a_dropped_index_come_before_its_ddl() {
    for database in Database::both() {
        let Story { keyed, keyless, events } = story();
        let mut sink = database.open().await;
        sink.apply([vec![created(100, &[&keyed, &keyless])], events].concat()).await.unwrap();
        check(&database, "in one go").await;
        sink.close().await.unwrap();
    }
}

/// The process dies behind each event, with the checkpoint before the first row or right there.
#[tokio::test]
async fn what_went_ahead_is_told_again_after_a_crash() {
    for database in [Database::server(), Database::file()] {
        let Story { keyed, keyless, events } = story();
        let drop = |at| {
            ddl(
                at,
                "drop",
                vec![SchemaChange::DropTable(keyed.clone()), SchemaChange::DropTable(keyless.clone())],
            )
        };
        for (saved, cut) in (1..events.len()).flat_map(|cut| [(0, cut), (cut, cut)]) {
            // Each round is later than the one before.
            let base = 1000 * (2 * cut + usize::from(saved > 0)) as u64;
            let later =
                |events: &[Event]| -> Vec<Event> { events.iter().map(|event| moved(event, base)).collect() };
            let mut sink = database.open().await;
            sink.apply(later(&[drop(50), created(100, &[&keyed, &keyless])])).await.unwrap();
            sink.apply(later(&events[..cut])).await.unwrap();
            let commit_ts = match saved {
                0 => CommitTs::new(base + 150),
                _ => moved(&events[saved - 1], base).commit_ts(),
            };
            // What goes ahead of a transaction is passed together with it.
            let commit_ts = if saved == 3 { CommitTs::new(base + 299) } else { commit_ts };
            let checkpoint = Checkpoint { commit_ts, schema_version: SchemaVersion(1), consistent: false };
            sink.save(checkpoint).await.unwrap();
            std::mem::drop(sink);
            let mut sink = database.open().await;
            let rest = if saved == 3 { 2 } else { saved };
            let mut rest = later(&events[rest..]);
            // Where a start cannot know whether it was told, it is told again.
            if saved > 3 {
                let commit_ts = rest[0].commit_ts().raw();
                rest.insert(0, ahead(commit_ts, &[&keyed, &keyless]));
            }
            sink.apply(rest).await.unwrap();
            check(&database, &format!("saved behind {saved}, died behind {cut}")).await;
            sink.close().await.unwrap();
        }
    }
}

/// The same event so much later.
fn moved(event: &Event, by: u64) -> Event {
    match event.clone() {
        Event::Transaction(mut txn) => {
            (txn.start_ts, txn.commit_ts) =
                (StartTs::new(txn.start_ts.raw() + by), CommitTs::new(txn.commit_ts.raw() + by));
            Event::Transaction(txn)
        }
        Event::Ddl(mut ddl) => {
            (ddl.start_ts, ddl.commit_ts) =
                (StartTs::new(ddl.start_ts.raw() + by), CommitTs::new(ddl.commit_ts.raw() + by));
            Event::Ddl(ddl)
        }
    }
}
