//! Events for programs: one JSON object a line, one line a row or DDL.
//!
//! Numbers that JSON readers may round (decimals, and integers beyond 2^53) are texts; binary values are `{"hex": …}`; a row's columns keep the
//! table's order. `row` is the new row, or the deleted one; `before` the row before an update.

use std::io::{self, Write};

use binlog_catalog::{ChangeKind, Column, Event, Row, RowChange, Transaction, Value};
use binlog_reparo::utc;
use serde_json::{Map, Value as Json, json};

const EXACT: u64 = 1 << 53;

/// Writes the lines of one event.
pub(crate) fn write(out: &mut impl Write, event: &Event) -> io::Result<()> {
    match event {
        Event::Ddl(ddl) => {
            let line = json!({
                "op": "ddl", "commit_ts": ddl.commit_ts.raw(), "start_ts": ddl.start_ts.raw(), "time": utc(ddl.commit_ts.ts()),
                "schema_version": ddl.schema_version.0, "job": ddl.job_id.0, "schema": ddl.schema, "query": ddl.query,
            });
            writeln!(out, "{line}")
        }
        Event::Transaction(txn) => txn
            .changes
            .iter()
            .enumerate()
            .try_for_each(|(at, change)| writeln!(out, "{}", row_line(txn, at, change))),
    }
}

fn row_line(txn: &Transaction, at: usize, change: &RowChange) -> Json {
    let table = &change.table.table;
    let (op, row, before) = match &change.kind {
        ChangeKind::Insert(row) => ("insert", row, None),
        ChangeKind::Delete(row) => ("delete", row, None),
        ChangeKind::Update { before, after } => ("update", after, Some(before)),
    };
    let mut line = json!({
        "op": op, "commit_ts": txn.commit_ts.raw(), "start_ts": txn.start_ts.raw(), "time": utc(txn.commit_ts.ts()),
        "schema_version": txn.schema_version.0, "sequence": at, "schema": &*change.table.schema, "table": table.name,
        "row": columns(&table.columns, row),
    });
    if let (Some(before), Some(fields)) = (before, line.as_object_mut()) {
        fields.insert("before".to_owned(), columns(&table.columns, before));
    }
    line
}

fn columns(columns: &[Column], row: &Row) -> Json {
    let bound = columns.iter().zip(row).filter_map(|(c, v)| Some((c.name.clone(), value(c, v.as_ref()?))));
    Json::Object(bound.collect::<Map<_, _>>())
}

fn value(column: &Column, value: &Value) -> Json {
    let text = || value.to_text(column).unwrap_or_default();
    match value {
        Value::Null => Json::Null,
        Value::Int(n) | Value::Year(n) if n.unsigned_abs() <= EXACT => json!(n),
        Value::UInt(n) | Value::Bit(n) if *n <= EXACT => json!(n),
        Value::Int(n) | Value::Year(n) => json!(n.to_string()),
        Value::UInt(n) | Value::Bit(n) => json!(n.to_string()),
        Value::Float(n) => json!(n),
        Value::Double(n) => json!(n),
        Value::Bytes(bytes) => hex_object(bytes),
        Value::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => hex_object(bytes),
        },
        Value::Json(_) => {
            let text = text();
            serde_json::from_slice(&text).unwrap_or_else(|_| json!(String::from_utf8_lossy(&text)))
        }
        _ => json!(String::from_utf8_lossy(&text())),
    }
}

fn hex_object(bytes: &[u8]) -> Json {
    json!({"hex": hex(bytes)})
}

/// Two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
