//! The original reparo's text of a stream: one line a DDL, one a row and one a column.
//!
//! Values look as the original shows them: TEXT and BLOB as the list of their bytes, ENUM and SET as numbers, everything else as text. TIMESTAMP
//! is in UTC. Columns that a row does not bind (generated, hidden) have no line.

use std::io::{self, Write};

use binlog_catalog::{ChangeKind, Column, Ddl, Event, Row, RowChange, Value, tp};

/// TiDB's job type of CREATE DATABASE: the one DDL that has no database to be in.
const CREATE_SCHEMA: u8 = 1;

/// Writes an event as the original prints it.
///
/// # Errors
/// Those of `out`.
pub fn write_event(out: &mut dyn Write, event: &Event) -> io::Result<()> {
    match event {
        // The original knows none of these.
        Event::Ddl(ddl) if ddl.ahead => Ok(()),
        Event::Ddl(ddl) => write_ddl(out, ddl),
        Event::Transaction(txn) => txn.changes.iter().try_for_each(|change| write_change(out, change)),
    }
}

fn write_ddl(out: &mut dyn Write, ddl: &Ddl) -> io::Result<()> {
    // The text as the original's drainer writes it into its files.
    if ddl.schema.is_empty() {
        writeln!(out, "DDL query: {}", ddl.query)
    } else if ddl.job_type == CREATE_SCHEMA {
        writeln!(out, "DDL query: {};", ddl.query)
    } else {
        writeln!(out, "DDL query: use `{}`; {};", ddl.schema.replace('`', "``"), ddl.query)
    }
}

fn write_change(out: &mut dyn Write, change: &RowChange) -> io::Result<()> {
    let table = &change.table.table;
    let kind = match &change.kind {
        ChangeKind::Insert(_) => "Insert",
        ChangeKind::Update { .. } => "Update",
        ChangeKind::Delete(_) => "Delete",
    };
    writeln!(out, "schema: {}; table: {}; type: {kind}", change.table.schema, table.name)?;
    let (row, after): (&Row, Option<&Row>) = match &change.kind {
        ChangeKind::Insert(row) | ChangeKind::Delete(row) => (row, None),
        ChangeKind::Update { before, after } => (before, Some(after)),
    };
    for (at, (column, value)) in table.columns.iter().zip(row).enumerate() {
        let Some(value) = value else { continue };
        write!(out, "{}({}): ", column.name, type_name(column))?;
        write_value(out, column, value)?;
        if let Some(after) = after.and_then(|row| row.get(at)) {
            out.write_all(b" => ")?;
            write_value(out, column, after.as_ref().unwrap_or(&Value::Null))?;
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn write_value(out: &mut dyn Write, column: &Column, value: &Value) -> io::Result<()> {
    match value {
        Value::Null => out.write_all(b"<nil>"),
        Value::Enum(number) | Value::Set(number) | Value::Bit(number) => write!(out, "{number}"),
        Value::Float(number) => out.write_all(go_float(f64::from(*number)).as_bytes()),
        Value::Double(number) => out.write_all(go_float(*number).as_bytes()),
        Value::Int(number) | Value::Year(number) => write!(out, "{number}"),
        // Also a default that stands as text in a column of numbers.
        Value::Text(bytes) | Value::Bytes(bytes) if !is_shown_as_text(column.ty.tp) => {
            out.write_all(b"[")?;
            for (at, byte) in bytes.iter().enumerate() {
                if at > 0 {
                    out.write_all(b" ")?;
                }
                write!(out, "{byte}")?;
            }
            out.write_all(b"]")
        }
        Value::Text(bytes) | Value::Bytes(bytes) => out.write_all(bytes),
        other => out.write_all(&other.to_text(column).unwrap_or_default()),
    }
}

/// The types whose values the original shows as text; TEXT and BLOB are not among them.
fn is_shown_as_text(tp: u8) -> bool {
    matches!(
        tp,
        tp::NEW_DECIMAL
            | tp::DATE
            | tp::NEW_DATE
            | tp::DATETIME
            | tp::TIMESTAMP
            | tp::DURATION
            | tp::JSON
            | tp::VARCHAR
            | tp::VAR_STRING
            | tp::STRING
    )
}

/// A float as Go's `%v` shows it: the shortest text that reads back, with an exponent below 1e-4 and from 1e6 on.
fn go_float(number: f64) -> String {
    if !number.is_finite() {
        return match number {
            n if n.is_nan() => "NaN",
            n if n > 0.0 => "+Inf",
            _ => "-Inf",
        }
        .to_owned();
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e6).contains(&magnitude) {
        let text = format!("{number:e}");
        let Some((mantissa, exponent)) = text.split_once('e') else { return text };
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{number}")
}

/// MySQL's name of a column's type as TiDB writes it into the files: the charset `binary` makes blobs of texts.
pub(crate) fn type_name(column: &Column) -> &'static str {
    let binary = column.ty.charset == "binary";
    let either = |text, blob| if binary { blob } else { text };
    match column.ty.tp {
        tp::TINY => "tinyint",
        tp::SHORT => "smallint",
        tp::INT24 => "mediumint",
        tp::LONG => "int",
        tp::LONGLONG => "bigint",
        tp::FLOAT => "float",
        tp::DOUBLE => "double",
        tp::NULL => "null",
        tp::TIMESTAMP => "timestamp",
        tp::DATE => "date",
        tp::DURATION => "time",
        tp::DATETIME => "datetime",
        tp::YEAR => "year",
        tp::VARCHAR => either("varchar", "varbinary"),
        tp::BIT => "bit",
        tp::JSON => "json",
        tp::NEW_DECIMAL => "decimal",
        tp::ENUM => "enum",
        tp::SET => "set",
        tp::TINY_BLOB => either("tinytext", "tinyblob"),
        tp::MEDIUM_BLOB => either("mediumtext", "mediumblob"),
        tp::LONG_BLOB => either("longtext", "longblob"),
        tp::BLOB => either("text", "blob"),
        tp::VAR_STRING => "var_string",
        tp::STRING => either("char", "binary"),
        tp::GEOMETRY => "geometry",
        _ => "",
    }
}

#[cfg(test)]
#[path = "print_tests.rs"]
mod tests;
