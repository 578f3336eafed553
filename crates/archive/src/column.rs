//! Columns of a row: name, type and value, each time anew.

use binlog_catalog::codec::{Datum, Reader, decode_decimal};
use binlog_catalog::{Column, ColumnType, JsonBinary, Value, tp};
use bytes::Bytes;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::json;

/// A column without its values.
pub(crate) fn column(offset: usize, name: &str, type_byte: u8, mysql_type: &str) -> Column {
    let mut ty = ColumnType { tp: type_byte, flen: -1, decimal: -1, ..ColumnType::default() };
    // The charset `binary` makes blobs of texts in the type's name.
    let text = ty.is_string() && !mysql_type.ends_with("blob") && !mysql_type.ends_with("binary");
    ty.charset = if text { "utf8mb4" } else { "binary" }.to_owned();
    Column {
        id: offset as i64 + 1,
        name: name.to_owned(),
        offset,
        ty,
        public: true,
        // Of expression indexes: TiDB's own, which no statement names.
        hidden: name.starts_with("_V$_"),
        ..Column::default()
    }
}

/// What the files write as text is made what pumps give, where `typed` says so; otherwise it stays text.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    /// As it stands in the file.
    Text,
    /// TIMESTAMP is of this zone.
    Typed(TimeZone),
}

impl Reading {
    /// Reads one encoded value.
    pub(crate) fn value(&self, column: &Column, encoded: Bytes) -> Result<Value, String> {
        let mut reader = Reader::new(encoded);
        let datum = Datum::decode(&mut reader).map_err(|e| e.to_string())?;
        Ok(match datum {
            Datum::Null => Value::Null,
            Datum::Int(number) => match column.ty.tp {
                tp::YEAR => Value::Year(number),
                _ => Value::Int(number),
            },
            Datum::UInt(number) => match column.ty.tp {
                tp::ENUM => Value::Enum(number),
                tp::SET => Value::Set(number),
                tp::BIT => Value::Bit(number),
                _ => Value::UInt(number),
            },
            Datum::Float(number) => Value::Double(number),
            Datum::Decimal { precision, scale, digits } => {
                Value::Decimal(decode_decimal(precision, scale, &digits).map_err(|e| e.to_string())?)
            }
            Datum::Duration(nanos) => Value::Duration { nanos, fsp: 6 },
            Datum::Json(json) => Value::Json(json),
            Datum::Bytes(bytes) | Datum::Vector(bytes) => self.bytes(column, bytes)?,
        })
    }

    fn bytes(&self, column: &Column, bytes: Bytes) -> Result<Value, String> {
        let Reading::Typed(zone) = self else {
            return Ok(if column.ty.is_bytes() { Value::Bytes(bytes) } else { Value::Text(bytes) });
        };
        if column.ty.is_text() {
            return Ok(Value::Text(bytes));
        }
        if column.ty.is_string() {
            return Ok(Value::Bytes(bytes));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| format!("{bytes:?} is no text"))?;
        match column.ty.tp {
            tp::NEW_DECIMAL => Ok(Value::Decimal(text.into())),
            tp::TIMESTAMP => Ok(Value::Text(to_utc(text, zone)?.into())),
            tp::JSON => {
                Ok(Value::Json(JsonBinary::try_from(&json::parse(text)?).map_err(|e| e.to_string())?))
            }
            _ => Ok(Value::Text(bytes)),
        }
    }
}

/// A datetime of `zone` in UTC, with as many digits of a second. The zero date has no zone.
fn to_utc(text: &str, zone: &TimeZone) -> Result<String, String> {
    let civil = match text.parse::<DateTime>() {
        Ok(civil) => civil,
        Err(_) if text.starts_with("0000-00-00") => return Ok(text.to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let moment = zone.to_ambiguous_zoned(civil).compatible().map_err(|e| e.to_string())?;
    let utc = moment.with_time_zone(TimeZone::UTC).datetime();
    let digits = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let shown = utc.strftime("%Y-%m-%d %H:%M:%S").to_string();
    if digits == 0 {
        return Ok(shown);
    }
    let micros = format!("{:06}", utc.subsec_nanosecond() / 1000);
    Ok(format!("{shown}.{}", micros.get(..digits.min(6)).unwrap_or(&micros)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_leave_their_zone() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let utc = |text: &str| to_utc(text, &zone);
        assert_eq!(utc("2019-01-01 08:00:00").unwrap(), "2019-01-01 00:00:00");
        assert_eq!(utc("2019-01-01 08:00:00.120").unwrap(), "2019-01-01 00:00:00.120");
        assert_eq!(utc("0000-00-00 00:00:00.0").unwrap(), "0000-00-00 00:00:00.0");
        assert!(utc("x").is_err());
    }

    #[test]
    fn type_names_tell_bytes_from_text() {
        assert!(column(0, "a", tp::BLOB, "text").ty.is_text());
        assert!(column(0, "a", tp::BLOB, "blob").ty.is_bytes());
        assert!(column(0, "a", tp::STRING, "binary").ty.is_bytes());
        assert!(!column(0, "a", tp::LONG, "int").ty.is_string());
    }
}
