//! Rows that a unique index no longer holds off, before the DDL that takes it away.

use std::sync::Arc;

use binlog_types::TableId;
use prost::Message as _;

use super::large_tests::InMemory;
use super::tests::{DB, database, ddl, dml, event, job, row, step};
use super::*;
use crate::encode::insert_row;
use crate::meta::{step_object, table_json, table_object};
use crate::{ColumnType, SchemaChange, Table, TableBuilder};

const INITIAL: i64 = 2;

/// Table 10, with a unique index beside its key.
fn table(version: i64) -> Table {
    TableBuilder::new(TableId(10), "t", SchemaVersion(version))
        .column("id", ColumnType::bigint())
        .column("v", ColumnType::varchar(20))
        .primary_key(&["id"])
        .unique("u", &["v"])
        .build()
}

fn without(version: i64) -> Table {
    let mut table = table(version);
    table.indexes.retain(|index| index.name != "u");
    table.json = table_json(&table).into();
    table
}

/// What the table that stands so leaves at a version.
fn left(table: &Table, version: i64) -> SchemaObject {
    let key = crate::meta::table_key(DB, table.id);
    let object = table_object(&key, DB, &table.json, SchemaVersion(version)).unwrap().unwrap();
    step_object(&SchemaObject { finished_ts: version as u64 * 10, ..object }).unwrap()
}

/// Version 2 makes the table; 5 is the first step of a DDL without an end yet.
fn fed(start: Start) -> Interpreter {
    let mut objects = vec![database()];
    objects.extend(job(100, job_type::CREATE_TABLE, 10, INITIAL, Some(&table(INITIAL))));
    objects.push(left(&without(5), 5));
    let mut interpreter = Interpreter::new(start);
    interpreter.extend(objects, SchemaVersion(5)).unwrap();
    interpreter
}

fn insert(version: i64, id: i64) -> Body {
    dml(version, 10, vec![insert_row(&table(INITIAL), 0, &row(id, "a")).unwrap()])
}

fn names(table: &TableRef) -> Vec<&str> {
    table.table.indexes.iter().map(|index| index.name.as_str()).collect()
}

fn ahead(interpreter: &mut Interpreter, ts: u64, body: &Body) -> Ddl {
    match step(interpreter, ts, body).unwrap() {
        Step::Ahead(ddl) => ddl,
        other => panic!("{other:?}"),
    }
}

/// The indexes of the table that the rows are of.
fn rows(interpreter: &mut Interpreter, ts: u64, body: &Body) -> usize {
    let Event::Transaction(txn) = event(interpreter, ts, body) else { panic!("no rows") };
    txn.changes[0].table.table.indexes.len()
}

#[test]
fn the_index_goes_before_the_first_row_that_it_does_not_hold_off() {
    let mut interpreter = fed(Start::Version(SchemaVersion(1)));
    assert!(matches!(event(&mut interpreter, 20, &ddl(100)), Event::Ddl(d) if !d.ahead));
    assert_eq!(rows(&mut interpreter, 41, &insert(4, 1)), 2, "it holds");
    let told = ahead(&mut interpreter, 51, &insert(5, 2));
    assert!(told.ahead);
    assert_eq!((told.commit_ts, told.start_ts), (CommitTs::new(51), StartTs::new(49)));
    assert_eq!((told.job_id, told.schema_version), (JobId(0), SchemaVersion(5)));
    assert_eq!(told.query, "ALTER TABLE `d`.`t` DROP INDEX `u`");
    let [SchemaChange::AlterTable { before, after }] = &told.changes[..] else { panic!("{told:?}") };
    assert_eq!((names(before), names(after)), (vec!["PRIMARY", "u"], vec!["PRIMARY"]));
    assert_eq!(interpreter.schema_version(), SchemaVersion(5), "a start from here on knows that it was told");
    assert_eq!(rows(&mut interpreter, 51, &insert(5, 2)), 1);
    // Written before and committed behind.
    assert_eq!(rows(&mut interpreter, 52, &insert(4, 3)), 1);

    let mut done = without(7);
    done.comment = "and more".into();
    done.json = table_json(&done).into();
    interpreter
        .extend(job(101, job_type::MULTI_SCHEMA_CHANGE, 10, 7, Some(&done)), SchemaVersion(7))
        .unwrap();
    let Event::Ddl(end) = event(&mut interpreter, 70, &ddl(101)) else { panic!() };
    let [SchemaChange::AlterTable { before, after }] = &end.changes[..] else { panic!("{end:?}") };
    assert_eq!((names(before), names(after)), (vec!["PRIMARY"], vec!["PRIMARY"]));
    assert_eq!(after.table.comment, "and more");
    assert_eq!(rows(&mut interpreter, 71, &insert(7, 4)), 1);
}

#[test]
fn without_rows_in_between_the_ddl_does_it() {
    let mut interpreter = fed(Start::Version(SchemaVersion(4)));
    interpreter.extend(job(101, job_type::DROP_INDEX, 10, 7, Some(&without(7))), SchemaVersion(7)).unwrap();
    let Event::Ddl(end) = event(&mut interpreter, 70, &ddl(101)) else { panic!() };
    let [SchemaChange::AlterTable { before, after }] = &end.changes[..] else { panic!("{end:?}") };
    assert_eq!((names(before), names(after)), (vec!["PRIMARY", "u"], vec!["PRIMARY"]));
    assert!(!end.ahead);
}

