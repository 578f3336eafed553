//! Tables that were altered meanwhile, in a MariaDB that went along.

use std::sync::Arc;
use std::time::Duration;

use binlog_catalog::{
    ChangeKind, ColumnType, Database, Ddl, Part, Row, RowChange, SchemaChange, TableBuilder, TableFilter,
    TableRef, TimeKind, Transaction, Value,
};
use binlog_sink::{MySqlTarget, Sink, SinkOptions};
use binlog_testkit::Mariadb;
use binlog_types::{ClusterId, CommitTs, JobId, Range, SchemaVersion, StartTs, TableId, Zone};

use super::*;
use crate::undo::{Undo, UndoScope};
use crate::{Counts, Limits};

fn ddl(at: u64, query: &str, zone: Option<Zone>, changes: Vec<SchemaChange>) -> Event {
    Event::Ddl(Ddl {
        start_ts: StartTs::new(at - 1),
        commit_ts: CommitTs::new(at),
        job_id: JobId(at as i64),
        job_type: 0,
        schema: "d".into(),
        schema_version: SchemaVersion(at as i64),
        query: query.into(),
        typed: String::new(),
        zone,
        changes,
        ahead: false,
    })
}

fn alter(at: u64, query: &str, offset: i32, before: &TableRef, after: &TableRef) -> Event {
    let (before, after) = (before.clone(), after.clone());
    ddl(at, query, Zone::of_location("", offset), vec![SchemaChange::AlterTable { before, after }])
}

fn txn(at: u64, changes: Vec<(&TableRef, ChangeKind)>) -> Event {
    let changes = changes.into_iter().map(|(table, kind)| RowChange { table: table.clone(), kind }).collect();
    let (start_ts, commit_ts) = (StartTs::new(at - 1), CommitTs::new(at));
    let (schema_version, part) = (SchemaVersion(1), Part::WHOLE);
    Event::Transaction(Transaction { start_ts, commit_ts, schema_version, part, changes })
}

fn table(id: i64, name: &str, at: Option<ColumnType>, more: bool) -> TableRef {
    let mut builder =
        TableBuilder::new(TableId(id), name, SchemaVersion(id)).column("id", ColumnType::bigint());
    if let Some(ty) = at {
        builder = builder.column("at", ty);
    }
    if more {
        builder = builder.column("more", ColumnType::bigint()).default_value("5");
    }
    if name == "keyed" {
        builder = builder.primary_key(&["id"]);
    }
    let mut table = builder.build();
    if let Some(column) = table.columns.get_mut(2) {
        column.origin_default = Some("5".into());
    }
    TableRef { schema: "d".into(), table: Arc::new(table) }
}

fn hour(kind: TimeKind, hour: u8) -> Value {
    // 2024-01-01, as TiDB packs it.
    let packed = (((2024 * 13 + 1) << 5 | 1) << 17 | u64::from(hour) << 12) << 24;
    Value::Time { kind, packed, fsp: 0 }
}

fn row(id: i64, values: &[Value]) -> Row {
    std::iter::once(Value::Int(id)).chain(values.iter().cloned()).map(Some).collect()
}

fn created(tables: &[&TableRef]) -> Event {
    let database = Database {
        id: 1,
        name: "d".into(),
        charset: "utf8mb4".into(),
        collate: "utf8mb4_bin".into(),
        version: SchemaVersion(1),
    };
    let mut changes = vec![SchemaChange::CreateDatabase(Arc::new(database))];
    changes.extend(tables.iter().map(|table| SchemaChange::CreateTable((*table).clone())));
    ddl(10, "create", None, changes)
}

/// Rows of both tables, TIMESTAMPs that a session in +08:00 makes DATETIMEs, more rows, and a column that a session in -05:00 adds.
fn history() -> Vec<Event> {
    let (stamp, clock) = (ColumnType::timestamp(0), ColumnType::datetime(0));
    let versions = |id, name| {
        [
            table(id, name, Some(stamp.clone()), false),
            table(id, name, Some(clock.clone()), false),
            table(id, name, Some(clock.clone()), true),
        ]
    };
    let ([keyed, keyed2, keyed3], [bare, bare2, bare3]) = (versions(1, "keyed"), versions(2, "bare"));
    let before = |id| row(id, &[hour(TimeKind::Timestamp, 1)]);
    let after = |id, at| row(id, &[hour(TimeKind::DateTime, at)]);
    let insert = |row: Row| ChangeKind::Insert(row);
    vec![
        created(&[&keyed, &bare]),
        txn(20, vec![(&keyed, insert(before(1))), (&keyed, insert(before(2)))]),
        txn(30, vec![(&bare, insert(before(1))), (&bare, insert(before(1))), (&bare, insert(before(2)))]),
        alter(40, "ALTER TABLE keyed MODIFY at DATETIME", 28_800, &keyed, &keyed2),
        alter(50, "ALTER TABLE bare MODIFY at DATETIME", 28_800, &bare, &bare2),
        txn(60, vec![(&keyed2, insert(after(3, 1))), (&bare2, insert(after(3, 1)))]),
        txn(70, vec![(&bare2, ChangeKind::Delete(after(1, 9))), (&bare2, ChangeKind::Delete(after(2, 9)))]),
        alter(80, "ALTER TABLE keyed ADD COLUMN more BIGINT DEFAULT 5", -18_000, &keyed2, &keyed3),
        alter(90, "ALTER TABLE bare ADD COLUMN more BIGINT DEFAULT 5", -18_000, &bare2, &bare3),
        txn(100, vec![(&bare3, insert(row(1, &[hour(TimeKind::DateTime, 9), Value::Int(5)])))]),
    ]
}

