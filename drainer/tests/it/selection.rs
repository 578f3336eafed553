//! What takes part and how it is applied: DDL left out, event rules, transactions kept whole; into MariaDB.

use std::time::{Duration, Instant};

use binlog_drainer::{Config, FilterRule, MigrateRule, SourceName};
use binlog_testkit::Mariadb;
use binlog_types::Ts;
use binlog_workload::{Limit, Options, Snapshot, Workload};

use crate::site::Site;

fn into(site: &Site, server: &Mariadb) -> Config {
    let mut config = site.config();
    config.syncer.db_type = "mysql".to_owned();
    config.syncer.to.host = "127.0.0.1".to_owned();
    config.syncer.to.port = i64::from(server.port());
    config.syncer.to.user = "root".to_owned();
    config
}

async fn reaches(site: &Site, ts: Ts) {
    let start = Instant::now();
    while site.checkpoint().await.ts() < ts {
        assert!(start.elapsed() < Duration::from_secs(60), "the drainer does not reach {ts}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn bank(site: &Site) -> Workload {
    Workload::connect(&site.cluster(), Options { seed: 11, accounts: 30, ..Options::default() })
        .await
        .unwrap()
}

fn count(server: &Mariadb, table: &str) -> u64 {
    server.sql(&format!("SELECT COUNT(*) FROM bank.{table}")).unwrap().trim().parse().unwrap()
}

fn assert_rows(server: &Mariadb, snapshot: &Snapshot, tables: &[&str]) {
    for table in tables {
        let expected = snapshot.tables[&format!("bank.{table}")].rows;
        assert_eq!(count(server, table), expected, "{table}");
    }
}

/// The downstream's tables are somebody else's: one lacks a column, one has more, and a column comes later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_ddl_rows_go_into_the_tables_that_are_there() {
    let site = Site::new();
    let pump = site.pump("pump-a").await;
    let server = Mariadb::start().unwrap();
    server
        .sql(
            "CREATE DATABASE bank;
             CREATE TABLE bank.accounts(id bigint primary key, owner varchar(64), balance decimal(14,2), mine int default 5);
             CREATE TABLE bank.transfers(id bigint primary key, src bigint, dst bigint, amount decimal(14,2), `at` datetime(3), memo text);
             CREATE TABLE bank.audit(event varchar(40), account bigint)",
        )
        .unwrap();
    let mut config = into(&site, &server);
    config.syncer.sync_ddl = false;
    let drainer = site.run(config).await;
    let mut workload = bank(&site).await;
    workload.create_schema().await.unwrap();
    reaches(&site, workload.snapshot().await.unwrap().ts).await;
    server.sql("UPDATE bank.accounts SET mine = id").unwrap();
    workload.run(4, Limit::Transactions(50), |_| ()).await.unwrap();
    let first = workload.snapshot().await.unwrap();
    reaches(&site, first.ts).await;
    assert_rows(&server, &first, &["accounts", "transfers", "audit"]);
    let sum =
        server.sql("SELECT CAST(SUM(balance) * 100 AS INT), SUM(mine <> id) FROM bank.accounts").unwrap();
    assert_eq!(sum.trim(), format!("{}\t0", workload.expected_cents()), "updates leave other columns alone");

    // The source's table goes, which is no business of the target; what comes in its place is looked at anew.
    workload.drop_database().await.unwrap();
    let dropped = workload.snapshot().await.unwrap();
    reaches(&site, dropped.ts).await;
    assert_rows(&server, &first, &["accounts", "transfers", "audit"]);
    server
        .sql("TRUNCATE TABLE bank.accounts; ALTER TABLE bank.accounts ADD note varchar(200) DEFAULT 'old'")
        .unwrap();
    workload.create_schema().await.unwrap();
    reaches(&site, workload.snapshot().await.unwrap().ts).await;
    let untouched = server.sql("SELECT COUNT(*) FROM bank.accounts WHERE note = 'old'").unwrap();
    assert_eq!(untouched.trim(), "0", "the new column gets the source's values");
    drainer.stop().await;
    pump.until(async {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_rules_leave_out_kinds_of_changes_of_some_tables() {
    let site = Site::new();
    let pump = site.pump("pump-a").await;
    let server = Mariadb::start().unwrap();
    let mut config = into(&site, &server);
    let rule = |events: &[&str], sql: &[&str]| FilterRule {
        ignore_event: events.iter().map(|e| (*e).to_owned()).collect(),
        ignore_sql: sql.iter().map(|s| (*s).to_owned()).collect(),
    };
    let migrate = |name: &str, table: &str| MigrateRule {
        binlog_filter_rule: vec![name.to_owned()],
        source: SourceName { schema: "bank".to_owned(), table: table.to_owned() },
        ..MigrateRule::default()
    };
    config.syncer.table_migrate_rule = vec![migrate("no-deletes", "aud*"), migrate("no-drops", "")];
    config.syncer.binlog_filter_rule = [
        ("no-deletes".to_owned(), rule(&["delete"], &[])),
        ("no-drops".to_owned(), rule(&[], &["^drop\\s+database"])),
    ]
    .into();
    let drainer = site.run(config).await;
    let mut workload = bank(&site).await;
    workload.create_schema().await.unwrap();
    workload.run(2, Limit::Transactions(50), |_| ()).await.unwrap();
    let before = workload.snapshot().await.unwrap();
    reaches(&site, before.ts).await;
    let kept = count(&server, "audit");
    assert!(kept > 0 && kept >= before.tables["bank.audit"].rows);
    assert!(workload.delete_all("audit").await.unwrap() > 0);
    assert!(workload.delete_all("transfers").await.unwrap() > 0);
    let after = workload.snapshot().await.unwrap();
    reaches(&site, after.ts).await;
    assert_eq!(count(&server, "audit"), kept, "deletes of it are left out");
    assert_rows(&server, &after, &["accounts", "transfers"]);
    workload.drop_database().await.unwrap();
    reaches(&site, workload.snapshot().await.unwrap().ts).await;
    assert_eq!(count(&server, "audit"), kept, "the statement is left out by its text");
    drainer.stop().await;
    pump.until(async {}).await.unwrap();
}

/// Whoever reads the downstream sees no part of a transaction, also while a drainer that was killed catches up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_dispatch_no_part_of_a_transaction_shows() {
    let site = Site::new();
    let pump = site.pump("pump-a").await;
    let server = Mariadb::start().unwrap();
    let config = || {
        let mut config = into(&site, &server);
        config.syncer.enable_dispatch = Some(false);
        config
    };
    let mut drainer = site.run(config()).await;
    let mut workload = bank(&site).await;
    workload.create_schema().await.unwrap();
    reaches(&site, workload.snapshot().await.unwrap().ts).await;
    let expected = workload.expected_cents().to_string();
    for _ in 0..3 {
        workload.run(4, Limit::Transactions(60), |_| ()).await.unwrap();
        let target = workload.snapshot().await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        drainer.crash().await;
        drainer = site.run(config()).await;
        while site.checkpoint().await.ts() < target.ts {
            let sum = server.sql("SELECT CAST(SUM(balance) * 100 AS INT) FROM bank.accounts").unwrap();
            assert_eq!(sum.trim(), expected, "half a transfer shows");
        }
        assert_rows(&server, &target, &["accounts", "transfers", "audit"]);
    }
    drainer.stop().await;
    pump.until(async {}).await.unwrap();
}
