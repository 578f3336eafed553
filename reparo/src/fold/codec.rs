//! Values as bytes: for keys, and for rows that do not fit into memory.
//!
//! Private to one run of the program: nothing here is kept.

use binlog_catalog::{JsonBinary, Row, TimeKind, Value};
use bytes::{Buf, BufMut, Bytes};

/// Appends a row.
pub(super) fn put_row(out: &mut Vec<u8>, row: &Row) {
    out.put_u32(row.len() as u32);
    for value in row {
        match value {
            None => out.put_u8(0),
            Some(value) => put_value(out, value),
        }
    }
}

/// Appends a value. Equal values, and only those, have equal bytes.
pub(crate) fn put_value(out: &mut Vec<u8>, value: &Value) {
    let mut number = |tag: u8, bits: u64| {
        out.put_u8(tag);
        out.put_u64(bits);
    };
    match value {
        Value::Null => out.put_u8(1),
        Value::Int(v) => number(2, *v as u64),
        Value::UInt(v) => number(3, *v),
        Value::Year(v) => number(4, *v as u64),
        Value::Float(v) => number(5, u64::from(v.to_bits())),
        Value::Double(v) => number(6, v.to_bits()),
        Value::Decimal(text) => put_bytes(out, 7, text.as_bytes()),
        Value::Text(bytes) => put_bytes(out, 8, bytes),
        Value::Bytes(bytes) => put_bytes(out, 9, bytes),
        Value::Time { kind, packed, fsp } => {
            let kind = match kind {
                TimeKind::Date => 10,
                TimeKind::DateTime => 11,
                TimeKind::Timestamp => 12,
            };
            number(kind, *packed);
            out.put_u8(*fsp);
        }
        Value::Duration { nanos, fsp } => {
            number(13, *nanos as u64);
            out.put_u8(*fsp);
        }
        Value::Enum(v) => number(14, *v),
        Value::Set(v) => number(15, *v),
        Value::Bit(v) => number(16, *v),
        Value::Json(json) => {
            put_bytes(out, 17, &json.body);
            out.put_u8(json.type_code);
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.put_u8(tag);
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

/// Reads a row back; `None` where the bytes are none.
pub(super) fn take_row(from: &mut Bytes) -> Option<Row> {
    let count = take_u32(from)? as usize;
    // Every column has at least its tag.
    if count > from.len() {
        return None;
    }
    (0..count).map(|_| take_value(from)).collect()
}

fn take_value(from: &mut Bytes) -> Option<Option<Value>> {
    let tag = take_u8(from)?;
    let time = |kind: TimeKind, from: &mut Bytes| {
        Some(Value::Time { kind, packed: take_u64(from)?, fsp: take_u8(from)? })
    };
    Some(Some(match tag {
        0 => return Some(None),
        1 => Value::Null,
        2 => Value::Int(take_u64(from)? as i64),
        3 => Value::UInt(take_u64(from)?),
        4 => Value::Year(take_u64(from)? as i64),
        5 => Value::Float(f32::from_bits(take_u64(from)? as u32)),
        6 => Value::Double(f64::from_bits(take_u64(from)?)),
        7 => Value::Decimal(String::from_utf8(take_bytes(from)?.to_vec()).ok()?.into_boxed_str()),
        8 => Value::Text(take_bytes(from)?),
        9 => Value::Bytes(take_bytes(from)?),
        10 => time(TimeKind::Date, from)?,
        11 => time(TimeKind::DateTime, from)?,
        12 => time(TimeKind::Timestamp, from)?,
        13 => Value::Duration { nanos: take_u64(from)? as i64, fsp: take_u8(from)? },
        14 => Value::Enum(take_u64(from)?),
        15 => Value::Set(take_u64(from)?),
        16 => Value::Bit(take_u64(from)?),
        17 => {
            let body = take_bytes(from)?;
            Value::Json(JsonBinary { type_code: take_u8(from)?, body })
        }
        _ => return None,
    }))
}

pub(super) fn take_u8(from: &mut Bytes) -> Option<u8> {
    from.try_get_u8().ok()
}

pub(super) fn take_u32(from: &mut Bytes) -> Option<u32> {
    from.try_get_u32().ok()
}

pub(super) fn take_u64(from: &mut Bytes) -> Option<u64> {
    from.try_get_u64().ok()
}

pub(super) fn take_bytes(from: &mut Bytes) -> Option<Bytes> {
    let len = take_u32(from)? as usize;
    (len <= from.len()).then(|| from.split_to(len))
}

/// What a row holds in memory, about.
pub(super) fn row_size(row: &Row) -> usize {
    let heap = |value: &Option<Value>| match value {
        Some(Value::Text(bytes) | Value::Bytes(bytes)) => bytes.len(),
        Some(Value::Decimal(text)) => text.len(),
        Some(Value::Json(json)) => json.body.len(),
        _ => 0,
    };
    row.len() * size_of::<Option<Value>>() + row.iter().map(heap).sum::<usize>()
}

/// A copy that holds no more than itself: values are slices of the batch that they came in.
pub(super) fn compact(row: &Row) -> Row {
    let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    let compact = |value: &Value| match value {
        Value::Text(bytes) => Value::Text(own(bytes)),
        Value::Bytes(bytes) => Value::Bytes(own(bytes)),
        Value::Json(json) => Value::Json(JsonBinary { type_code: json.type_code, body: own(&json.body) }),
        other => other.clone(),
    };
    row.iter().map(|value| value.as_ref().map(compact)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Option<Value>> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        prop_oneof![
            Just(None),
            Just(Some(Value::Null)),
            any::<i64>().prop_map(|v| Some(Value::Int(v))),
            any::<u64>().prop_map(|v| Some(Value::UInt(v))),
            any::<f32>().prop_filter("NaN", |v| !v.is_nan()).prop_map(|v| Some(Value::Float(v))),
            any::<f64>().prop_filter("NaN", |v| !v.is_nan()).prop_map(|v| Some(Value::Double(v))),
            "[0-9]{1,20}".prop_map(|v| Some(Value::Decimal(v.into_boxed_str()))),
            bytes.clone().prop_map(|v| Some(Value::Text(v))),
            bytes.clone().prop_map(|v| Some(Value::Bytes(v))),
            (any::<u64>(), 0u8..7).prop_map(|(packed, fsp)| Some(Value::Time {
                kind: TimeKind::Timestamp,
                packed,
                fsp
            })),
            (any::<i64>(), 0u8..7).prop_map(|(nanos, fsp)| Some(Value::Duration { nanos, fsp })),
            bytes.prop_map(|body| Some(Value::Json(JsonBinary { type_code: 12, body }))),
        ]
    }

    proptest! {
        #[test]
        fn rows_come_back(row in proptest::collection::vec(value(), 0..10)) {
            let mut out = Vec::new();
            put_row(&mut out, &row);
            let mut bytes = Bytes::from(out);
            prop_assert_eq!(take_row(&mut bytes), Some(compact(&row)));
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = take_row(&mut Bytes::from(bytes));
        }
    }
}
