//! Changes as JSON lines and as CSV: typed, stable, for programs.
//!
//! JSON has one object a line and change. `type` is `insert`, `update`, `delete` or `ddl`; `old` and `new` are the images, by column. Integers and floats are
//! numbers; decimals, times and texts are strings; JSON stands as it is; ENUM and SET are their names where they are known, else numbers; BIT is a
//! number; bytes, and texts that are not UTF-8, are `{"hex": "…"}`. Columns that a row does not bind are absent.
//!
//! CSV has one line a column of a change, with a header; `\N` is NULL, empty is absent, bytes are `0x…`.

use std::fmt::Write as _;
use std::io::{self, Write};

use binlog_catalog::{ChangeKind, Column, Event, Row, RowChange, Table, Value};

use crate::print::type_name;
use crate::utc;

pub(crate) const CSV_HEADER: &str =
    "commit_ts,time,start_ts,sequence,type,database,table,column,column_type,old,new";

fn images(change: &RowChange) -> (&'static str, Option<&Row>, Option<&Row>) {
    match &change.kind {
        ChangeKind::Insert(row) => ("insert", None, Some(row)),
        ChangeKind::Update { before, after } => ("update", Some(before), Some(after)),
        ChangeKind::Delete(row) => ("delete", Some(row), None),
    }
}

