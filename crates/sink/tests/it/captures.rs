//! What a real TiDB wrote ends up in the target as TiDB showed it.

use binlog_catalog::{Event, SchemaChange};
use binlog_sink::{RecycleBin, Sink, SinkOptions};
use binlog_testkit::{Comparison, Truth, assert_same, fixtures};

use crate::replay::events;
use crate::sqlite;
use crate::support::{Database, options};

async fn drain(name: &str, database: &Database) {
    let mut sink = database.open().await;
    for chunk in events(name).chunks(397) {
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
        drain("seed", &database).await;
        assert_same(&expected("seed"), &database.contents().await, &Comparison::exact());
    }
    for database in Database::both() {
        drain("txn", &database).await;
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
    drain("types", &server).await;
    // MariaDB writes some doubles without an exponent.
    let comparison =
        Comparison::with_mariadb().numeric("types", "floats", "d").numeric("types_v1", "floats", "d");
    assert_same(&without_ttl(expected("types")), &without_ttl(server.contents().await), &comparison);
}

#[tokio::test]
async fn every_type_in_sqlite() {
    let file = Database::file();
    drain("types", &file).await;
    let comparison = sqlite::comparison();
    assert_same(&without_ttl(expected("types")), &without_ttl(file.contents().await), &comparison);
}

/// With the recycle bin, also the rows that RECOVER and FLASHBACK bring back and no binlog carries: `d1.trunc_old`, `d1.rec_me` and
/// `fb2.t`. The sink is opened anew behind every DDL: what is kept, the target itself tells.
#[tokio::test]
async fn every_ddl() {
    for database in Database::both() {
        let recycle_bin = RecycleBin::For(std::time::Duration::from_secs(86_400));
        let options = SinkOptions { recycle_bin, ..options() };
        let mut sink = Sink::open(&database.target(), options.clone()).await.unwrap();
        for event in events("ddl") {
            let keeps = matches!(&event, Event::Ddl(ddl) if ddl.changes.iter().any(is_kept));
            sink.apply(vec![event]).await.unwrap();
            if keeps {
                sink.close().await.unwrap();
                sink = Sink::open(&database.target(), options.clone()).await.unwrap();
            }
        }
        sink.close().await.unwrap();
        let mut actual = database.contents().await;
        actual.tables.retain(|(schema, _), _| !schema.starts_with("tidb_binlog"));
        assert_same(&expected("ddl"), &actual, &Comparison::exact());
    }
}

fn is_kept(change: &SchemaChange) -> bool {
    matches!(
        change,
        SchemaChange::DropDatabase { .. } | SchemaChange::DropTable(_) | SchemaChange::TruncateTable { .. }
    )
}

/// Without it, and where the table is not in it, a recovery stops by name.
#[tokio::test]
async fn what_is_not_kept_cannot_come_back() {
    let database = Database::file();
    let mut sink = database.open().await;
    let mut failed = None;
    for event in events("ddl") {
        if let Err(error) = sink.apply(vec![event]).await {
            failed = Some(error);
            break;
        }
    }
    let error = failed.expect("the first recovery cannot be done");
    assert!(matches!(error, binlog_sink::Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("recycle-bin"), "{error}");
}
