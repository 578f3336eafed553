//! Random values.

use binlog_catalog::codec::PackedTime;
use binlog_catalog::{Column, ColumnType, Row, Table, TimeKind, Value, tp};
use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

const TEXTS: [&str; 12] = [
    "",
    "rent",
    "Rent",
    "it's \"urgent\"",
    "line one\nline two",
    "back\\slash",
    "押金",
    "🎁",
    "tab\there",
    "naïve",
    "trailing ",
    "nul\0byte",
];

pub(super) fn random_type(rng: &mut SmallRng) -> ColumnType {
    let ty = match rng.random_range(0..10) {
        0 => ColumnType::int(),
        1 => ColumnType::bigint().unsigned(),
        2 => ColumnType::decimal(12, 2),
        3 => ColumnType::datetime(3),
        4 => ColumnType::timestamp(6),
        5 => ColumnType::double(),
        6 => ColumnType::enumeration(["red", "green", "it's"]),
        7 => ColumnType::text(),
        8 => ColumnType { collate: "utf8mb4_general_ci".to_owned(), ..ColumnType::varchar(40) },
        _ => ColumnType::varchar(40),
    };
    if rng.random_bool(0.3) { ty.not_null() } else { ty }
}

/// Another type for a column, in which each of its values has a place.
pub(super) fn another_type(rng: &mut SmallRng, ty: &ColumnType) -> Option<ColumnType> {
    let choices = match ty.tp {
        tp::LONG => vec![ColumnType::decimal(14, 2), ColumnType::double(), ColumnType::varchar(40)],
        tp::LONGLONG if ty.is_unsigned() => vec![ColumnType::decimal(24, 2), ColumnType::varchar(40)],
        tp::NEW_DECIMAL if ty.decimal == 2 => vec![ColumnType::decimal(20, 4), ColumnType::varchar(40)],
        tp::DATETIME if ty.fsp() == 3 => vec![ColumnType::datetime(6), ColumnType::varchar(40)],
        tp::TIMESTAMP => vec![ColumnType::datetime(6)],
        tp::ENUM => vec![ColumnType::varchar(40)],
        _ => return None,
    };
    let chosen = choices.choose(rng)?.clone();
    Some(if ty.is_not_null() { chosen.not_null() } else { chosen })
}

/// A row of which only `handle` is given.
pub(super) fn random_row(rng: &mut SmallRng, table: &Table, handle: i64) -> Row {
    let value = |column: &Column| {
        if table.pk_is_handle && column.ty.flag & binlog_catalog::flag::PRI_KEY != 0 {
            return Some(Value::Int(handle));
        }
        Some(random_value(rng, table, column))
    };
    table.columns.iter().map(value).collect()
}

/// A value for a column. Those of unique columns are of ASCII letters, whose order in collations is plain.
pub(super) fn random_value(rng: &mut SmallRng, table: &Table, column: &Column) -> Value {
    if !column.ty.is_not_null() && rng.random_bool(0.15) {
        return Value::Null;
    }
    let in_index =
        table.indexes.iter().any(|index| index.columns.iter().any(|part| part.offset == column.offset));
    // Small ranges, so that values meet again.
    match column.ty.tp {
        tp::LONG | tp::LONGLONG if column.ty.is_unsigned() => {
            Value::UInt(if rng.random_bool(0.1) { u64::MAX } else { rng.random_range(0..400) })
        }
        tp::LONG | tp::LONGLONG => Value::Int(rng.random_range(-400..400)),
        tp::NEW_DECIMAL => {
            let cents: i64 = rng.random_range(-1_000_000..1_000_000);
            let sign = if cents < 0 { "-" } else { "" };
            let zeros = usize::try_from(column.ty.decimal).unwrap_or(2).saturating_sub(2);
            Value::Decimal(
                format!("{sign}{}.{:02}{:0<zeros$}", cents.abs() / 100, cents.abs() % 100, "").into(),
            )
        }
        tp::DOUBLE => Value::Double(f64::from(rng.random_range(-4000..4000)) / 8.0),
        tp::DATETIME => time(rng, TimeKind::DateTime, column.ty.fsp()),
        tp::TIMESTAMP => time(rng, TimeKind::Timestamp, 6),
        tp::ENUM => Value::Enum(rng.random_range(1..=column.ty.elems.len() as u64)),
        _ if in_index => {
            let letters: String = (0..rng.random_range(1..3)).map(|_| letter(rng)).collect();
            Value::Text(letters.into())
        }
        _ => Value::Text(TEXTS.choose(rng).copied().unwrap_or_default().into()),
    }
}

fn letter(rng: &mut SmallRng) -> char {
    let base = if rng.random_bool(0.5) { b'a' } else { b'A' };
    char::from(base + rng.random_range(0..26u8))
}

fn time(rng: &mut SmallRng, kind: TimeKind, fsp: u8) -> Value {
    // The hours in which clocks are put forward or back are among them.
    let micros = if fsp == 6 { rng.random_range(0..1_000_000) } else { rng.random_range(0..1000) * 1000 };
    let packed = PackedTime {
        year: rng.random_range(1975..2036),
        month: *[1, 3, 4, 10, 11].choose(rng).unwrap_or(&1),
        day: rng.random_range(1..=30),
        hour: rng.random_range(0..24),
        minute: rng.random_range(0..60),
        second: rng.random_range(0..60),
        micros,
    };
    Value::Time { kind, packed: packed.pack(), fsp }
}
