//! Values of a column whose type changes, as TiDB's MODIFY COLUMN converts them.
//!
//! TiDB refuses a change that some value does not survive, unless its session is not strict: so what does not fit is an error here, but for
//! texts that are too long, which become shorter.

mod time;

use std::borrow::Cow;

use binlog_types::Zone;
use bytes::Bytes;

use super::convert::number_of_names;
use super::text::{name_of, plain_decimal, round_decimal, value_of_text, year_of_text};
use crate::codec::{CodecError, Duration, JsonBinary, decode_decimal, encode_decimal};
use crate::{Column, ColumnType, Value, tp};

/// Whether values of one type are values of the other as they are.
pub(super) fn same_type(old: &ColumnType, new: &ColumnType) -> bool {
    let padded = |ty: &ColumnType| ty.tp == tp::STRING;
    if old.is_text() && new.is_text() || old.is_bytes() && new.is_bytes() {
        return padded(old) || !padded(new);
    }
    if old.is_integer() && new.is_integer() {
        return old.is_unsigned() == new.is_unsigned();
    }
    let same = old.tp == new.tp && old.is_unsigned() == new.is_unsigned() && old.is_bytes() == new.is_bytes();
    same && match old.tp {
        tp::NEW_DECIMAL | tp::DATETIME | tp::TIMESTAMP | tp::DURATION => old.decimal == new.decimal,
        tp::FLOAT | tp::DOUBLE => new.decimal < 0 || old.decimal == new.decimal,
        // More names at the end change nothing.
        tp::ENUM | tp::SET => new.elems.starts_with(&old.elems),
        tp::BIT => old.flen == new.flen,
        _ => true,
    }
}

/// What `value` of `old` becomes in `new`; `zone`: of the session that changed the type, which TIMESTAMPs are shown in (`None`: UTC).
pub(super) fn cast(
    value: &Value,
    old: &Column,
    new: &Column,
    zone: Option<&Zone>,
) -> Result<Value, CodecError> {
    if *value == Value::Null {
        return Ok(Value::Null);
    }
    let from = From { value, old, new, zone };
    let ty = &new.ty;
    Ok(match ty.tp {
        _ if ty.is_integer() && ty.is_unsigned() => {
            Value::UInt(u64::try_from(from.integer()?).map_err(|_| from.misfit())?)
        }
        _ if ty.is_integer() => Value::Int(i64::try_from(from.integer()?).map_err(|_| from.misfit())?),
        tp::YEAR => Value::Year(from.year()?),
        tp::BIT => {
            let number = from.integer()?;
            let bits = i64::try_from(number).map(|v| v as u64).or_else(|_| u64::try_from(number));
            number_of_names(bits.map_err(|_| from.misfit())?, ty)?
        }
        tp::FLOAT => Value::Float(from.double()? as f32),
        tp::DOUBLE => Value::Double(from.double()?),
        tp::NEW_DECIMAL => from.decimal()?,
        tp::DATE | tp::NEW_DATE | tp::DATETIME | tp::TIMESTAMP => from.time()?,
        tp::DURATION => from.duration()?,
        tp::ENUM | tp::SET => from.names()?,
        tp::JSON => from.json()?,
        _ if ty.is_string() => from.string()?,
        _ => value_of_text(&from.text(), ty)?,
    })
}

/// A value that changes its type.
struct From<'a> {
    value: &'a Value,
    old: &'a Column,
    new: &'a Column,
    zone: Option<&'a Zone>,
}

