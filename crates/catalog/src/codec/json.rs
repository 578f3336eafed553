//! TiDB's binary JSON: bounds-checked reading, and the text that MySQL shows.
//!
//! ```text
//! object  u32 count | u32 size | count × (u32 key offset, u16 key length) | count × (u8 type, u32 value offset or literal) | keys | values
//! array   u32 count | u32 size | count × (u8 type, u32 value offset or literal) | values
//! ```
//! All numbers are little-endian; offsets count from the body's first byte.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{CodecError, Duration, PackedTime, Reader, TimeKind, json_number_text};

pub(super) const OBJECT: u8 = 0x01;
pub(super) const ARRAY: u8 = 0x03;
pub(super) const LITERAL: u8 = 0x04;
pub(super) const INT: u8 = 0x09;
pub(super) const UINT: u8 = 0x0a;
pub(super) const DOUBLE: u8 = 0x0b;
pub(super) const STRING: u8 = 0x0c;
const OPAQUE: u8 = 0x0d;
const DATE: u8 = 0x0e;
const DATETIME: u8 = 0x0f;
const TIMESTAMP: u8 = 0x10;
const DURATION: u8 = 0x11;

pub(super) const HEADER: usize = 8;
pub(super) const KEY_ENTRY: usize = 6;
pub(super) const VALUE_ENTRY: usize = 5;
/// Deeper values are refused: MySQL's and TiDB's own limit is 100.
const MAX_DEPTH: usize = 128;

/// TiDB's binary JSON: a type byte and its body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JsonBinary {
    /// What the body is.
    pub type_code: u8,
    /// The body.
    pub body: Bytes,
}

impl JsonBinary {
    /// Reads a type byte and a body that tells its own length.
    ///
    /// # Errors
    /// When they are not there, or the type is unknown.
    pub fn decode(reader: &mut Reader) -> Result<Self, CodecError> {
        let type_code = reader.byte()?;
        let len = body_len(type_code, reader.rest())?;
        Ok(JsonBinary { type_code, body: reader.take(len)? })
    }

    /// The text that MySQL shows: `{"a": [1, "x"]}`.
    ///
    /// # Errors
    /// When offsets lead outside of the body, or it is nested too deeply.
    pub fn text(&self) -> Result<String, CodecError> {
        self.written(false)
    }

    /// The same with a point in every double, so that whoever reads it makes doubles of them again: `1.0`.
    ///
    /// # Errors
    /// As [`JsonBinary::text`].
    pub fn typed_text(&self) -> Result<String, CodecError> {
        self.written(true)
    }

    fn written(&self, pointed: bool) -> Result<String, CodecError> {
        let mut text = String::with_capacity(self.body.len() + 16);
        write(self.type_code, &self.body, 0, &mut Some(Text { text: &mut text, pointed }))?;
        Ok(text)
    }

    /// Walks through the whole value without writing it.
    ///
    /// # Errors
    /// As [`JsonBinary::text`].
    pub fn validate(&self) -> Result<(), CodecError> {
        write(self.type_code, &self.body, 0, &mut None)
    }
}

fn invalid(what: &str) -> CodecError {
    CodecError::invalid(format!("binary JSON: {what}"))
}

fn u32_at(body: &[u8], at: usize) -> Result<usize, CodecError> {
    let bytes = at.checked_add(4).and_then(|end| body.get(at..end)).ok_or_else(|| invalid("cut off"))?;
    Ok(bytes.iter().rev().fold(0, |v, b| v << 8 | usize::from(*b)))
}

fn u64_of(body: &[u8]) -> Result<u64, CodecError> {
    body.first_chunk().map(|b| u64::from_le_bytes(*b)).ok_or_else(|| invalid("cut off"))
}

/// A string with its length in front: where it begins, and its length.
fn counted(body: &[u8]) -> Result<(usize, usize), CodecError> {
    let mut len = 0usize;
    for (i, byte) in body.iter().take(5).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * i);
        if *byte < 0x80 {
            return Ok((i + 1, len));
        }
    }
    Err(invalid("a string without a length"))
}