#[test]
fn a_start_behind_the_step_tells_it_again() {
    // Whether it was told before the start is not known: DDLs of other tables may have led to the version.
    for start in [Start::Version(SchemaVersion(5)), Start::At(CommitTs::new(55))] {
        let mut interpreter = fed(start);
        let told = ahead(&mut interpreter, 61, &insert(4, 1));
        assert_eq!(told.changes.len(), 1);
        assert_eq!(rows(&mut interpreter, 61, &insert(4, 1)), 1);
        assert_eq!(rows(&mut interpreter, 62, &insert(5, 1)), 1);

        let mut interpreter = fed(start);
        interpreter
            .extend(job(101, job_type::DROP_INDEX, 10, 7, Some(&without(7))), SchemaVersion(7))
            .unwrap();
        assert_eq!(ahead(&mut interpreter, 70, &ddl(101)).commit_ts, CommitTs::new(70));
        assert!(matches!(event(&mut interpreter, 70, &ddl(101)), Event::Ddl(d) if !d.ahead));
    }
    // Before the step, and behind the end.
    let mut before = fed(Start::Version(SchemaVersion(4)));
    assert_eq!(rows(&mut before, 61, &insert(4, 1)), 2);
    let mut behind = fed(Start::Version(SchemaVersion(7)));
    behind.extend(job(101, job_type::DROP_INDEX, 10, 7, Some(&without(7))), SchemaVersion(7)).unwrap();
    assert_eq!(rows(&mut behind, 71, &insert(7, 1)), 1);
}

#[test]
fn tables_that_are_not_asked_for_are_left_alone() {
    let mut interpreter = fed(Start::Version(SchemaVersion(4)));
    interpreter.set_wanted(|_, table| table != "t");
    let Event::Transaction(txn) = event(&mut interpreter, 51, &insert(5, 1)) else { panic!() };
    assert!(txn.changes.is_empty());
    assert_eq!(interpreter.schema_version(), SchemaVersion(4));
}

#[test]
fn each_step_takes_what_it_adds() {
    let both = TableBuilder::new(TableId(10), "t", SchemaVersion(INITIAL))
        .column("id", ColumnType::bigint())
        .column("v", ColumnType::varchar(20))
        .unique("u", &["id"])
        .unique("w", &["v"])
        .build();
    let left_with = |names: &[&str], version: i64| {
        let mut table = Table { version: SchemaVersion(version), ..both.clone() };
        table.indexes.iter_mut().for_each(|i| i.public = names.contains(&i.name.as_str()));
        table.json = table_json(&table).into();
        left(&table, version)
    };
    let mut objects = vec![database()];
    objects.extend(job(100, job_type::CREATE_TABLE, 10, INITIAL, Some(&both)));
    // Two pumps have read the table at different moments of the second step.
    objects.extend([
        left_with(&["u", "w"], 3),
        left_with(&["w"], 5),
        left_with(&["w"], 6),
        left_with(&["u"], 6),
    ]);
    let mut interpreter = Interpreter::new(Start::Version(SchemaVersion(INITIAL)));
    interpreter.extend(objects, SchemaVersion(6)).unwrap();
    assert_eq!(rows(&mut interpreter, 31, &insert(4, 1)), 2);
    assert_eq!(ahead(&mut interpreter, 51, &insert(5, 1)).query, "ALTER TABLE `d`.`t` DROP INDEX `u`");
    assert_eq!(rows(&mut interpreter, 51, &insert(5, 1)), 1);
    assert_eq!(ahead(&mut interpreter, 61, &insert(6, 1)).query, "ALTER TABLE `d`.`t` DROP INDEX `w`");
    assert_eq!(rows(&mut interpreter, 61, &insert(6, 1)), 0);
}

#[test]
fn an_index_that_came_later_is_not_concerned() {
    let mut interpreter = fed(Start::Version(SchemaVersion(4)));
    let mut later = without(6);
    let mut index = table(6).indexes[1].clone();
    (index.id, index.name) = (9, "later".into());
    later.indexes.push(index);
    later.json = table_json(&later).into();
    interpreter.extend(job(101, job_type::ADD_INDEX, 10, 6, Some(&later)), SchemaVersion(6)).unwrap();
    event(&mut interpreter, 60, &ddl(101));
    assert_eq!(rows(&mut interpreter, 61, &insert(6, 1)), 2);
}

#[test]
fn the_parts_of_a_large_transaction_come_behind_it() {
    let mut interpreter = fed(Start::Version(SchemaVersion(4)));
    let blob = Arc::new(InMemory(insert(5, 1).encode_to_vec()));
    let mut begin =
        || interpreter.begin_large(StartTs::new(50), CommitTs::new(51), Arc::<InMemory>::clone(&blob) as _);
    assert!(matches!(begin(), Ok(LargeStep::Ahead(ddl)) if ddl.ahead));
    let Ok(LargeStep::Rows(mut large)) = begin() else { panic!("no rows") };
    let (part, _) = interpreter.next_part(&mut large).unwrap().unwrap();
    assert_eq!(part.changes[0].table.table.indexes.len(), 1);
}
