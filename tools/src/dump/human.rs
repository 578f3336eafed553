//! Events for people: a block for each transaction.

use std::fmt::Write as _;
use std::io::{self, Write};

use binlog_catalog::{ChangeKind, Column, Event, Row, RowChange, Value};
use binlog_reparo::utc;

/// Writes one block.
pub(crate) fn write(out: &mut impl Write, event: &Event) -> io::Result<()> {
    let commit = event.commit_ts();
    match event {
        Event::Ddl(ddl) => {
            let (time, job, version) = (utc(commit.ts()), ddl.job_id, ddl.schema_version);
            writeln!(
                out,
                "commit {commit}  {time}  DDL, job {job}, schema version {version}, in {}",
                ddl.schema
            )?;
            ddl.query.lines().try_for_each(|line| writeln!(out, "  {line}"))
        }
        Event::Transaction(txn) => {
            let (time, rows) = (utc(commit.ts()), txn.changes.len());
            let plural = if rows == 1 { "" } else { "s" };
            writeln!(out, "commit {commit}  {time}  start {}, {rows} row{plural}", txn.start_ts)?;
            txn.changes.iter().try_for_each(|change| writeln!(out, "  {}", line(change)))
        }
    }
}

fn line(change: &RowChange) -> String {
    let table = &change.table.table;
    let (op, columns) = match &change.kind {
        ChangeKind::Insert(row) => ("insert", columns(&table.columns, row)),
        ChangeKind::Delete(row) => ("delete", columns(&table.columns, row)),
        ChangeKind::Update { before, after } => ("update", changed(&table.columns, before, after)),
    };
    format!("{op} {}.{}  {columns}", change.table.schema, table.name)
}

fn columns(columns: &[Column], row: &Row) -> String {
    let mut out = String::new();
    for (column, value) in columns.iter().zip(row) {
        if let Some(value) = value {
            separate(&mut out);
            let _ = write!(out, "{}={}", column.name, show(column, value));
        }
    }
    out
}

/// All columns, so that the row can be recognised; those that changed with both values.
fn changed(columns: &[Column], before: &Row, after: &Row) -> String {
    let mut out = String::new();
    for (column, (old, new)) in columns.iter().zip(before.iter().zip(after)) {
        let (old, new) = (old.as_ref(), new.as_ref());
        let (Some(first), Some(_)) = (old.or(new), new.or(old)) else { continue };
        separate(&mut out);
        let _ = write!(out, "{}={}", column.name, show(column, first));
        if let (Some(old), Some(new)) = (old, new)
            && old != new
        {
            let _ = write!(out, " -> {}", show(column, new));
        }
    }
    out
}

fn separate(out: &mut String) {
    if !out.is_empty() {
        out.push_str(", ");
    }
}

fn show(column: &Column, value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bytes(bytes) => bytes.iter().fold("0x".to_owned(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        }),
        Value::Int(_)
        | Value::UInt(_)
        | Value::Year(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Bit(_)
        | Value::Decimal(_) => text(column, value),
        _ => quote(&text(column, value)),
    }
}

fn text(column: &Column, value: &Value) -> String {
    match value {
        // As a number: its bytes are not for reading.
        Value::Bit(number) => number.to_string(),
        _ => String::from_utf8_lossy(&value.to_text(column).unwrap_or_default()).into_owned(),
    }
}

fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' => out.push_str("\\'"),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}
