//! What a dump shows.

use std::sync::Arc;

use binlog_catalog::{
    ChangeKind, ColumnType, Ddl, Part, RowChange, TableBuilder, TableRef, Transaction, Value,
};
use binlog_proto::Body;
use binlog_proto::binlog::{PrewriteValue, TableMutation};
use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs, TableId};
use prost::Message;

use super::*;

const COMMIT: CommitTs = CommitTs::new(405_367_742_791_680_000);

fn text(value: &'static str) -> Option<Value> {
    Some(Value::Text(value.as_bytes().into()))
}

fn events() -> Vec<Event> {
    let table = TableBuilder::new(TableId(1), "t", SchemaVersion(1))
        .column("id", ColumnType::bigint())
        .column("v", ColumnType::varchar(10))
        .column("b", ColumnType::blob())
        .build();
    let table = TableRef { schema: "a".into(), table: Arc::new(table) };
    let blob = || Some(Value::Bytes(vec![0, 255].into()));
    let kinds = [
        ChangeKind::Insert(vec![Some(Value::Int(1)), text("it's\n"), blob()]),
        ChangeKind::Update {
            before: vec![Some(Value::Int(1)), text("x"), Some(Value::Null)],
            after: vec![Some(Value::Int(1)), text("y"), Some(Value::Null)],
        },
        ChangeKind::Delete(vec![Some(Value::Int(i64::MAX)), None, Some(Value::Null)]),
    ];
    let changes = kinds.into_iter().map(|kind| RowChange { table: table.clone(), kind }).collect();
    vec![
        Event::Ddl(Ddl {
            start_ts: StartTs::new(1),
            commit_ts: COMMIT,
            job_id: JobId(3),
            job_type: 3,
            schema: "a".to_owned(),
            schema_version: SchemaVersion(2),
            query: "CREATE TABLE t(id INT)".to_owned(),
            typed: String::new(),
            zone: None,
            changes: vec![],
            ahead: false,
        }),
        Event::Transaction(Transaction {
            start_ts: StartTs::new(5),
            commit_ts: COMMIT,
            schema_version: SchemaVersion(2),
            part: Part::WHOLE,
            changes,
        }),
    ]
}

fn printed(style: Style, limit: Option<u64>) -> String {
    let options = DumpOptions { config: Config::default(), style, limit };
    let mut printer = Printer::new(Vec::new(), &options);
    for event in events() {
        if printer.event(&event).unwrap().is_done() {
            break;
        }
    }
    String::from_utf8(printer.out).unwrap()
}

#[test]
fn people_see_a_block_for_each_transaction() {
    let expected = "\
commit 405367742791680000  2019-01-01T15:07:00.000Z  DDL, job 3, schema version 2, in a
  CREATE TABLE t(id INT)
commit 405367742791680000  2019-01-01T15:07:00.000Z  start 5, 3 rows
  insert a.t  id=1, v='it\\'s\\n', b=0x00ff
  update a.t  id=1, v='x' -> 'y', b=NULL
  delete a.t  id=9223372036854775807, b=NULL
";
    assert_eq!(printed(Style::Decoded { json: false }, None), expected);
}

#[test]
fn programs_see_one_object_a_line() {
    let text = printed(Style::Decoded { json: true }, None);
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["op"], "ddl");
    assert_eq!(lines[1]["row"], serde_json::json!({"id": 1, "v": "it's\n", "b": {"hex": "00ff"}}));
    assert_eq!((&lines[2]["before"]["v"], &lines[2]["row"]["v"]), (&"x".into(), &"y".into()));
    assert_eq!(lines[3]["row"], serde_json::json!({"id": "9223372036854775807", "b": null}));
    assert_eq!(lines[3]["sequence"], 2);
}

#[test]
fn the_limit_counts_transactions() {
    assert_eq!(printed(Style::Decoded { json: true }, Some(1)).lines().count(), 1);
}

#[test]
fn raw_records_need_no_schema() {
    let value = PrewriteValue {
        schema_version: 2,
        mutations: vec![TableMutation {
            table_id: 7,
            inserted_rows: vec![vec![8, 2].into()],
            sequence: vec![0],
            ..TableMutation::default()
        }],
    };
    let body = Body { prewrite_value: Some(value.encode_to_vec().into()), ..Body::default() };
    let record = Record {
        start_ts: StartTs::new(5),
        commit_ts: COMMIT,
        schema_version: SchemaVersion(2),
        extra: b"key".as_slice().into(),
        payload: body.encode_to_vec().into(),
    };
    let mut out = Vec::new();
    raw::write(&mut out, &record, false).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("table_id: 7") && text.contains("inserted_rows: 0802"), "{text}");
    let mut out = Vec::new();
    raw::write(&mut out, &record, true).unwrap();
    let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(line["mutations"][0]["inserted_rows"][0], "0802");
    let torn = Record { payload: vec![0x2a, 9].into(), ..record };
    assert!(raw::write(&mut Vec::new(), &torn, true).is_err());
}
