//! Captured traffic of a real TiDB: what undo says must lead from what TiDB showed later to what it showed earlier.

use std::collections::BTreeMap;

use binlog_catalog::meta::{job_history_range, objects_of_job};
use binlog_catalog::{ChangeKind, Interpreter, Start, Step};
use binlog_proto::binlog::{Binlog, BinlogType};
use binlog_proto::split_prewrite;
use binlog_sink::{MySqlTarget, Sink, SinkOptions, Target};
use binlog_testkit::{Comparison, Mariadb, Truth, TruthTable, assert_same, fixtures};
use binlog_types::{ClusterId, SchemaVersion, StartTs};
use prost::Message;

use super::*;

fn events(name: &str) -> Vec<Event> {
    let (start, end) = job_history_range();
    let jobs = fixtures::meta(name).unwrap().into_iter().filter(|(key, _)| (&start..&end).contains(&key));
    let objects: Vec<_> = jobs.flat_map(|(_, json)| objects_of_job(&json).unwrap()).collect();
    let complete = objects.iter().map(|o| o.schema_version).max().unwrap_or(0);
    let mut interpreter = Interpreter::new(Start::Version(SchemaVersion(0)));
    interpreter.extend(objects, SchemaVersion(complete)).unwrap();
    let (mut prewrites, mut records) = (BTreeMap::new(), Vec::new());
    for frame in fixtures::writes(name).unwrap() {
        let binlog = Binlog::decode(frame.payload).unwrap();
        match binlog.tp() {
            BinlogType::Prewrite => {
                prewrites.insert(binlog.start_ts, split_prewrite(&binlog));
            }
            BinlogType::Commit => {
                records.push((
                    binlog.commit_ts,
                    binlog.start_ts,
                    prewrites.remove(&binlog.start_ts).unwrap(),
                ));
            }
            _ => {}
        }
    }
    records.sort_by_key(|(commit_ts, start_ts, _)| (*commit_ts, *start_ts));
    let filter = TableFilter::user_tables(&[], &[], &[], &[]).unwrap();
    let mut events = Vec::new();
    for (commit_ts, start_ts, body) in records {
        let (start_ts, commit_ts) = (StartTs::new(start_ts as u64), CommitTs::new(commit_ts as u64));
        if let Step::Event(event) = interpreter.step(start_ts, commit_ts, &body).unwrap() {
            events.extend(binlog_pull::narrow(event, &filter));
        }
    }
    events
}

fn mark(name: &str, mark: &str) -> CommitTs {
    fixtures::marks(name).unwrap()[mark].tso.into()
}

fn scope(after: CommitTs, through: CommitTs) -> UndoScope {
    let filter = TableFilter::user_tables(&[], &[], &[], &[]).unwrap();
    UndoScope {
        range: Range { after, through },
        filter,
        transaction: None,
        condition: None,
        overwrite: false,
    }
}

fn undo_of(events: &[Event], scope: UndoScope, seen: CommitTs, limits: Limits) -> Undone {
    let after = scope.range.after;
    let mut undo = Undo::new(scope, limits);
    for event in events.iter().filter(|e| e.commit_ts() > after && e.commit_ts() <= seen) {
        undo.event(event).unwrap();
    }
    undo.finish(seen).unwrap()
}

fn sql_of(undone: &mut Undone) -> String {
    let mut out = Vec::new();
    undone.write_sql(&mut out, "memory").unwrap();
    String::from_utf8(out).unwrap()
}

/// A server with everything up to `through`.
async fn server(events: &[Event], through: CommitTs) -> Mariadb {
    let server = Mariadb::start().unwrap();
    let target = Target::MySql(MySqlTarget {
        host: "127.0.0.1".into(),
        port: server.port(),
        user: "root".into(),
        ..MySqlTarget::default()
    });
    let options = SinkOptions {
        cluster: ClusterId(1),
        workers: 4,
        batch_rows: 100,
        checkpoint: false,
        ..SinkOptions::default()
    };
    let mut sink = Sink::open(&target, options).await.unwrap();
    let events: Vec<Event> = events.iter().filter(|e| e.commit_ts() <= through).cloned().collect();
    for chunk in events.chunks(500) {
        sink.apply(chunk.to_vec()).await.unwrap();
    }
    sink.close().await.unwrap();
    server
}