fn body_len(type_code: u8, rest: &[u8]) -> Result<usize, CodecError> {
    match type_code {
        OBJECT | ARRAY => u32_at(rest, 4),
        LITERAL => Ok(1),
        INT | UINT | DOUBLE | DATE | DATETIME | TIMESTAMP => Ok(8),
        DURATION => Ok(12),
        STRING => counted(rest).map(|(start, len)| start + len),
        OPAQUE => counted(rest.get(1..).unwrap_or(&[])).map(|(start, len)| 1 + start + len),
        other => Err(invalid(&format!("unknown type {other:#04x}"))),
    }
}

/// Where the text goes.
struct Text<'a> {
    text: &'a mut String,
    /// Doubles have a point.
    pointed: bool,
}

/// None: nowhere, and no text is made.
type Out<'a> = Option<Text<'a>>;

fn put(out: &mut Out<'_>, piece: &str) {
    if let Some(out) = out {
        out.text.push_str(piece);
    }
}

fn put_fmt(out: &mut Out<'_>, piece: std::fmt::Arguments<'_>) {
    if let Some(out) = out {
        // Writing to a string cannot fail.
        let _ = std::fmt::Write::write_fmt(out.text, piece);
    }
}

fn write(type_code: u8, body: &[u8], depth: usize, out: &mut Out<'_>) -> Result<(), CodecError> {
    if depth > MAX_DEPTH {
        return Err(invalid("nested too deeply"));
    }
    match type_code {
        OBJECT | ARRAY => write_container(type_code, body, depth, out)?,
        LITERAL => {
            let literal = match body.first() {
                Some(0) => "null",
                Some(1) => "true",
                Some(2) => "false",
                _ => return Err(invalid("unknown literal")),
            };
            put(out, literal);
        }
        INT => put_fmt(out, format_args!("{}", u64_of(body)? as i64)),
        UINT => put_fmt(out, format_args!("{}", u64_of(body)?)),
        DOUBLE => {
            let value = f64::from_bits(u64_of(body)?);
            if let Some(out) = out {
                let text = json_number_text(value);
                out.text.push_str(&text);
                if out.pointed && !text.contains(['.', 'e']) {
                    out.text.push_str(".0");
                }
            }
        }
        STRING => write_string(counted_bytes(body)?, out),
        OPAQUE => {
            let (tp, rest) = body.split_first().ok_or_else(|| invalid("cut off"))?;
            let data = counted_bytes(rest)?;
            if out.is_some() {
                put(out, &format!("\"base64:type{tp}:{}\"", STANDARD.encode(data)));
            }
        }
        DATE | DATETIME | TIMESTAMP => {
            let kind = if type_code == DATE { TimeKind::Date } else { TimeKind::DateTime };
            let time = core_time(u64_of(body)?);
            if out.is_some() {
                put(out, &format!("\"{}\"", time.text(kind, 6)));
            }
        }
        DURATION => {
            let nanos = u64_of(body)? as i64;
            if out.is_some() {
                put(out, &format!("\"{}\"", Duration { nanos }.text(6)));
            }
        }
        other => return Err(invalid(&format!("unknown type {other:#04x}"))),
    }
    Ok(())
}

fn write_container(type_code: u8, body: &[u8], depth: usize, out: &mut Out<'_>) -> Result<(), CodecError> {
    let object = type_code == OBJECT;
    let count = u32_at(body, 0)?;
    let keys = if object { KEY_ENTRY } else { 0 };
    let values =
        count.checked_mul(keys).and_then(|n| n.checked_add(HEADER)).ok_or_else(|| invalid("cut off"))?;
    if count.checked_mul(VALUE_ENTRY).and_then(|n| n.checked_add(values)).is_none_or(|end| end > body.len()) {
        return Err(invalid("more elements than bytes"));
    }
    put(out, if object { "{" } else { "[" });
    for i in 0..count {
        if i > 0 {
            put(out, ", ");
        }
        if object {
            let entry = HEADER + i * KEY_ENTRY;
            let start = u32_at(body, entry)?;
            let len =
                body.get(entry + 4..entry + 6).map_or(0, |b| usize::from(b[0]) | usize::from(b[1]) << 8);
            let key =
                body.get(start..start.saturating_add(len)).ok_or_else(|| invalid("a key lies outside"))?;
            write_string(key, out);
            put(out, ": ");
        }
        let entry = values + i * VALUE_ENTRY;
        let tp = *body.get(entry).ok_or_else(|| invalid("cut off"))?;
        let start = if tp == LITERAL { entry + 1 } else { u32_at(body, entry + 1)? };
        let value = body.get(start..).ok_or_else(|| invalid("a value lies outside"))?;
        // Values lie behind the entries: this also bounds the walk over values that point at one another.
        if tp != LITERAL && start < values + count * VALUE_ENTRY {
            return Err(invalid("a value lies among the entries"));
        }
        let value = value.get(..body_len(tp, value)?).ok_or_else(|| invalid("a value reaches outside"))?;
        write(tp, value, depth + 1, out)?;
    }
    put(out, if object { "}" } else { "]" });
    Ok(())
}

