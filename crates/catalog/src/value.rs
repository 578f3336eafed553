//! One typed value model; each sink formats from it.

use bytes::Bytes;

/// Which of the packed time types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeKind {
    Date,
    DateTime,
    Timestamp,
}

/// TiDB's binary JSON: a type byte and its body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JsonBinary {
    pub type_code: u8,
    pub body: Bytes,
}

/// A decoded column value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    /// Signed integers.
    Int(i64),
    /// Unsigned integers.
    UInt(u64),
    /// YEAR.
    Year(i64),
    Float(f32),
    Double(f64),
    /// Exact decimal text as MySQL shows it, with the column's scale.
    Decimal(Box<str>),
    /// CHAR, VARCHAR, TEXT: TiDB keeps them in UTF-8 whatever the column's charset.
    Text(Bytes),
    /// BINARY, VARBINARY, BLOB.
    Bytes(Bytes),
    /// Packed as TiDB packs it (`reference` A.3); TIMESTAMP is in UTC; 0 is the zero date.
    Time {
        kind: TimeKind,
        packed: u64,
        fsp: u8,
    },
    /// TIME.
    Duration {
        nanos: i64,
        fsp: u8,
    },
    /// 1-based index, 0 the empty (invalid) value; the name comes from the column's `elems`.
    Enum(u64),
    /// Bit mask over the column's `elems`.
    Set(u64),
    /// BIT(n) as a number.
    Bit(u64),
    Json(JsonBinary),
}

impl Value {
    /// The text that MySQL's text protocol shows for the value in `column` (UTC for TIMESTAMP); `None` for NULL. Bytes that are
    /// not UTF-8 stand as they are.
    pub fn to_text(&self, column: &crate::Column) -> Option<Vec<u8>> {
        todo!()
    }
}