/// Runs the SQL; every statement hit what it expected.
fn run(server: &Mariadb, sql: &str) {
    let said = server.sql(sql).unwrap();
    let last = said.lines().last().unwrap_or_default();
    let numbers: Vec<&str> = last.split_whitespace().collect();
    assert!(matches!(numbers.as_slice(), [a, b] if a == b), "{said}");
}

/// Tables and columns that both have, for DDL is not undone; tables that came since must be empty.
fn common(expected: &Truth, mut actual: Truth) -> Truth {
    actual.tables.retain(|name, table| {
        let known = expected.tables.contains_key(name);
        assert!(known || table.rows.is_empty(), "{name:?} has rows that were to go");
        if let Some(old) = expected.tables.get(name) {
            let place = |column: &String| table.columns.iter().position(|c| c == column).expect("the column");
            let kept: Vec<usize> = old.columns.iter().map(place).collect();
            let rows =
                table.rows.iter().map(|row| kept.iter().map(|at| row[*at].clone()).collect()).collect();
            *table = TruthTable::new(old.columns.clone(), rows);
        }
        known
    });
    actual
}

async fn back_to(name: &str, from: &str, to: &str, comparison: &Comparison, memory: usize) {
    let events = events(name);
    let (after, through) = (mark(name, to), mark(name, from));
    let limits = Limits { memory, ..Limits::default() };
    let mut undone = undo_of(&events, scope(after, through), through, limits);
    println!("{name}: {from} to {to}: {}", undone.report());
    assert!(undone.report().complete() && undone.report().changes > 0);
    let server = server(&events, through).await;
    run(&server, &sql_of(&mut undone));
    let expected = fixtures::truth(name, to).unwrap();
    assert_same(&expected, &common(&expected, server.dump_all().unwrap()), comparison);
}

#[tokio::test]
async fn everything_between_two_marks_goes_back() {
    back_to("seed", "before_delete", "full_backup", &Comparison::exact(), 64 << 20).await;
    back_to("seed", "before_drop", "full_backup", &Comparison::exact(), 64 << 20).await;
}

#[tokio::test]
async fn concurrent_sessions_go_back_over_ddl_with_little_memory_too() {
    back_to("txn", "t012", "t006", &Comparison::exact(), 64 << 20).await;
    back_to("txn", "t012", "t006", &Comparison::exact(), 400_000).await;
}

/// The transaction of the mistaken DELETE of the capture.
fn mistake(events: &[Event]) -> (&Transaction, usize) {
    let deletes =
        |txn: &Transaction| txn.changes.iter().filter(|c| matches!(c.kind, ChangeKind::Delete(_))).count();
    let txns = events.iter().filter_map(|e| match e {
        Event::Transaction(txn)
            if txn.commit_ts > mark("seed", "before_delete")
                && txn.commit_ts <= mark("seed", "before_drop") =>
        {
            Some((txn, deletes(txn)))
        }
        _ => None,
    });
    txns.max_by_key(|(_, deletes)| *deletes).unwrap()
}

#[tokio::test]
async fn a_transaction_goes_back_by_itself() {
    let events = events("seed");
    let (txn, deletes) = mistake(&events);
    let before_drop = mark("seed", "before_drop");
    assert!(deletes > 0);
    let mut one = scope(CommitTs::ZERO, before_drop);
    one.transaction = Some(txn.start_ts.raw());
    let mut undone = undo_of(&events, one, before_drop, Limits::default());
    assert_eq!(undone.report().changes, txn.changes.len() as u64);
    let server = server(&events, before_drop).await;
    let schema = &txn.changes[0].table;
    let count =
        || server.sql(&format!("SELECT COUNT(*) FROM `{}`.`{}`", schema.schema, schema.table.name)).unwrap();
    let without = count();
    let sql = sql_of(&mut undone);
    run(&server, &sql);
    assert_ne!(count(), without);
    // Once more: the rows are there, and nothing is overwritten.
    assert!(server.sql(&sql).is_err());
}

