//! Between datums and typed values, by the column's type.

use bytes::Bytes;

use crate::codec::{CodecError, Datum, PackedTime, TimeKind, decode_decimal, encode_decimal};
use crate::{ColumnType, Value, tp};

/// The value that a datum is in a column of type `ty`.
pub(crate) fn value_of(datum: Datum, ty: &ColumnType) -> Result<Value, CodecError> {
    if matches!(datum, Datum::Null) {
        return Ok(Value::Null);
    }
    Ok(match ty.tp {
        tp::TINY | tp::SHORT | tp::INT24 | tp::LONG | tp::LONGLONG => match (datum, ty.is_unsigned()) {
            // An unsigned handle travels as a signed number.
            (Datum::Int(v), true) => Value::UInt(v as u64),
            (Datum::UInt(v), true) => Value::UInt(v),
            (Datum::Int(v), false) => Value::Int(v),
            (Datum::UInt(v), false) => Value::Int(v as i64),
            (other, _) => return Err(mismatch(&other, ty)),
        },
        tp::YEAR => match datum {
            Datum::Int(v) => Value::Year(v),
            Datum::UInt(v) => Value::Year(v as i64),
            other => return Err(mismatch(&other, ty)),
        },
        tp::FLOAT | tp::DOUBLE => match datum {
            Datum::Float(v) if ty.tp == tp::FLOAT => Value::Float(v as f32),
            Datum::Float(v) => Value::Double(v),
            other => return Err(mismatch(&other, ty)),
        },
        tp::NEW_DECIMAL => match datum {
            Datum::Decimal { precision, scale, digits } => {
                Value::Decimal(with_scale(decode_decimal(precision, scale, &digits)?, ty))
            }
            other => return Err(mismatch(&other, ty)),
        },
        tp::DATE | tp::NEW_DATE | tp::DATETIME | tp::TIMESTAMP => match datum {
            Datum::UInt(packed) => time(packed, ty)?,
            Datum::Int(packed) => time(packed as u64, ty)?,
            other => return Err(mismatch(&other, ty)),
        },
        tp::DURATION => match datum {
            Datum::Int(nanos) | Datum::Duration(nanos) => Value::Duration { nanos, fsp: ty.fsp() },
            other => return Err(mismatch(&other, ty)),
        },
        tp::ENUM | tp::SET | tp::BIT => match datum {
            Datum::UInt(v) => number_of_names(v, ty)?,
            Datum::Int(v) => number_of_names(v as u64, ty)?,
            other => return Err(mismatch(&other, ty)),
        },
        tp::JSON => match datum {
            Datum::Json(json) => {
                json.validate()?;
                Value::Json(json)
            }
            other => return Err(mismatch(&other, ty)),
        },
        tp::VECTOR_FLOAT32 => match datum {
            Datum::Vector(bytes) => vector_text(&bytes),
            other => return Err(mismatch(&other, ty)),
        },
        _ => match datum {
            Datum::Bytes(bytes) if ty.is_text() => Value::Text(bytes),
            Datum::Bytes(bytes) => Value::Bytes(bytes),
            other => return Err(mismatch(&other, ty)),
        },
    })
}

fn mismatch(datum: &Datum, ty: &ColumnType) -> CodecError {
    let kind = match datum {
        Datum::Null => "NULL",
        Datum::Int(_) => "a signed number",
        Datum::UInt(_) => "an unsigned number",
        Datum::Float(_) => "a float",
        Datum::Decimal { .. } => "a decimal",
        Datum::Duration(_) => "a duration",
        Datum::Bytes(_) => "bytes",
        Datum::Json(_) => "JSON",
        Datum::Vector(_) => "a vector",
    };
    CodecError::invalid(format!("the row holds {kind}, which does not fit type {:#04x}", ty.tp))
}

/// A decimal of a narrower column, shown with the scale of this one.
fn with_scale(text: Box<str>, ty: &ColumnType) -> Box<str> {
    let scale = usize::try_from(ty.decimal).unwrap_or(0).min(30);
    let have = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    if have >= scale {
        return text;
    }
    let point = if have == 0 { "." } else { "" };
    format!("{text}{point}{:0<width$}", "", width = scale - have).into_boxed_str()
}