impl From<'_> {
    fn misfit(&self) -> CodecError {
        let text = String::from_utf8_lossy(&self.value.to_text(self.old).unwrap_or_default()).into_owned();
        CodecError::invalid(format!("{text:?} does not fit type {:#04x}", self.new.ty.tp))
    }

    /// As a string column takes it.
    fn text(&self) -> Vec<u8> {
        match self.value {
            Value::Bit(v) => v.to_string().into_bytes(),
            Value::Year(v) => v.to_string().into_bytes(),
            // Never with an exponent.
            Value::Float(v) => v.to_string().into_bytes(),
            Value::Double(v) => v.to_string().into_bytes(),
            Value::Time { kind, packed, fsp } => match self.shown(*kind, *packed) {
                Ok(time) => time.text(*kind, *fsp).into_bytes(),
                Err(_) => self.value.to_text(self.old).unwrap_or_default(),
            },
            other => other.to_text(self.old).unwrap_or_default(),
        }
    }

    /// A string's characters without blanks around them, or those of a JSON string.
    fn trimmed(&self) -> Result<Option<Cow<'_, str>>, CodecError> {
        match self.value {
            Value::Text(bytes) | Value::Bytes(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|_| self.misfit())?;
                Ok(Some(text.trim().into()))
            }
            Value::Json(json) => {
                let text = json.text()?;
                Ok(Some(match serde_json::from_str(&text) {
                    Ok(serde_json::Value::String(inner)) => inner.trim().to_owned().into(),
                    Ok(serde_json::Value::Bool(v)) => if v { "1" } else { "0" }.into(),
                    _ => text.into(),
                }))
            }
            _ => Ok(None),
        }
    }

    /// Digits of a number, with a point but without an exponent: `20240229123456.5` for times.
    fn digits(&self) -> Result<String, CodecError> {
        Ok(match self.value {
            Value::Int(v) | Value::Year(v) => v.to_string(),
            Value::UInt(v) | Value::Bit(v) | Value::Enum(v) | Value::Set(v) => v.to_string(),
            Value::Float(v) => f64::from(*v).to_string(),
            Value::Double(v) => v.to_string(),
            Value::Decimal(text) => text.to_string(),
            Value::Time { kind, packed, fsp } => {
                let text = self.shown(*kind, *packed)?.text(*kind, *fsp);
                text.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect()
            }
            Value::Duration { nanos, fsp } => Duration { nanos: *nanos }.text(*fsp).replace(':', ""),
            Value::Null | Value::Text(_) | Value::Bytes(_) | Value::Json(_) => {
                let text = self.trimmed()?.unwrap_or_default();
                plain_decimal(&text).ok_or_else(|| self.misfit())?
            }
        })
    }

    fn integer(&self) -> Result<i128, CodecError> {
        match self.value {
            // Halves go to the even neighbour, as for all floats.
            Value::Float(v) => Ok(f64::from(*v).round_ties_even() as i128),
            Value::Double(v) => Ok(v.round_ties_even() as i128),
            // Seconds carry into minutes.
            Value::Time { kind, packed, .. } => {
                let time = self.shown(*kind, *packed)?.rounded(0).ok_or_else(|| self.misfit())?;
                let text: String = time.text(*kind, 0).chars().filter(char::is_ascii_digit).collect();
                text.parse().map_err(|_| self.misfit())
            }
            Value::Duration { nanos, .. } => {
                let text = Duration { nanos: *nanos }.rounded(0).text(0).replace(':', "");
                text.parse().map_err(|_| self.misfit())
            }
            _ => {
                let digits = self.digits()?;
                let rounded = round_decimal(&digits, 0).ok_or_else(|| self.misfit())?;
                let whole = rounded.strip_suffix('.').unwrap_or(&rounded);
                whole.parse().map_err(|_| self.misfit())
            }
        }
    }

    fn double(&self) -> Result<f64, CodecError> {
        let number = match self.value {
            Value::Float(v) => f64::from(*v),
            Value::Double(v) => *v,
            Value::Text(_) | Value::Bytes(_) | Value::Json(_) => {
                self.trimmed()?.unwrap_or_default().parse().map_err(|_| self.misfit())?
            }
            _ => self.digits()?.parse().map_err(|_| self.misfit())?,
        };
        let ty = &self.new.ty;
        if (0..=30).contains(&ty.decimal) {
            let shift = 10f64.powi(ty.decimal as i32);
            let rounded = (number * shift).round() / shift;
            return Ok(if rounded.is_finite() { rounded } else { number });
        }
        Ok(number)
    }

    fn decimal(&self) -> Result<Value, CodecError> {
        let part = |n: i64| u8::try_from(n).map_err(|_| self.misfit());
        let (precision, scale) = (part(self.new.ty.flen)?, part(self.new.ty.decimal)?);
        let digits = self.digits()?;
        let rounded = round_decimal(&digits, usize::from(scale)).ok_or_else(|| self.misfit())?;
        let bytes = encode_decimal(&rounded, precision, scale)?;
        Ok(Value::Decimal(decode_decimal(precision, scale, &bytes)?))
    }

    fn year(&self) -> Result<i64, CodecError> {
        let year = match self.value {
            Value::Year(v) => *v,
            Value::Time { kind, packed, .. } => self.shown(*kind, *packed)?.year.into(),
            Value::Text(_) | Value::Bytes(_) | Value::Json(_) => {
                let text = self.trimmed()?.unwrap_or_default();
                year_of_text(&text).ok_or_else(|| self.misfit())?
            }
            _ => match self.integer()? {
                0 => 0,
                short @ 1..=69 => short as i64 + 2000,
                short @ 70..=99 => short as i64 + 1900,
                long => i64::try_from(long).map_err(|_| self.misfit())?,
            },
        };
        if year == 0 || (1901..=2155).contains(&year) { Ok(year) } else { Err(self.misfit()) }
    }

    /// ENUM and SET: by name, numbers by number.
    fn names(&self) -> Result<Value, CodecError> {
        let ty = &self.new.ty;
        let text = match self.value {
            Value::Int(_) | Value::UInt(_) | Value::Year(_) => {
                let number = u64::try_from(self.integer()?).map_err(|_| self.misfit())?;
                return number_of_names(number, ty);
            }
            _ => self.text(),
        };
        let text = std::str::from_utf8(&text).map_err(|_| self.misfit())?;
        let text = text.trim_end_matches(' ');
        if ty.tp == tp::SET {
            return value_of_text(text.as_bytes(), ty);
        }
        match name_of(ty, text) {
            Some(index) => Ok(Value::Enum(index as u64 + 1)),
            // What an ENUM holds that took an invalid value.
            None if text.is_empty() && matches!(self.value, Value::Enum(0)) => Ok(Value::Enum(0)),
            None => {
                let number = text.parse::<u64>().ok().filter(|n| *n > 0).ok_or_else(|| self.misfit())?;
                number_of_names(number, ty)
            }
        }
    }

    fn json(&self) -> Result<Value, CodecError> {
        use serde_json::Value as Json;
        let json = match self.value {
            Value::Json(json) => return Ok(Value::Json(json.clone())),
            Value::Int(v) | Value::Year(v) => Json::from(*v),
            Value::UInt(v) => Json::from(*v),
            Value::Float(v) => Json::from(f64::from(*v)),
            Value::Double(v) => Json::from(*v),
            Value::Decimal(text) => Json::from(text.parse::<f64>().map_err(|_| self.misfit())?),
            Value::Text(bytes) | Value::Bytes(bytes) => {
                serde_json::from_slice(bytes).map_err(|_| self.misfit())?
            }
            // Times inside JSON are shown to the microsecond.
            Value::Time { kind, packed, .. } => self.shown(*kind, *packed)?.text(*kind, 6).into(),
            Value::Duration { nanos, .. } => Duration { nanos: *nanos }.text(6).into(),
            Value::Enum(_) | Value::Set(_) => String::from_utf8_lossy(&self.text()).into_owned().into(),
            Value::Null | Value::Bit(_) => return Err(self.misfit()),
        };
        Ok(Value::Json(JsonBinary::try_from(&json)?))
    }

    fn string(&self) -> Result<Value, CodecError> {
        let ty = &self.new.ty;
        if ty.is_bytes() && matches!(self.value, Value::Text(_)) && !is_unicode(&self.old.ty.charset) {
            return Err(CodecError::invalid(format!(
                "what its bytes are in character set {} is not known",
                self.old.ty.charset
            )));
        }
        let mut bytes = self.text();
        let limited = matches!(ty.tp, tp::VARCHAR | tp::VAR_STRING | tp::STRING);
        let most = usize::try_from(ty.flen).ok().filter(|_| limited);
        if ty.is_bytes() {
            bytes.truncate(most.unwrap_or(usize::MAX));
            return value_of_text(&bytes, ty);
        }
        if let (Some(most), Ok(text)) = (most, std::str::from_utf8(&bytes))
            && let Some((end, _)) = text.char_indices().nth(most)
        {
            bytes.truncate(end);
        }
        if ty.tp == tp::STRING {
            let end = bytes.iter().rposition(|b| *b != b' ').map_or(0, |at| at + 1);
            bytes.truncate(end);
        }
        Ok(Value::Text(Bytes::from(bytes)))
    }
}

