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
    for chunk in events.chunks(397) {
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

/// TiDB's TTL worker deleted a row of `types_tidb.ttlt` without a binlog.
fn without_ttl(truth: Truth) -> Truth {
    truth.without("types_tidb", "ttlt")
}

#[tokio::test]
async fn every_type_in_mariadb() {
    let server = Database::server();
    drain("types", &server, |_| ()).await;
    // MariaDB writes some doubles without an exponent.
    let comparison =
        Comparison::with_mariadb().numeric("types", "floats", "d").numeric("types_v1", "floats", "d");
    assert_same(&without_ttl(expected("types")), &without_ttl(server.contents().await), &comparison);
}

#[tokio::test]
async fn every_type_in_sqlite() {
    let file = Database::file();
    drain("types", &file, |_| ()).await;
    // Generated columns over MySQL's functions stay empty. Numbers are numbers: YEAR 0 is 0, floats are shown as their double.
    let mut comparison = Comparison::exact()
        .ignore("types", "gens", "k")
        .ignore("types_tidb", "jgen", "arr")
        .numeric("types", "times", "y")
        .numeric("types_v1", "times", "y")
        .numeric("types", "pk_year_enum", "y");
    for schema in ["types", "types_v1"] {
        for column in ["f", "f2", "uf"] {
            comparison = comparison.single(schema, "floats", column);
        }
        for column in ["d", "d2", "ud"] {
            comparison = comparison.numeric(schema, "floats", column);
        }
    }
    assert_same(&without_ttl(expected("types")), &without_ttl(file.contents().await), &comparison);
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
        let left_out = |truth: Truth| {
            RECOVERED.iter().fold(truth, |truth, (schema, table)| truth.without(schema, table))
        };
        let actual = left_out(database.contents().await);
        assert_same(&left_out(expected("ddl")), &actual, &Comparison::exact());
    }
}
