//! Binary JSON from JSON values, as TiDB lays it out.

use serde_json::Value;

use super::json::{
    ARRAY, DOUBLE, HEADER, INT, JsonBinary, KEY_ENTRY, LITERAL, OBJECT, STRING, UINT, VALUE_ENTRY,
};
use super::{CodecError, put_uvarint};

impl TryFrom<&Value> for JsonBinary {
    type Error = CodecError;

    /// Object keys are sorted, as TiDB sorts them.
    fn try_from(value: &Value) -> Result<Self, CodecError> {
        let mut body = Vec::new();
        let type_code = build(value, &mut body)?;
        Ok(JsonBinary { type_code, body: body.into() })
    }
}

fn build(value: &Value, out: &mut Vec<u8>) -> Result<u8, CodecError> {
    Ok(match value {
        Value::Null => literal(0, out),
        Value::Bool(true) => literal(1, out),
        Value::Bool(false) => literal(2, out),
        Value::Number(number) => {
            let (tp, bits) = if let Some(v) = number.as_i64() {
                (INT, v as u64)
            } else if let Some(v) = number.as_u64() {
                (UINT, v)
            } else {
                (DOUBLE, number.as_f64().unwrap_or_default().to_bits())
            };
            out.extend(bits.to_le_bytes());
            tp
        }
        Value::String(text) => {
            put_uvarint(out, text.len() as u64);
            out.extend(text.as_bytes());
            STRING
        }
        Value::Array(items) => {
            container(None, items.iter(), out)?;
            ARRAY
        }
        Value::Object(map) => {
            let mut fields: Vec<(&String, &Value)> = map.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            let keys: Vec<&str> = fields.iter().map(|(key, _)| key.as_str()).collect();
            container(Some(&keys), fields.iter().map(|(_, value)| *value), out)?;
            OBJECT
        }
    })
}

fn literal(which: u8, out: &mut Vec<u8>) -> u8 {
    out.push(which);
    LITERAL
}

fn container<'a>(
    keys: Option<&[&str]>,
    items: impl ExactSizeIterator<Item = &'a Value>,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let size = |n: usize| u32::try_from(n).map_err(|_| CodecError::invalid("JSON beyond 4 GiB"));
    let start = out.len();
    let count = items.len();
    out.extend(size(count)?.to_le_bytes());
    out.extend([0; 4]);
    let entries = keys.map_or(0, |keys| keys.len() * KEY_ENTRY);
    let values = HEADER + entries + count * VALUE_ENTRY;
    let mut key_at = values;
    for key in keys.unwrap_or(&[]) {
        let len = u16::try_from(key.len()).map_err(|_| CodecError::invalid("a JSON key beyond 64 KiB"))?;
        out.extend(size(key_at)?.to_le_bytes());
        out.extend(len.to_le_bytes());
        key_at += key.len();
    }
    let mut entry = out.len();
    out.resize(start + values, 0);
    for key in keys.unwrap_or(&[]) {
        out.extend(key.as_bytes());
    }
    for item in items {
        let at = out.len();
        let tp = build(item, out)?;
        let inline = if tp == LITERAL {
            let which = out.pop().unwrap_or_default();
            u32::from(which)
        } else {
            size(at - start)?
        };
        out[entry] = tp;
        out[entry + 1..entry + VALUE_ENTRY].copy_from_slice(&inline.to_le_bytes());
        entry += VALUE_ENTRY;
    }
    let total = size(out.len() - start)?;
    out[start + 4..start + HEADER].copy_from_slice(&total.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Reader;
    use proptest::prelude::*;

    fn arbitrary() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1000i32..1000).prop_map(|v| Value::from(f64::from(v) / 8.0)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_comes_back(value in arbitrary()) {
            let json = JsonBinary::try_from(&value).unwrap();
            json.validate().unwrap();
            let mut bytes = vec![json.type_code];
            bytes.extend_from_slice(&json.body);
            let mut reader = Reader::new(bytes.into());
            prop_assert_eq!(&JsonBinary::decode(&mut reader).unwrap(), &json);
            prop_assert!(reader.is_empty());
            let back: Value = serde_json::from_str(&json.text().unwrap()).unwrap();
            // 1.0 is written "1", as TiDB does: compare numbers by value.
            prop_assert_eq!(numbers(back), numbers(value));
        }
    }

    fn numbers(value: Value) -> Value {
        match value {
            Value::Number(n) if n.is_f64() => match n.as_f64() {
                Some(f) if f.fract() == 0.0 => Value::from(f as i64),
                _ => Value::Number(n),
            },
            Value::Array(items) => items.into_iter().map(numbers).collect(),
            Value::Object(map) => Value::Object(map.into_iter().map(|(k, v)| (k, numbers(v))).collect()),
            other => other,
        }
    }

    #[test]
    fn keys_are_sorted_and_spaced() {
        let value = serde_json::json!({"b": 1, "a": {"c": [1, 2]}, "": "x\"\n\u{1}"});
        let text = JsonBinary::try_from(&value).unwrap().text().unwrap();
        assert_eq!(text, r#"{"": "x\"\n\u0001", "a": {"c": [1, 2]}, "b": 1}"#);
    }
}
