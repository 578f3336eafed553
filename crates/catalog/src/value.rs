//! One typed value model; each sink formats from it.

use bytes::Bytes;

use crate::codec::{Duration, JsonBinary, PackedTime, TimeKind, float_text};
use crate::{Column, Error, tp};

/// A decoded column value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// Signed integers.
    Int(i64),
    /// Unsigned integers.
    UInt(u64),
    /// YEAR.
    Year(i64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// Exact decimal text as MySQL shows it, with the column's scale.
    Decimal(Box<str>),
    /// CHAR, VARCHAR, TEXT: TiDB keeps them in UTF-8 whatever the column's charset.
    Text(Bytes),
    /// BINARY, VARBINARY, BLOB.
    Bytes(Bytes),
    /// Packed as [`PackedTime`] packs it; TIMESTAMP is in UTC; 0 is the zero date.
    Time {
        /// DATE, DATETIME or TIMESTAMP.
        kind: TimeKind,
        /// All parts in one number that orders as the times do.
        packed: u64,
        /// Digits of a fraction of a second.
        fsp: u8,
    },
    /// TIME.
    Duration {
        /// Its length, with a sign.
        nanos: i64,
        /// Digits of a fraction of a second.
        fsp: u8,
    },
    /// 1-based index, 0 the empty (invalid) value; the name comes from the column's `elems`.
    Enum(u64),
    /// Bit mask over the column's `elems`.
    Set(u64),
    /// BIT(n) as a number.
    Bit(u64),
    /// JSON.
    Json(JsonBinary),
}

impl Value {
    /// The text that MySQL's text protocol shows for the value in `column` (UTC for TIMESTAMP); `None` for NULL. Bytes that are
    /// not UTF-8 stand as they are; BIT is its big-endian bytes.
    pub fn to_text(&self, column: &Column) -> Option<Vec<u8>> {
        let ty = &column.ty;
        let name = |i: usize| ty.elems.get(i).map(String::as_str);
        Some(match self {
            Value::Null => return None,
            Value::Int(v) => v.to_string().into_bytes(),
            Value::UInt(v) => v.to_string().into_bytes(),
            Value::Year(v) => format!("{v:04}").into_bytes(),
            Value::Float(v) => float_text(f64::from(*v), true, self.shown_decimals(column)).into_bytes(),
            Value::Double(v) => float_text(*v, false, self.shown_decimals(column)).into_bytes(),
            Value::Decimal(v) => v.as_bytes().to_vec(),
            Value::Text(v) | Value::Bytes(v) => v.to_vec(),
            Value::Time { kind, packed, fsp } => match PackedTime::unpack(*packed) {
                Ok(time) => time.text(*kind, *fsp).into_bytes(),
                // Decoding has refused such values; whoever makes one by hand sees it.
                Err(e) => e.to_string().into_bytes(),
            },
            Value::Duration { nanos, fsp } => Duration { nanos: *nanos }.text(*fsp).into_bytes(),
            Value::Enum(index) => {
                let index = usize::try_from(*index).unwrap_or(usize::MAX);
                index.checked_sub(1).and_then(name).unwrap_or("").as_bytes().to_vec()
            }
            Value::Set(mask) => {
                let members = (0..64).filter(|bit| mask >> bit & 1 != 0).filter_map(|bit| name(bit as usize));
                members.collect::<Vec<_>>().join(",").into_bytes()
            }
            Value::Bit(v) => {
                let len = (ty.flen.clamp(1, 64) as usize).div_ceil(8);
                v.to_be_bytes()[8 - len..].to_vec()
            }
            Value::Json(json) => json.text().unwrap_or_else(|e| e.to_string()).into_bytes(),
        })
    }

    /// Reads what [`Value::to_text`] writes for a value of `column`.
    ///
    /// # Errors
    /// When the text is none of the column's values.
    pub fn from_text(text: &[u8], column: &Column) -> Result<Self, Error> {
        let ty = &column.ty;
        match ty.tp {
            tp::ENUM if text.is_empty() && !ty.elems.iter().any(String::is_empty) => Ok(Value::Enum(0)),
            tp::YEAR => match std::str::from_utf8(text).map(str::parse) {
                Ok(Ok(year)) => Ok(Value::Year(year)),
                _ => column.value_of(text),
            },
            _ => column.value_of(text),
        }
    }

    /// `FLOAT(M, D)` and `DOUBLE(M, D)` show D digits behind the point.
    fn shown_decimals(&self, column: &Column) -> Option<u8> {
        let ty = &column.ty;
        let fixed = matches!(ty.tp, tp::FLOAT | tp::DOUBLE) && (0..=30).contains(&ty.decimal);
        fixed.then_some(ty.decimal as u8)
    }
}
