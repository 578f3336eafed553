//! Values from the texts of DEFAULT clauses.

use std::borrow::Cow;

use bytes::Bytes;

use super::convert::number_of_names;
use crate::codec::{CodecError, Duration, JsonBinary, PackedTime, TimeKind, decode_decimal, encode_decimal};
use crate::{ColumnType, Value, tp};

/// The value of a default's text; BIT: of its big-endian bytes.
pub(crate) fn value_of_text(raw: &[u8], ty: &ColumnType) -> Result<Value, CodecError> {
    if ty.is_string() || ty.tp == tp::GEOMETRY {
        let mut bytes = raw.to_vec();
        if ty.tp == tp::STRING && ty.is_bytes() {
            // BINARY is as long as it says.
            bytes.resize(bytes.len().max(usize::try_from(ty.flen).unwrap_or(0).min(255)), 0);
        }
        let bytes = Bytes::from(bytes);
        return Ok(if ty.is_text() { Value::Text(bytes) } else { Value::Bytes(bytes) });
    }
    if ty.tp == tp::BIT {
        return number_of_names(raw.iter().fold(0, |v, b| v << 8 | u64::from(*b)), ty);
    }
    let bad = || {
        CodecError::invalid(format!(
            "default {:?} does not fit type {:#04x}",
            String::from_utf8_lossy(raw),
            ty.tp
        ))
    };
    let text = std::str::from_utf8(raw).map_err(|_| bad())?;
    Ok(match ty.tp {
        tp::TINY | tp::SHORT | tp::INT24 | tp::LONG | tp::LONGLONG if ty.is_unsigned() => {
            Value::UInt(text.parse().map_err(|_| bad())?)
        }
        tp::TINY | tp::SHORT | tp::INT24 | tp::LONG | tp::LONGLONG => {
            Value::Int(text.parse().map_err(|_| bad())?)
        }
        tp::YEAR => Value::Year(year_of_text(text).ok_or_else(bad)?),
        tp::FLOAT => Value::Float(text.parse().map_err(|_| bad())?),
        tp::DOUBLE => Value::Double(text.parse().map_err(|_| bad())?),
        tp::NEW_DECIMAL => {
            let part = |n: i64| u8::try_from(n).map_err(|_| bad());
            let (precision, scale) = (part(ty.flen)?, part(ty.decimal)?);
            let rounded = round_decimal(text, usize::from(scale)).ok_or_else(bad)?;
            Value::Decimal(decode_decimal(precision, scale, &encode_decimal(&rounded, precision, scale)?)?)
        }
        tp::DATE | tp::NEW_DATE | tp::DATETIME | tp::TIMESTAMP => {
            let kind = match ty.tp {
                tp::TIMESTAMP => TimeKind::Timestamp,
                tp::DATETIME => TimeKind::DateTime,
                _ => TimeKind::Date,
            };
            Value::Time { kind, packed: PackedTime::parse(text)?.pack(), fsp: ty.fsp() }
        }
        tp::DURATION => Value::Duration { nanos: Duration::parse(text)?.nanos, fsp: ty.fsp() },
        tp::ENUM => {
            let index = name_of(ty, text).ok_or_else(bad)?;
            Value::Enum(index as u64 + 1)
        }
        tp::SET => {
            let mut mask = 0;
            for name in text.split(',').filter(|n| !n.is_empty()) {
                mask |= 1 << name_of(ty, name).ok_or_else(bad)?;
            }
            Value::Set(mask)
        }
        tp::JSON => {
            let json: serde_json::Value = serde_json::from_str(text).map_err(|_| bad())?;
            Value::Json(JsonBinary::try_from(&json)?)
        }
        _ => return Err(bad()),
    })
}

/// The place of a name of an ENUM or SET: as it is written, else as most collations see it.
pub(super) fn name_of(ty: &ColumnType, name: &str) -> Option<usize> {
    let exact = ty.elems.iter().position(|e| e == name);
    exact.or_else(|| ty.elems.iter().position(|e| e.eq_ignore_ascii_case(name)))
}

/// A year as TiDB reads it: of two digits it is in 1970 to 2069, and only `0000` is the year 0.
pub(super) fn year_of_text(text: &str) -> Option<i64> {
    let rounded = plain_decimal(text)?;
    let rounded = round_decimal(&rounded, 0)?;
    let year: i64 = rounded.strip_suffix('.').unwrap_or(&rounded).parse().ok()?;
    Some(match year {
        0 if text.len() == 4 || !text.starts_with('0') => 0,
        0..=69 => year + 2000,
        70..=99 => year + 1900,
        _ => year,
    })
}

/// A number without exponent, plus sign and needless zeros in front; `None`: it is no number.
pub(super) fn plain_decimal(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, exponent.parse::<i32>().ok().filter(|e| (-400..=400).contains(e))?)
        }
        None => (text, 0),
    };
    let (sign, unsigned) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Where the point stands, counted from the first digit.
    let mut point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    if point < 0 {
        digits.insert_str(0, &"0".repeat(point.unsigned_abs() as usize));
        point = 0;
    }
    let point = point as usize;
    let digits = format!("{digits:0<point$}");
    let (whole, fraction) = digits.split_at_checked(point)?;
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// A decimal with no more digits behind the point than `scale`, rounded half away from zero, as TiDB does when it stores one.
pub(super) fn round_decimal(text: &str, scale: usize) -> Option<Cow<'_, str>> {
    let Some((whole, fraction)) = text.split_once('.') else { return Some(text.into()) };
    let Some(next) = fraction.as_bytes().get(scale) else { return Some(text.into()) };
    let (sign, whole) = match whole.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", whole),
    };
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes().take(scale)).collect();
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if *next >= b'5' {
        let nines = digits.iter().rev().take_while(|d| **d == b'9').count();
        let at = digits.len() - nines;
        digits.iter_mut().skip(at).for_each(|d| *d = b'0');
        match at.checked_sub(1).and_then(|at| digits.get_mut(at)) {
            Some(digit) => *digit += 1,
            None => digits.insert(0, b'1'),
        }
    }
    let (whole, fraction) = digits.split_at_checked(digits.len() - scale)?;
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let whole = if whole.is_empty() { "0".to_owned() } else { part(whole) };
    Some(format!("{sign}{whole}.{}", part(fraction)).into())
}

