//! What a TiDB is given.

use std::collections::HashSet;

use binlog_catalog::{ColumnType, Database, TableBuilder};
use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs, TableId};

use super::*;

fn table(name: &str) -> TableRef {
    let table = TableBuilder::new(TableId(1), name, SchemaVersion(1)).column("id", ColumnType::int()).build();
    TableRef { schema: "d2".into(), table: Arc::new(table) }
}

fn steps(query: &str, zone: Option<Zone>, changes: Vec<SchemaChange>) -> Vec<Step> {
    steps_of(Kind::TiDb, 0, query, zone, changes)
}

fn steps_of(
    kind: Kind,
    job_type: u8,
    query: &str,
    zone: Option<Zone>,
    changes: Vec<SchemaChange>,
) -> Vec<Step> {
    let ddl = Ddl {
        start_ts: StartTs::new(1),
        commit_ts: CommitTs::new(2),
        job_id: JobId(1),
        job_type,
        schema: "d2".into(),
        schema_version: SchemaVersion(2),
        query: query.into(),
        typed: query.into(),
        zone,
        changes,
        ahead: false,
    };
    let dialect = Dialect::new(kind, HashSet::new());
    plan(&dialect, &ddl, &Bin::default(), false, &mut Notices::default()).unwrap()
}

#[test]
fn tidb_brings_a_database_back_itself() {
    let database = Arc::new(Database { name: "d2".into(), ..Database::default() });
    let query = "FLASHBACK DATABASE d TO d2";
    let changes = vec![
        SchemaChange::CreateDatabase(Arc::clone(&database)),
        SchemaChange::RecoverTable(table("a")),
        SchemaChange::RecoverTable(table("b")),
    ];
    let [step] = steps(query, None, changes).try_into().unwrap();
    // There is no such database yet that names could mean.
    assert_eq!((step.sql.as_str(), step.default_schema), (query, None));
    let [step] =
        steps("CREATE DATABASE d2", None, vec![SchemaChange::CreateDatabase(database)]).try_into().unwrap();
    assert!(step.sql.starts_with("CREATE DATABASE IF NOT EXISTS `d2`"), "{}", step.sql);
}

#[test]
fn tidb_reads_a_statement_in_the_zone_of_its_session() {
    let change = || vec![SchemaChange::AlterTable { before: table("a"), after: table("a") }];
    let zone = Zone::of_location("Asia/Shanghai", 0);
    let [step] = steps("alter table a modify c datetime", zone.clone(), change()).try_into().unwrap();
    assert_eq!((step.zone, step.default_schema.as_deref()), (zone, Some("d2")));
    let [step] =
        steps("alter table a modify c datetime", Zone::of_location("Local", 0), change()).try_into().unwrap();
    assert_eq!(step.zone, None);
}

#[test]
fn tidb_may_do_without_tiflash_and_others_are_told_nothing_of_it() {
    const SET_TIFLASH_REPLICA: u8 = 30;
    let query = "ALTER TABLE `a` SET TIFLASH REPLICA 2";
    let of = |kind| {
        let change = SchemaChange::AlterTable { before: table("a"), after: table("a") };
        steps_of(kind, SET_TIFLASH_REPLICA, query, None, vec![change])
    };
    let [step] = of(Kind::TiDb).try_into().unwrap();
    assert_eq!((step.sql.as_str(), step.best_effort), (query, true));
    for kind in [Kind::MariaDb, Kind::MySql, Kind::Sqlite] {
        assert!(of(kind).is_empty(), "{kind:?}");
    }
}