#[tokio::test]
async fn rows_that_are_not_as_expected_stop_all_of_it() {
    let events = events("seed");
    let (after, through) = (mark("seed", "full_backup"), mark("seed", "before_delete"));
    let mut undone = undo_of(&events, scope(after, through), through, Limits::default());
    let sql = sql_of(&mut undone);
    let server = server(&events, through).await;
    // Somebody was there whom no binlog tells of.
    for table in undone.report().tables.keys() {
        server.sql(&format!("DELETE FROM {table}")).unwrap();
    }
    let before = server.dump_all().unwrap();
    assert!(server.sql(&sql).is_err());
    assert_same(&before, &server.dump_all().unwrap(), &Comparison::exact());
}

#[tokio::test]
async fn what_cannot_be_undone_safely_is_refused() {
    let refused = async |config: Config| undo(&config, std::future::pending()).await.unwrap_err().to_string();
    let files = Config { data_dir: "somewhere".to_owned(), ..Config::default() };
    assert!(refused(files).await.contains("keys"));
    let txn = Config { from_pump: "127.0.0.1:1".to_owned(), txn: -5, ..Config::default() };
    assert!(refused(txn).await.contains("-txn"), "a typing mistake does not mean everything");
}

#[test]
fn what_was_dropped_needs_a_restore() {
    let events = events("seed");
    let (after, end) = (mark("seed", "full_backup"), mark("seed", "end"));
    let undone = undo_of(&events, scope(after, end), end, Limits::default());
    let said = undone.report().to_string();
    assert!(!undone.report().complete());
    assert!(said.contains("CANNOT UNDO") && said.contains("reparo … -stop-tso="), "{said}");
}

#[test]
fn rows_that_changed_again_are_conflicts_unless_told() {
    let events = events("txn");
    let (after, through, seen) = (mark("txn", "loaded"), mark("txn", "t006"), mark("txn", "t012"));
    let undone = undo_of(&events, scope(after, through), seen, Limits::default());
    let report = undone.report();
    assert!(report.conflict_count > 0, "{report}");
    assert!(report.to_string().contains("changed by others after that"), "{report}");
    let told = UndoScope { overwrite: true, ..scope(after, through) };
    assert_eq!(undo_of(&events, told, seen, Limits::default()).report().conflict_count, 0);
}

#[test]
fn a_condition_selects_rows() {
    let events = events("txn");
    let (after, through) = (mark("txn", "loaded"), mark("txn", "t006"));
    let only = |condition: &str| {
        let mut scope = scope(after, through);
        scope.filter = TableFilter::new(&[], &[("bank".into(), "accounts".into())], &[], &[]).unwrap();
        scope.condition = Some(Condition::parse(condition).unwrap());
        undo_of(&events, scope, through, Limits::default()).report().clone()
    };
    let (all, one) = (only("id > 0"), only("id = 1"));
    assert!(all.changes > one.changes && one.changes > 0, "{all}\n{one}");
    let rows: u64 = one.tables.values().flatten().sum();
    assert!(rows <= 1, "{one}");
}

/// TiDB computes subqueries while it plans, whatever IF would choose: what stops the script is an error of running it.
#[test]
fn a_script_stops_without_a_subquery() {
    let mut undone = undo_of(
        &events("seed"),
        scope(mark("seed", "before_delete"), mark("seed", "before_drop")),
        mark("seed", "before_drop"),
        Limits::default(),
    );
    let sql = sql_of(&mut undone);
    assert!(sql.contains("18446744073709551615 + IF(@undone = 1, 0, 1)"), "{sql}");
    assert!(!sql.contains("(SELECT"), "{sql}");
    assert!(
        sql.contains("SET NAMES utf8mb4;") && sql.contains("allow_auto_random_explicit_insert = 1"),
        "{sql}"
    );
}
