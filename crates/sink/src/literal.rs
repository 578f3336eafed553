//! Values as SQL text.
//!
//! MySQL literals hold under every session this crate opens (`NO_BACKSLASH_ESCAPES` and `ANSI_QUOTES` off, `NAMES utf8mb4`, UTC):
//! numbers stand bare, so that decimals are exact and ENUM, SET, BIT and YEAR go by number; text is quoted; bytes are hex.

use std::fmt::Write;

use binlog_catalog::{Column, Value};

/// Appends `value` as MySQL literal.
pub(crate) fn push_mysql(out: &mut String, value: &Value, column: &Column) {
    match value {
        Value::Null => out.push_str("NULL"),
        Value::Int(v) | Value::Year(v) => push_display(out, v),
        Value::UInt(v) | Value::Enum(v) | Value::Set(v) | Value::Bit(v) => push_display(out, v),
        // An f32 is written as the double of the same value, so that no decimal rounding comes between.
        Value::Float(v) => push_double(out, f64::from(*v)),
        Value::Double(v) => push_double(out, *v),
        Value::Decimal(text) if text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'.') => {
            out.push_str(text)
        }
        Value::Decimal(text) => push_text(out, text),
        Value::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => push_text(out, text),
            // Not UTF-8: stored as it is, not converted.
            Err(_) => push_hex(out, bytes),
        },
        Value::Bytes(bytes) => push_hex(out, bytes),
        Value::Time { .. } | Value::Duration { .. } | Value::Json(_) => {
            push_text(out, &String::from_utf8_lossy(&value.to_text(column).unwrap_or_default()));
        }
    }
}

/// Appends `text` quoted and escaped, on one line.
pub(crate) fn push_text(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('\'');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'\'' => "\\'",
            b'\\' => "\\\\",
            0 => "\\0",
            b'\n' => "\\n",
            b'\r' => "\\r",
            0x1a => "\\Z",
            _ => continue,
        };
        // `at` is the place of an ASCII byte, so both cuts are at character boundaries.
        out.push_str(text.get(from..at).unwrap_or_default());
        out.push_str(escaped);
        from = at + 1;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out.push('\'');
}

/// `text` as MySQL literal.
pub(crate) fn text(text: &str) -> String {
    let mut out = String::new();
    push_text(&mut out, text);
    out
}

/// `text` as SQLite literal; SQLite knows no escapes but the doubled quote.
pub(crate) fn sqlite_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Appends bytes as MySQL hex literal.
pub(crate) fn push_hex(out: &mut String, bytes: &[u8]) {
    if bytes.is_empty() {
        out.push_str("''");
        return;
    }
    out.push_str("0x");
    push_hex_digits(out, bytes);
}

/// Appends two digits a byte.
pub(crate) fn push_hex_digits(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from(*DIGITS.get(usize::from(nibble)).unwrap_or(&b'0')));
        }
    }
}

fn push_double(out: &mut String, value: f64) {
    // Rust prints the shortest text that reads back as the same bits; the exponent makes it a double for the server.
    let _ = write!(out, "{value:e}");
}

fn push_display(out: &mut String, value: &impl std::fmt::Display) {
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn shown(value: Value) -> String {
        let mut out = String::new();
        push_mysql(&mut out, &value, &Column::default());
        out
    }

    #[test]
    fn text_is_escaped_on_one_line() {
        assert_eq!(shown(Value::Text(Bytes::from("a'b\\c\n\0é\u{1a}\r"))), r"'a\'b\\c\n\0é\Z\r'");
        assert_eq!(shown(Value::Text(Bytes::from_static(b"\xff\x00"))), "0xFF00");
        assert_eq!(shown(Value::Bytes(Bytes::new())), "''");
    }

    #[test]
    fn numbers_stand_bare_and_exact() {
        assert_eq!(shown(Value::Int(i64::MIN)), "-9223372036854775808");
        assert_eq!(shown(Value::UInt(u64::MAX)), "18446744073709551615");
        assert_eq!(shown(Value::Decimal("-0.50".into())), "-0.50");
        assert_eq!(shown(Value::Double(0.1)), "1e-1");
        assert_eq!(shown(Value::Float(0.1)).parse::<f64>().unwrap() as f32, 0.1f32);
        assert_eq!(shown(Value::Enum(3)), "3");
        assert_eq!(shown(Value::Null), "NULL");
    }
}