/// Writes an event as JSON lines.
pub(crate) fn write_json(out: &mut dyn Write, event: &Event) -> io::Result<()> {
    match event {
        // No record of the stream.
        Event::Ddl(ddl) if ddl.ahead => Ok(()),
        Event::Ddl(ddl) => {
            let (at, time, start) = (ddl.commit_ts, utc(ddl.commit_ts.ts()), ddl.start_ts);
            let (schema, query) = (quoted(&ddl.schema), quoted(&ddl.query));
            writeln!(
                out,
                r#"{{"commit_ts":{at},"time":"{time}","start_ts":{start},"type":"ddl","database":{schema},"query":{query}}}"#
            )
        }
        Event::Transaction(txn) => {
            let head = format!(
                r#"{{"commit_ts":{},"time":"{}","start_ts":{}"#,
                txn.commit_ts,
                utc(txn.commit_ts.ts()),
                txn.start_ts
            );
            for (sequence, change) in (1u64..).zip(&txn.changes) {
                let (kind, old, new) = images(change);
                let table = &change.table;
                let (schema, name) = (quoted(&table.schema), quoted(&table.table.name));
                let mut line = format!(
                    r#"{head},"sequence":{sequence},"type":"{kind}","database":{schema},"table":{name}"#
                );
                for (name, row) in [("old", old), ("new", new)] {
                    if let Some(row) = row {
                        let _ = write!(line, r#","{name}":"#);
                        push_row(&mut line, &table.table, row);
                    }
                }
                writeln!(out, "{line}}}")?;
            }
            Ok(())
        }
    }
}

fn push_row(out: &mut String, table: &Table, row: &Row) {
    out.push('{');
    let mut first = true;
    for (column, value) in table.columns.iter().zip(row) {
        let Some(value) = value else { continue };
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        out.push_str(&quoted(&column.name));
        out.push(':');
        push_value(out, value, column);
    }
    out.push('}');
}

fn push_value(out: &mut String, value: &Value, column: &Column) {
    let text =
        || value.to_text(column).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    let _ = match value {
        Value::Null => write!(out, "null"),
        Value::Int(v) | Value::Year(v) => write!(out, "{v}"),
        Value::UInt(v) | Value::Bit(v) => write!(out, "{v}"),
        Value::Float(v) if v.is_finite() => write!(out, "{v:?}"),
        Value::Double(v) if v.is_finite() => write!(out, "{v:?}"),
        Value::Enum(v) | Value::Set(v) if column.ty.elems.is_empty() => write!(out, "{v}"),
        Value::Text(bytes) | Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if matches!(value, Value::Text(_)) => write!(out, "{}", quoted(text)),
            _ => write!(out, r#"{{"hex":"{}"}}"#, hex(bytes)),
        },
        Value::Json(json) => match json.text() {
            Ok(text) => write!(out, "{text}"),
            Err(error) => write!(out, "{}", quoted(&error.to_string())),
        },
        Value::Float(_)
        | Value::Double(_)
        | Value::Decimal(_)
        | Value::Time { .. }
        | Value::Duration { .. }
        | Value::Enum(_)
        | Value::Set(_) => write!(out, "{}", quoted(&text())),
    };
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writes an event as lines of CSV.
pub(crate) fn write_csv(out: &mut dyn Write, event: &Event) -> io::Result<()> {
    let head = |commit_ts, start_ts: u64| format!("{commit_ts},{},{start_ts}", utc(commit_ts));
    match event {
        Event::Ddl(ddl) if ddl.ahead => Ok(()),
        Event::Ddl(ddl) => {
            let head = head(ddl.commit_ts.ts(), ddl.start_ts.raw());
            writeln!(out, "{head},,ddl,{},,,,,{}", field(&ddl.schema), field(&ddl.query))
        }
        Event::Transaction(txn) => {
            let head = head(txn.commit_ts.ts(), txn.start_ts.raw());
            for (sequence, change) in (1u64..).zip(&txn.changes) {
                let (kind, old, new) = images(change);
                let table = &change.table;
                let head =
                    format!("{head},{sequence},{kind},{},{}", field(&table.schema), field(&table.table.name));
                for (at, column) in table.table.columns.iter().enumerate() {
                    let value =
                        |row: Option<&Row>| row.and_then(|row| row.get(at)).and_then(Option::as_ref).cloned();
                    let (old, new) = (value(old), value(new));
                    if old.is_none() && new.is_none() {
                        continue;
                    }
                    let text =
                        |value: Option<Value>| value.map(|v| csv_value(&v, column)).unwrap_or_default();
                    let (old, new, ty) = (text(old), text(new), type_name(column));
                    writeln!(out, "{head},{},{ty},{old},{new}", field(&column.name))?;
                }
            }
            Ok(())
        }
    }
}

fn csv_value(value: &Value, column: &Column) -> String {
    match value {
        Value::Null => "\\N".to_owned(),
        Value::Bytes(bytes) => format!("0x{}", hex(bytes)),
        Value::Bit(v) => v.to_string(),
        Value::Enum(v) | Value::Set(v) if column.ty.elems.is_empty() => v.to_string(),
        other => {
            let text = String::from_utf8_lossy(&other.to_text(column).unwrap_or_default()).into_owned();
            // Quoted, so that an empty text is no absent one, and `\N` no NULL.
            if text.is_empty() || text == "\\N" { format!("\"{text}\"") } else { field(&text) }
        }
    }
}

/// A field of CSV, quoted where it has to be.
pub(crate) fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use binlog_catalog::{ColumnType, Part, TableBuilder, TableRef, Transaction};
    use binlog_types::{CommitTs, SchemaVersion, StartTs, TableId};
    use bytes::Bytes;

    use super::*;

    fn event() -> Event {
        let table = TableBuilder::new(TableId(1), "t\"", SchemaVersion(1))
            .column("id", ColumnType::bigint().unsigned())
            .column("s", ColumnType::varchar(10))
            .column("b", ColumnType::varbinary(4))
            .column("d", ColumnType::decimal(5, 2))
            .column("e", ColumnType::enumeration(["x", "y"]))
            .primary_key(&["id"])
            .build();
        let row = |s: &'static str| {
            vec![
                Some(Value::UInt(u64::MAX)),
                Some(Value::Text(Bytes::from(s))),
                Some(Value::Bytes(Bytes::from_static(&[0, 255]))),
                Some(Value::Decimal("1.50".into())),
                None,
            ]
        };
        let table = TableRef { schema: "d".into(), table: Arc::new(table) };
        let mut after = row("a,\"b\"\n");
        after[4] = Some(Value::Enum(2));
        after[2] = Some(Value::Null);
        Event::Transaction(Transaction {
            start_ts: StartTs::new(5),
            commit_ts: CommitTs::new(400_000_000_000_000_000),
            schema_version: SchemaVersion(1),
            part: Part::WHOLE,
            changes: vec![RowChange { table, kind: ChangeKind::Update { before: row(""), after } }],
        })
    }

    #[test]
    fn json_is_json_and_keeps_types() {
        let mut out = Vec::new();
        write_json(&mut out, &event()).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["commit_ts"], 400_000_000_000_000_000u64);
        assert_eq!((&json["type"], &json["table"]), (&"update".into(), &"t\"".into()));
        assert_eq!(json["old"]["id"], u64::MAX);
        assert_eq!(json["old"]["b"]["hex"], "00ff");
        assert_eq!((&json["old"]["d"], &json["old"]["s"]), (&"1.50".into(), &"".into()));
        assert!(json["old"].get("e").is_none());
        assert_eq!((&json["new"]["e"], &json["new"]["b"]), (&"y".into(), &serde_json::Value::Null));
    }

    #[test]
    fn csv_tells_null_from_empty_and_absent() {
        let mut out = Vec::new();
        write_csv(&mut out, &event()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.split_inclusive(",\"a,").collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(text.contains(",s,varchar,\"\",\"a,\"\"b\"\"\n\"\n"), "{text}");
        assert!(text.contains(",b,varbinary,0x00ff,\\N\n"), "{text}");
        assert!(text.contains(",e,enum,,y\n"), "{text}");
        assert_eq!(CSV_HEADER.split(',').count(), 11);
    }
}