/// Whether bytes of the character set are those of UTF-8, which TiDB keeps all texts in.
fn is_unicode(charset: &str) -> bool {
    !charset.starts_with("gb")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(ty: ColumnType) -> Column {
        Column { name: "c".into(), ty, public: true, ..Column::default() }
    }

    fn number(tp: u8, flen: i64, decimal: i64) -> ColumnType {
        ColumnType { tp, flen, decimal, ..ColumnType::int() }
    }

    /// What the text of one type becomes in another, as text.
    fn became(
        text: &str,
        old: &ColumnType,
        new: &ColumnType,
        zone: Option<&Zone>,
    ) -> Result<String, crate::Error> {
        let (old, new) = (column(old.clone()), column(new.clone()));
        let value = old.cast(&Value::from_text(text.as_bytes(), &old)?, &new, zone)?;
        Ok(String::from_utf8(value.to_text(&new).unwrap()).unwrap())
    }

    #[test]
    fn types_change_as_in_tidb() {
        let (int, unsigned, text) =
            (ColumnType::int(), ColumnType::bigint().unsigned(), ColumnType::varchar(20));
        let (decimal, double) = (ColumnType::decimal(10, 2), ColumnType::double());
        let (date, second, milli) = (ColumnType::date(), ColumnType::datetime(0), ColumnType::datetime(3));
        let (time, year) = (number(tp::DURATION, 10, 0), number(tp::YEAR, 4, 0));
        let bit = number(tp::BIT, 10, 0);
        let names = ColumnType::enumeration(["x", "y"]);
        let set = ColumnType { tp: tp::SET, ..names.clone() };
        let json = ColumnType::json();
        for (value, old, new, expected) in [
            ("5", &int, &decimal, "5.00"),
            ("5", &int, &text, "5"),
            ("5", &int, &double, "5"),
            ("20240229", &int, &date, "2024-02-29"),
            ("240229123456", &ColumnType::bigint(), &second, "2024-02-29 12:34:56"),
            ("123456", &int, &time, "12:34:56"),
            ("2", &int, &names, "y"),
            ("24", &int, &year, "2024"),
            ("5", &int, &json, "5"),
            ("2.50", &decimal, &int, "3"),
            ("-2.50", &decimal, &int, "-3"),
            ("2.55", &decimal, &ColumnType::decimal(10, 1), "2.6"),
            ("2.55", &decimal, &ColumnType::decimal(12, 4), "2.5500"),
            ("2.55", &decimal, &text, "2.55"),
            ("2.5", &double, &int, "2"),
            ("3.5", &double, &int, "4"),
            ("1e19", &double, &text, "10000000000000000000"),
            ("1.005", &double, &number(tp::DOUBLE, 10, 2), "1.00"),
            ("0.1", &number(tp::FLOAT, 12, -1), &decimal, "0.10"),
            (" 1.5e1 ", &text, &int, "15"),
            ("7", &text, &unsigned, "7"),
            ("1.2345e1", &text, &decimal, "12.35"),
            ("2024-02-29 23:59:59.9996", &text, &milli, "2024-03-01 00:00:00.000"),
            ("1 02:03:04", &text, &time, "26:03:04"),
            ("-1 02:03:04", &text, &time, "-26:03:04"),
            ("Y", &text, &names, "y"),
            ("y,x", &text, &set, "x,y"),
            ("[1, 2]", &text, &json, "[1, 2]"),
            ("2024-02-29 23:59:59.500", &milli, &date, "2024-02-29"),
            ("2024-02-29 23:59:59.500", &milli, &ColumnType::bigint(), "20240301000000"),
            ("2024-02-29 12:34:56.789", &milli, &second, "2024-02-29 12:34:57"),
            ("2024-02-29 12:34:56.789", &milli, &time, "12:34:57"),
            ("2024-02-29 12:34:56.789", &milli, &ColumnType::varchar(30), "2024-02-29 12:34:56.789"),
            ("2024-02-29 12:34:56.789", &milli, &year, "2024"),
            ("0000-00-00 00:00:00", &second, &milli, "0000-00-00 00:00:00.000"),
            ("12:34:56", &time, &int, "123456"),
            ("2024", &year, &text, "2024"),
            ("y", &names, &int, "2"),
            ("y", &names, &ColumnType::enumeration(["y", "x"]), "y"),
            ("", &names, &ColumnType::enumeration(["y"]), ""),
            ("y", &names, &text, "y"),
            ("x,y", &set, &int, "3"),
            ("\"7\"", &json, &int, "7"),
            ("true", &json, &int, "1"),
            ("{\"a\": 1}", &json, &text, "{\"a\": 1}"),
            ("a  ", &text, &ColumnType::char(3), "a"),
            ("abcdef", &text, &ColumnType::char(3), "abc"),
            ("ab", &text, &ColumnType { tp: tp::STRING, ..ColumnType::varbinary(3) }, "ab\0"),
            ("\u{1}\u{2}", &bit, &int, "258"),
            ("\u{1}\u{2}", &bit, &text, "258"),
        ] {
            let what = format!("{value} of {:#x} in {:#x}", old.tp, new.tp);
            match became(value, old, new, None) {
                Ok(found) => assert_eq!(found, expected, "{what}"),
                Err(error) => panic!("{what}: {error}"),
            }
        }
        for (value, old, new) in [
            ("-1", &int, &unsigned),
            ("x", &text, &int),
            ("12:00:00", &time, &second),
            ("20241399", &int, &date),
            ("z", &text, &names),
            ("99999999999", &text, &decimal),
            ("1e400", &text, &int),
            ("99999999999 01:00:00", &text, &time),
            ("4000000000 01:00:00", &text, &time),
        ] {
            assert!(became(value, old, new, None).is_err(), "{value} of {:#x} in {:#x}", old.tp, new.tp);
        }
    }

    #[test]
    fn timestamps_are_shown_in_the_zone_of_the_session() {
        let (stamp, clock) = (ColumnType::timestamp(0), ColumnType::datetime(0));
        let zone = Zone::of_location("Asia/Shanghai", 0);
        let shown =
            |text: &str, old: &ColumnType, new: &ColumnType| became(text, old, new, zone.as_ref()).unwrap();
        assert_eq!(shown("2024-02-29 20:00:00", &stamp, &clock), "2024-03-01 04:00:00");
        assert_eq!(shown("2024-02-29 20:00:00", &stamp, &ColumnType::date()), "2024-03-01");
        assert_eq!(shown("2024-02-29 20:00:00", &stamp, &ColumnType::varchar(30)), "2024-03-01 04:00:00");
        assert_eq!(shown("2024-03-01 04:00:00", &clock, &stamp), "2024-02-29 20:00:00");
        assert_eq!(
            shown("2024-02-29 20:00:00", &stamp, &ColumnType::timestamp(3)),
            "2024-02-29 20:00:00.000"
        );
        assert_eq!(shown("0000-00-00 00:00:00", &stamp, &clock), "0000-00-00 00:00:00");
        let unknown = Zone::of_location("Local", 0);
        let error = became("2024-02-29 20:00:00", &stamp, &clock, unknown.as_ref()).unwrap_err();
        assert!(error.to_string().contains("time zone Local"), "{error}");
    }

    #[test]
    fn what_passes_is_not_converted() {
        let passes = |old: ColumnType, new: ColumnType| column(old).passes_to(&column(new));
        assert!(passes(ColumnType::int(), ColumnType::bigint()));
        assert!(passes(ColumnType::varchar(9), ColumnType::text()));
        assert!(passes(ColumnType::enumeration(["a"]), ColumnType::enumeration(["a", "b"])));
        assert!(!passes(ColumnType::int(), ColumnType::int().unsigned()));
        assert!(!passes(ColumnType::varchar(9), ColumnType::char(9)));
        assert!(!passes(ColumnType::timestamp(0), ColumnType::datetime(0)));
        assert!(!passes(ColumnType::decimal(9, 2), ColumnType::decimal(9, 3)));
    }
}