pub(crate) fn time(packed: u64, ty: &ColumnType) -> Result<Value, CodecError> {
    PackedTime::unpack(packed)?;
    let kind = match ty.tp {
        tp::TIMESTAMP => TimeKind::Timestamp,
        tp::DATETIME => TimeKind::DateTime,
        _ => TimeKind::Date,
    };
    Ok(Value::Time { kind, packed, fsp: ty.fsp() })
}

/// ENUM, SET and BIT are stored as numbers; those that no name or bit stands for are refused.
pub(crate) fn number_of_names(v: u64, ty: &ColumnType) -> Result<Value, CodecError> {
    let names = ty.elems.len();
    match ty.tp {
        tp::ENUM if v <= names as u64 => Ok(Value::Enum(v)),
        tp::ENUM => Err(CodecError::invalid(format!("value {v} of an ENUM with {names} names"))),
        tp::SET if names >= 64 || v >> names == 0 => Ok(Value::Set(v)),
        tp::SET => Err(CodecError::invalid(format!("value {v:#x} of a SET with {names} names"))),
        _ => {
            let bits = ty.flen.clamp(1, 64);
            if bits < 64 && v >> bits != 0 {
                return Err(CodecError::invalid(format!("value {v:#x} of a BIT({bits})")));
            }
            Ok(Value::Bit(v))
        }
    }
}

/// A vector as TiDB shows it: `[1,2.5]`.
pub(crate) fn vector_text(bytes: &[u8]) -> Value {
    let floats = bytes.get(4..).unwrap_or(&[]).chunks_exact(4).map(|c| {
        let bits = c.iter().rev().fold(0u32, |v, b| v << 8 | u32::from(*b));
        f32::from_bits(bits).to_string()
    });
    Value::Text(format!("[{}]", floats.collect::<Vec<_>>().join(",")).into())
}

/// The datum that TiDB writes for a value.
pub(crate) fn datum_of(value: &Value, ty: &ColumnType) -> Result<Datum, CodecError> {
    let fits = match value {
        Value::Null => true,
        Value::Int(_) => ty.is_integer() && !ty.is_unsigned(),
        Value::UInt(_) => ty.is_integer() && ty.is_unsigned(),
        Value::Year(_) => ty.tp == tp::YEAR,
        Value::Float(_) => ty.tp == tp::FLOAT,
        Value::Double(_) => ty.tp == tp::DOUBLE,
        Value::Decimal(_) => ty.tp == tp::NEW_DECIMAL,
        Value::Text(_) => ty.is_text(),
        Value::Bytes(_) => !ty.is_text(),
        Value::Time { .. } => matches!(ty.tp, tp::DATE | tp::NEW_DATE | tp::DATETIME | tp::TIMESTAMP),
        Value::Duration { .. } => ty.tp == tp::DURATION,
        Value::Enum(_) => ty.tp == tp::ENUM,
        Value::Set(_) => ty.tp == tp::SET,
        Value::Bit(_) => ty.tp == tp::BIT,
        Value::Json(_) => ty.tp == tp::JSON,
    };
    if !fits {
        return Err(CodecError::invalid(format!("{value:?} does not fit type {:#04x}", ty.tp)));
    }
    Ok(match value {
        Value::Null => Datum::Null,
        Value::Int(v) | Value::Year(v) => Datum::Int(*v),
        Value::UInt(v) | Value::Enum(v) | Value::Set(v) | Value::Bit(v) => Datum::UInt(*v),
        Value::Float(v) => Datum::Float(f64::from(*v)),
        Value::Double(v) => Datum::Float(*v),
        Value::Decimal(text) => {
            let part = |n: i64| {
                u8::try_from(n).map_err(|_| CodecError::invalid("a decimal column without precision"))
            };
            let (precision, scale) = (part(ty.flen)?, part(ty.decimal)?);
            Datum::Decimal { precision, scale, digits: encode_decimal(text, precision, scale)? }
        }
        Value::Text(v) | Value::Bytes(v) => Datum::Bytes(Bytes::clone(v)),
        Value::Time { packed, .. } => Datum::UInt(*packed),
        Value::Duration { nanos, .. } => Datum::Int(*nanos),
        Value::Json(v) => Datum::Json(v.clone()),
    })
}
