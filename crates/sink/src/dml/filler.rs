//! Values for unique keys of which a row says nothing.
//!
//! While TiDB drops a column, there is a moment at which it writes rows without it and no longer looks after its indexes; the target has both
//! still. Two such rows must not take one another's place there, and the same row must get the same value when it comes again.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use binlog_catalog::codec::PackedTime;
use binlog_catalog::{Column, Row, TimeKind, Value, tp};

use crate::layout::Layout;
use crate::position::Progress;

/// Seconds that TIMESTAMPs reach.
const STAMPS: u64 = 1 << 31;
/// Seconds that TIMEs reach.
const HOURS: u64 = 839 * 3600 - 1;

/// `row` with a value in every NOT NULL column of a unique key that it leaves unbound. It is made of the row's place in the stream.
pub(crate) fn filled(layout: &Layout, row: &Row, at: Progress) -> Row {
    let mut filled = row.clone();
    for place in layout.unbound_keys(row) {
        let mut hash = DefaultHasher::new();
        (at.at, at.sequence, place).hash(&mut hash);
        if let (Some(slot), Some(column)) = (filled.get_mut(place), layout.table.table.columns.get(place)) {
            *slot = Some(value(column, hash.finish()));
        }
    }
    filled
}

fn value(column: &Column, seed: u64) -> Value {
    let ty = &column.ty;
    let bits = match ty.tp {
        tp::TINY => 8,
        tp::SHORT => 16,
        tp::INT24 => 24,
        tp::LONG => 32,
        _ => 64,
    };
    let length = usize::try_from(ty.flen).unwrap_or(16).min(16);
    let digits = format!("{seed:016x}");
    let digits = digits.get(..length).unwrap_or(&digits);
    let time = |kind, seconds: u64| {
        let time = PackedTime::of_seconds(seconds as i64, 0).unwrap_or_default();
        Value::Time { kind, packed: time.pack(), fsp: ty.fsp() }
    };
    match ty.tp {
        _ if ty.is_integer() && ty.is_unsigned() => Value::UInt(seed >> (64 - bits)),
        _ if ty.is_integer() => Value::Int(seed as i64 >> (64 - bits)),
        _ if ty.is_text() => Value::Text(digits.to_owned().into()),
        _ if ty.is_bytes() => Value::Bytes(digits.to_owned().into()),
        tp::DOUBLE => Value::Double((seed >> 12) as f64),
        tp::FLOAT => Value::Float((seed >> 41) as f32),
        tp::NEW_DECIMAL => {
            let whole = u32::try_from(ty.flen - ty.decimal).unwrap_or(0).min(18);
            let number = (seed % 10u64.pow(whole)).to_string();
            column.value_of(number.as_bytes()).unwrap_or_else(|_| column.zero())
        }
        tp::DATE | tp::NEW_DATE => time(TimeKind::Date, seed % STAMPS / 86_400 * 86_400),
        tp::DATETIME => time(TimeKind::DateTime, seed % STAMPS),
        tp::TIMESTAMP => time(TimeKind::Timestamp, seed % (STAMPS - 2) + 1),
        tp::DURATION => Value::Duration { nanos: (seed % HOURS) as i64 * 1_000_000_000, fsp: ty.fsp() },
        _ => column.zero(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use binlog_catalog::{ColumnType, TableBuilder, TableRef};
    use binlog_types::{SchemaVersion, TableId};

    use super::*;

    #[test]
    fn places_in_the_stream_make_different_values() {
        let types = [
            ColumnType::bigint(),
            ColumnType::int().unsigned(),
            ColumnType::varchar(20),
            ColumnType::varbinary(20),
            ColumnType::decimal(20, 2),
            ColumnType::double(),
            ColumnType::datetime(3),
            ColumnType::timestamp(0),
        ];
        for ty in types {
            let table = TableBuilder::new(TableId(1), "t", SchemaVersion(1))
                .column("id", ColumnType::int())
                .column("c", ty.not_null())
                .unique("u", &["c"])
                .build();
            let layout = Layout::new(&TableRef { schema: "d".into(), table: Arc::new(table) });
            let at = |sequence| Progress { sequence, ..Progress::default() };
            let row = vec![Some(Value::Int(1)), None];
            let one = filled(&layout, &row, at(1));
            assert_eq!(one, filled(&layout, &row, at(1)));
            assert_ne!(one, filled(&layout, &row, at(2)));
            assert!(one[1].is_some() && layout.unbound_keys(&one).next().is_none());
        }
    }
}
