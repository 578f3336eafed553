//! What a real TiDB wrote ends up in the target as TiDB showed it.

use binlog_catalog::{Event, SchemaChange};
use binlog_testkit::{Comparison, Truth, assert_same, fixtures};

use crate::replay::events;
use crate::support::Database;

async fn drain(name: &str, database: &Database, adapt: impl Fn(&mut SchemaChange)) {
    let mut sink = database.open().await;
    let mut events = events(name);
    for event in &mut events {
        if let Event::Ddl(ddl) = event {
            ddl.changes.iter_mut().for_each(&adapt);
        }
    }
    for chunk in events.chunks(97) {
        sink.apply(chunk.to_vec()).await.unwrap();
    }
    sink.close().await.unwrap();
}

fn expected(name: &str) -> Truth {
    fixtures::truth(name, "end").unwrap()
}

#[tokio::test]
async fn seed_and_txn() {
    for database in Database::both() {
        drain("seed", &database, |_| ()).await;
        assert_same(&expected("seed"), &database.contents().await, &Comparison::exact());
    }
    for database in Database::both() {
        drain("txn", &database, |_| ()).await;
        assert_same(&expected("txn"), &database.contents().await, &Comparison::exact());
    }
}

#[tokio::test]
async fn every_type_in_mariadb() {
    let [server, _] = Database::both();
    drain("types", &server, |_| ()).await;
    assert_same(&expected("types"), &server.contents().await, &Comparison::with_mariadb());
}

#[tokio::test]
async fn every_type_in_sqlite() {
    let [_, file] = Database::both();
    drain("types", &file, |_| ()).await;
    assert_same(&expected("types"), &file.contents().await, &Comparison::with_mariadb());
}

/// Tables that RECOVER and FLASHBACK bring back with rows that no binlog carries. The sink refuses these DDLs, as
/// `schema::what_cannot_be_done_stops` checks; here the tables come back empty, so that the rest can go on.
const RECOVERED: [(&str, &str); 3] = [("d1", "trunc_old"), ("d1", "rec_me"), ("fb2", "t")];

fn recover_empty(change: &mut SchemaChange) {
    if let SchemaChange::RecoverTable(table) = change {
        *change = SchemaChange::CreateTable(table.clone());
    }
}

#[tokio::test]
async fn every_ddl() {
    for database in Database::both() {
        drain("ddl", &database, recover_empty).await;
        let left_out =
            |truth: Truth| RECOVERED.iter().fold(truth, |truth, (schema, table)| truth.without(schema, table));
        let actual = left_out(database.contents().await);
        assert_same(&left_out(expected("ddl")), &actual, &Comparison::exact());
    }
}