fn counted_bytes(body: &[u8]) -> Result<&[u8], CodecError> {
    let (start, len) = counted(body)?;
    body.get(start..start.saturating_add(len)).ok_or_else(|| invalid("a string reaches outside"))
}

fn write_string(bytes: &[u8], out: &mut Out<'_>) {
    let Some(Text { text: out, .. }) = out else { return };
    let text = String::from_utf8_lossy(bytes);
    out.push('"');
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let escape = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\u{2028}' => "\\u2028",
            '\u{2029}' => "\\u2029",
            c if c < ' ' => &format!("\\u{:04x}", u32::from(c)),
            _ => continue,
        };
        out.push_str(text.get(plain..at).unwrap_or_default());
        out.push_str(escape);
        plain = at + c.len_utf8();
    }
    out.push_str(text.get(plain..).unwrap_or_default());
    out.push('"');
}

/// Times inside JSON are TiDB's in-memory form: year 14 bits, month 4, day 5, hour 5, minute 6, second 6, micros 20, 4 of its own.
fn core_time(bits: u64) -> PackedTime {
    let part = |shift: u32, width: u32| bits >> shift & ((1 << width) - 1);
    PackedTime {
        year: part(50, 14) as u16,
        month: part(46, 4) as u8,
        day: part(41, 5) as u8,
        hour: part(36, 5) as u8,
        minute: part(30, 6) as u8,
        second: part(24, 6) as u8,
        micros: part(4, 20) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_doubles_can_be_told_from_integers() {
        let json = JsonBinary::try_from(&serde_json::json!({ "a": [1.0, 1, 1.5, -0.0, 1e30] })).unwrap();
        assert_eq!(json.text().unwrap(), r#"{"a": [1, 1, 1.5, -0, 1e+30]}"#);
        assert_eq!(json.typed_text().unwrap(), r#"{"a": [1.0, 1, 1.5, -0.0, 1e+30]}"#);
    }

    #[test]
    fn times_and_opaque_values() {
        let dt = |year: u64, micros: u64| {
            year << 50 | 2 << 46 | 29 << 41 | 12 << 36 | 34 << 30 | 56 << 24 | micros << 4
        };
        for (type_code, body, text) in [
            (DATE, dt(2024, 0).to_le_bytes().to_vec(), "\"2024-02-29\""),
            (DATETIME, dt(2024, 123_456).to_le_bytes().to_vec(), "\"2024-02-29 12:34:56.123456\""),
            (DURATION, [&45_296_000_000_000u64.to_le_bytes()[..], &[0; 4]].concat(), "\"12:34:56.000000\""),
            (OPAQUE, vec![253, 2, 0, 0xff], "\"base64:type253:AP8=\""),
            (UINT, u64::MAX.to_le_bytes().to_vec(), "18446744073709551615"),
            (LITERAL, vec![2], "false"),
            // As TiDB shows them: line ends of JavaScript's are escaped.
            (STRING, "\u{4}x\u{2028}".as_bytes().to_vec(), "\"x\\u2028\""),
        ] {
            let json = JsonBinary { type_code, body: body.into() };
            assert_eq!(json.text().unwrap(), text);
        }
    }

    #[test]
    fn self_reference_ends() {
        // An array whose only value is an array at offset 0: itself.
        let body = [1, 0, 0, 0, 13, 0, 0, 0, ARRAY, 0, 0, 0, 0];
        let json = JsonBinary { type_code: ARRAY, body: Bytes::copy_from_slice(&body) };
        assert!(json.text().is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(type_code in 0u8..0x13, body: Vec<u8>) {
            let json = JsonBinary { type_code, body: body.clone().into() };
            let _ = json.text();
            let mut bytes = vec![type_code];
            bytes.extend(body);
            let _ = JsonBinary::decode(&mut Reader::new(bytes.into()));
        }
    }
}