fn whole(through: u64) -> Range {
    Range { after: CommitTs::ZERO, through: CommitTs::new(through) }
}

fn target(server: &Mariadb) -> Target {
    Target::MySql(MySqlTarget {
        host: "127.0.0.1".into(),
        port: server.port(),
        user: "root".into(),
        ..MySqlTarget::default()
    })
}

async fn applied(events: &[Event]) -> Mariadb {
    let server = Mariadb::start().unwrap();
    let options = SinkOptions { cluster: ClusterId(1), checkpoint: false, ..SinkOptions::default() };
    let mut sink = Sink::open(&target(&server), options).await.unwrap();
    sink.apply(events.to_vec()).await.unwrap();
    sink.close().await.unwrap();
    server
}

async fn proved(events: &[Event], server: &Mariadb) -> Proofs {
    let filter = TableFilter::user_tables(&[], &[], &[], &[]).unwrap();
    let mut expected = Expected::new(whole(1000), filter, Limits::default());
    events.iter().for_each(|event| expected.event(event).unwrap());
    let summary = Summary {
        range: whole(1000),
        sources: Vec::new(),
        notes: Vec::new(),
        holes: Vec::new(),
        earlier_holes: Vec::new(),
        resumed: None,
        next_ddl: None,
        counts: Counts::default(),
        elapsed: Duration::ZERO,
    };
    let mut session = Session::open(&target(server)).await.unwrap();
    let proofs =
        compare::compare(expected, &mut session, Proofs::new(summary), CommitTs::new(1000)).await.unwrap();
    session.close().await;
    proofs
}

#[tokio::test]
async fn rows_are_followed_into_the_zone_of_the_session_that_changed_their_type() {
    let events = history();
    let server = applied(&events).await;
    assert_eq!(server.sql("SELECT at FROM d.keyed WHERE id = 1").unwrap().trim(), "2024-01-01 09:00:00");
    let proofs = proved(&events, &server).await;
    assert!(proofs.holds() && proofs.not_compared == 0, "{proofs:?}");
    let compared = proofs.compared.unwrap();
    // Of the rows without a key, two of (1, 9 o'clock) and one of 3 are left.
    assert_eq!((compared["d.keyed"].expected, compared["d.bare"].expected), (3, 3));
    assert_eq!((compared["d.bare"].gone, compared["d.bare"].whole), (1, Some((3, 3))));

    for damage in [
        "UPDATE d.keyed SET at = '2024-01-01 01:00:00' WHERE id = 1",
        "UPDATE d.keyed SET at = '2024-01-01 09:00:00' WHERE id = 1; UPDATE d.bare SET more = 6 WHERE id = 1 LIMIT 1",
    ] {
        server.sql(damage).unwrap();
        let proofs = proved(&events, &server).await;
        assert!(!proofs.holds(), "{damage}: {proofs:?}");
    }
}

#[tokio::test]
async fn a_table_that_cannot_be_followed_is_named() {
    let (stamp, clock) = (ColumnType::timestamp(0), ColumnType::datetime(0));
    let [first, second] = [stamp.clone(), clock].map(|ty| table(1, "keyed", Some(ty), false));
    let third = table(1, "keyed", Some(stamp), false);
    let keyless = table(2, "bare", None, false);
    let mut with_key = (*keyless.table).clone();
    with_key.indexes = table(1, "keyed", None, false).table.indexes.clone();
    with_key.pk_is_handle = true;
    let with_key = TableRef { schema: "d".into(), table: Arc::new(with_key) };
    let events = [
        created(&[&first, &keyless]),
        txn(20, vec![(&first, ChangeKind::Insert(row(1, &[hour(TimeKind::Timestamp, 1)])))]),
        txn(30, vec![(&keyless, ChangeKind::Insert(row(1, &[])))]),
        alter(40, "ALTER TABLE keyed MODIFY at DATETIME", 28_800, &first, &second),
        alter(50, "ALTER TABLE keyed MODIFY at TIMESTAMP", 0, &second, &third),
        alter(60, "ALTER TABLE bare ADD PRIMARY KEY (id)", 0, &keyless, &with_key),
    ];
    let proofs = proved(&events, &applied(&events).await).await;
    let said = proofs.notes.join("\n");
    assert!(
        said.contains("d.keyed: TIMESTAMPs became other types") && said.contains("+08:00 and UTC"),
        "{said}"
    );
    assert!(said.contains("d.bare: what identifies a row changed from no key to (id)"), "{said}");
    assert!(!said.contains("undo"), "{said}");
    assert!(proofs.verdict().contains("2 row(s) were NOT compared"), "{}", proofs.verdict());
}

#[tokio::test]
async fn rows_go_back_in_the_zone_of_the_session_that_changed_their_type() {
    let events = history();
    let server = applied(&events).await;
    let filter = TableFilter::user_tables(&[], &[], &[], &[]).unwrap();
    let scope = UndoScope { range: whole(30), filter, transaction: None, condition: None, overwrite: false };
    let mut undo = Undo::new(scope, Limits::default());
    events.iter().for_each(|event| undo.event(event).unwrap());
    let mut undone = undo.finish(CommitTs::new(100)).unwrap();
    let report = undone.report().to_string();
    assert!(report.contains("d.bare has no key, and its columns changed"), "{report}");
    let mut sql = Vec::new();
    undone.write_sql(&mut sql, "memory").unwrap();
    // Every statement hits the row that it expects, or nothing goes back.
    let said = server.sql(&String::from_utf8(sql).unwrap()).unwrap();
    assert_eq!(said.lines().last().unwrap().split_whitespace().collect::<Vec<_>>(), ["2", "2"], "{said}");
    assert_eq!(server.sql("SELECT id FROM d.keyed").unwrap().trim(), "3");
}
