//! JSON text with its floats exact.

use serde_json::{Number, Value};

/// Stands before the text of a float while the rest is parsed: the parser rounds floats in the last digit.
const MARK: &str = "\u{0}float ";

/// Parses JSON.
///
/// # Errors
/// With what is wrong, where `text` is none.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut marked = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '"' => string_len(rest),
            '-' | '0'..='9' => {
                let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
                rest.find(|c| !is_part(c)).unwrap_or(rest.len())
            }
            other => other.len_utf8(),
        };
        let (token, tail) = rest.split_at_checked(len).unwrap_or((rest, ""));
        if first != '"' && token.contains(['.', 'e', 'E']) && token.parse::<f64>().is_ok() {
            marked.push_str(&Value::from(format!("{MARK}{token}")).to_string());
        } else {
            marked.push_str(token);
        }
        rest = tail;
    }
    let mut json = serde_json::from_str(&marked).map_err(|e| e.to_string())?;
    restore(&mut json);
    Ok(json)
}

/// Length of the string that `text` begins with, with its quotes.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn restore(json: &mut Value) {
    match json {
        Value::String(text) => {
            let number = text.strip_prefix(MARK).and_then(|token| token.parse().ok());
            if let Some(number) = number.and_then(Number::from_f64) {
                *json = Value::Number(number);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(restore),
        Value::Object(map) => map.values_mut().for_each(restore),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_exact() {
        for text in ["123456789.12345679", "1e-7", "-0.5", "3.0023997515803305e15", "1.7976931348623157e308"]
        {
            let expected: f64 = text.parse().unwrap();
            assert_eq!(parse(text).unwrap().as_f64().unwrap().to_bits(), expected.to_bits(), "{text}");
        }
        let json =
            parse(r#"{"1.5": [1, 123456789.12345679, "2.5e3 \" 7.5"], "b": {"c": -18446744073709551615}}"#);
        let json = json.unwrap();
        assert_eq!(json["1.5"][1].as_f64(), Some(123_456_789.123_456_79));
        assert_eq!((&json["1.5"][0], &json["1.5"][2]), (&1.into(), &"2.5e3 \" 7.5".into()));
        for bad in ["", "{", "1.2.3", "\"", "nul"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
