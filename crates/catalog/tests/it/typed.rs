//! Every value that was decoded from the capture of all types is, as a typed value, what TiDB showed: no text of ours in between.

use std::collections::BTreeMap;

use binlog_catalog::codec::{Duration, PackedTime};
use binlog_catalog::{Column, JsonBinary, TableKind, TimeKind, Value, tp};
use binlog_testkit::fixtures;

use crate::captures::marks;
use crate::replay::{Memory, replay};

/// Tables that are left out, and why.
const LEFT_OUT: [(&str, &str, &str); 1] =
    [("types_tidb", "ttlt", "TiDB's TTL worker deleted its row without a binlog: the stream still has it")];

/// The value that a text of TiDB's stands for in a column.
fn typed(raw: &[u8], column: &Column) -> Value {
    let ty = &column.ty;
    if ty.is_text() {
        return Value::Text(raw.to_vec().into());
    }
    let text = std::str::from_utf8(raw).unwrap();
    let name = |wanted: &str| ty.elems.iter().position(|e| e == wanted);
    match ty.tp {
        _ if ty.is_bytes() => Value::Bytes(unhex(text).into()),
        _ if ty.is_integer() && ty.is_unsigned() => Value::UInt(text.parse().unwrap()),
        _ if ty.is_integer() => Value::Int(text.parse().unwrap()),
        tp::YEAR => Value::Year(text.parse().unwrap()),
        tp::FLOAT => Value::Float(text.parse().unwrap()),
        tp::DOUBLE => Value::Double(text.parse().unwrap()),
        tp::NEW_DECIMAL => Value::Decimal(text.into()),
        tp::BIT => Value::Bit(text.parse().unwrap()),
        tp::DATE => time(text, TimeKind::Date, column),
        tp::DATETIME => time(text, TimeKind::DateTime, column),
        tp::TIMESTAMP => time(text, TimeKind::Timestamp, column),
        tp::DURATION => {
            assert_eq!(fraction(text), ty.fsp(), "{text} in {}", column.name);
            Value::Duration { nanos: Duration::parse(text).unwrap().nanos, fsp: ty.fsp() }
        }
        // The empty name of a value that was none is number 0.
        tp::ENUM => Value::Enum(name(text).map_or(0, |at| at as u64 + 1)),
        tp::SET => Value::Set(
            text.split(',').filter(|n| !n.is_empty()).map(|n| 1 << name(n).unwrap()).fold(0, |a, b| a | b),
        ),
        tp::JSON => {
            let json: serde_json::Value = serde_json::from_str(text).unwrap();
            Value::Json(JsonBinary::try_from(&json).unwrap())
        }
        other => panic!("{}: type {other}", column.name),
    }
}

fn time(text: &str, kind: TimeKind, column: &Column) -> Value {
    assert_eq!(fraction(text), column.ty.fsp(), "{text} in {}", column.name);
    Value::Time { kind, packed: PackedTime::parse(text).unwrap().pack(), fsp: column.ty.fsp() }
}

fn fraction(text: &str) -> u8 {
    text.split_once('.').map_or(0, |(_, digits)| digits.len() as u8)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("0x").unwrap();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// What text cannot say is the same on both sides: TiDB shows six digits of a FLOAT; an ENUM's name may be as empty as its value that is
/// none; and of JSON, a whole DOUBLE is shown as an integer, and times and opaque values as strings.
fn comparable(value: Value, column: &Column) -> Value {
    match value {
        Value::Enum(0) => {
            Value::Enum(column.ty.elems.iter().position(String::is_empty).map_or(0, |at| at as u64 + 1))
        }
        Value::Float(v) => Value::Float(format!("{v:.5e}").parse().unwrap()),
        Value::Json(json) => {
            let shown: serde_json::Value = serde_json::from_str(&json.text().unwrap()).unwrap();
            Value::Json(JsonBinary::try_from(&shown).unwrap())
        }
        other => other,
    }
}

/// Rows carry it: it is no virtual column, and readers see it.
fn carried(column: &Column) -> bool {
    column.is_visible() && (!column.is_generated() || column.generated_stored)
}

/// Compares all tables; tells how many values there were of each type.
fn check(mark: &str, memory: &Memory, counts: &mut BTreeMap<u8, usize>) {
    let truth = fixtures::truth("types", mark).unwrap();
    let mut left = truth.tables;
    for (table, rows) in memory.tables().filter(|(t, _)| t.table.kind == TableKind::Table) {
        let key = (table.schema.to_string(), table.table.name.clone());
        let Some(truth) = left.remove(&key) else {
            assert!(["mysql", "sys"].contains(&key.0.as_str()), "{mark}: {key:?} is not in the truth");
            continue;
        };
        if LEFT_OUT.iter().any(|(schema, name, _)| (*schema, *name) == (&key.0, &key.1)) {
            continue;
        }
        let columns: Vec<&Column> = table.table.columns.iter().filter(|c| carried(c)).collect();
        let sorted = |mut rows: Vec<String>| {
            rows.sort();
            rows
        };
        let decoded = rows.iter().filter(|row| !row.is_empty()).map(|row| {
            let value = |c: &&Column| {
                comparable(row[c.offset].clone().unwrap_or_else(|| panic!("{key:?}: no {}", c.name)), c)
            };
            format!("{:?}", columns.iter().map(value).collect::<Vec<_>>())
        });
        let decoded = sorted(decoded.collect());
        let shown = truth.rows.iter().map(|row| {
            let value = |c: &&Column| {
                let at = truth.columns.iter().position(|name| name == &c.name).expect("the truth has it");
                *counts.entry(c.ty.tp).or_default() += 1;
                row[at].as_ref().map_or(Value::Null, |raw| comparable(typed(raw, c), c))
            };
            format!("{:?}", columns.iter().map(value).collect::<Vec<_>>())
        });
        let shown: Vec<String> = sorted(shown.collect());
        for (decoded, shown) in decoded.iter().zip(&shown) {
            assert_eq!(decoded, shown, "{mark}: {key:?}");
        }
        assert_eq!(decoded.len(), shown.len(), "{mark}: rows of {key:?}");
    }
    assert!(left.is_empty(), "{mark}: tables that were not decoded: {:?}", left.keys());
}

#[test]
fn every_value_of_every_type() {
    let mut counts = BTreeMap::new();
    replay("types", &marks("types"), |mark, memory| check(mark, memory, &mut counts));
    println!("values compared, by type: {counts:?}");
    let all = [
        tp::TINY,
        tp::SHORT,
        tp::INT24,
        tp::LONG,
        tp::LONGLONG,
        tp::FLOAT,
        tp::DOUBLE,
        tp::NEW_DECIMAL,
        tp::YEAR,
        tp::DATE,
        tp::DATETIME,
        tp::TIMESTAMP,
        tp::DURATION,
        tp::VARCHAR,
        tp::STRING,
        tp::BLOB,
        tp::BIT,
        tp::ENUM,
        tp::SET,
        tp::JSON,
    ];
    let missing: Vec<u8> = all.into_iter().filter(|tp| !counts.contains_key(tp)).collect();
    assert!(missing.is_empty(), "types without a value: {missing:?}");
}