/// What a NOT NULL column without a default holds where a row lacks it, as MySQL has it: zero or empty.
pub(crate) fn zero_value(ty: &ColumnType) -> Value {
    match ty.tp {
        tp::NEW_DECIMAL => {
            let scale = usize::try_from(ty.decimal).unwrap_or(0).min(30);
            let point = if scale > 0 { "." } else { "" };
            Value::Decimal(format!("0{point}{:0<scale$}", "").into_boxed_str())
        }
        tp::DATE | tp::NEW_DATE => Value::Time { kind: TimeKind::Date, packed: 0, fsp: 0 },
        tp::DATETIME => Value::Time { kind: TimeKind::DateTime, packed: 0, fsp: ty.fsp() },
        tp::TIMESTAMP => Value::Time { kind: TimeKind::Timestamp, packed: 0, fsp: ty.fsp() },
        tp::ENUM => Value::Enum(1),
        tp::SET => Value::Set(0),
        tp::BIT => Value::Bit(0),
        tp::YEAR => Value::Year(0),
        tp::FLOAT => Value::Float(0.0),
        tp::DOUBLE => Value::Double(0.0),
        tp::DURATION => Value::Duration { nanos: 0, fsp: ty.fsp() },
        tp::JSON => Value::Json(JsonBinary { type_code: 0x04, body: Bytes::from_static(&[0]) }),
        _ if ty.is_integer() && ty.is_unsigned() => Value::UInt(0),
        _ if ty.is_integer() => Value::Int(0),
        tp::STRING if ty.is_bytes() => {
            Value::Bytes(vec![0; usize::try_from(ty.flen).unwrap_or(0).min(255)].into())
        }
        _ if ty.is_text() => Value::Text(Bytes::new()),
        _ => Value::Bytes(Bytes::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(tp: u8, flen: i64, decimal: i64) -> ColumnType {
        ColumnType {
            tp,
            flen,
            decimal,
            charset: "binary".into(),
            elems: vec!["a".into(), "b".into()],
            ..ColumnType::default()
        }
    }

    #[test]
    fn numbers_lose_their_exponent() {
        for (text, plain) in [
            ("1e3", "1000"),
            ("-1.5E-3", "-0.0015"),
            ("+007.50", "7.50"),
            (".5", "0.5"),
            ("12.345e1", "123.45"),
            ("5.", "5"),
        ] {
            assert_eq!(plain_decimal(text).as_deref(), Some(plain), "{text}");
        }
        for bad in ["", "-", ".", "1e", "e5", "x", "1e9999999999", "1 2"] {
            assert_eq!(plain_decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn years_of_two_digits_are_of_this_time() {
        let years = [("24", 2024), ("70", 1970), ("0", 2000), ("00", 2000), ("0000", 0), ("1999", 1999)];
        for (text, year) in years {
            assert_eq!(year_of_text(text), Some(year), "{text}");
        }
    }

    #[test]
    fn defaults_are_read_by_type() {
        for (raw, ty, value) in [
            (&b"-5"[..], ty(tp::LONG, 11, 0), Value::Int(-5)),
            (b"1.5", ty(tp::NEW_DECIMAL, 5, 2), Value::Decimal("1.50".into())),
            (b"-9.995", ty(tp::NEW_DECIMAL, 5, 2), Value::Decimal("-10.00".into())),
            (b".4", ty(tp::NEW_DECIMAL, 5, 0), Value::Decimal("0".into())),
            (b"A", ColumnType { elems: vec!["a".into(), "A".into()], ..ty(tp::ENUM, 1, 0) }, Value::Enum(2)),
            (b"b", ty(tp::ENUM, 1, 0), Value::Enum(2)),
            (b"ab", ty(tp::STRING, 4, 0), Value::Bytes(Bytes::from_static(b"ab\0\0"))),
            (b"b,a", ty(tp::SET, 1, 0), Value::Set(3)),
            (b"\x01\x02", ty(tp::BIT, 10, 0), Value::Bit(258)),
            (b"-01:00:00", ty(tp::DURATION, 10, 0), Value::Duration { nanos: -3_600_000_000_000, fsp: 0 }),
            (
                b"x",
                ColumnType { charset: "utf8mb4".into(), ..ty(tp::VARCHAR, 10, 0) },
                Value::Text(Bytes::from_static(b"x")),
            ),
        ] {
            assert_eq!(value_of_text(raw, &ty).unwrap(), value);
        }
        for (raw, ty) in
            [(&b"x"[..], ty(tp::LONG, 11, 0)), (b"c", ty(tp::ENUM, 1, 0)), (b"\xff", ty(tp::DATE, 10, 0))]
        {
            assert!(value_of_text(raw, &ty).is_err());
        }
    }
}
