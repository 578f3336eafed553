//! Keys of TiDB's JSON, whatever their case: Go's `encoding/json` reads them that way, and so do we.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The same text with the keys of all objects in lower case (ASCII); what is no key stays as it is.
pub(super) fn lower_keys(json: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Cow::Borrowed(json);
    let mut at = 0;
    while let Some(open) = position(json, at, |b| b == b'"') {
        let Some((close, escaped)) = end_of_string(json, open + 1) else { break };
        at = close + 1;
        let next = position(json, at, |b| !b.is_ascii_whitespace());
        let is_key = next.and_then(|next| json.get(next)) == Some(&b':');
        let name = open + 1..close;
        if is_key && !escaped && json.get(name.clone()).is_some_and(|n| n.iter().any(u8::is_ascii_uppercase))
        {
            out.to_mut().get_mut(name).into_iter().for_each(<[u8]>::make_ascii_lowercase);
        }
    }
    out
}

fn position(json: &[u8], from: usize, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    json.get(from..)?.iter().position(|b| wanted(*b)).map(|at| from + at)
}

/// Where the string that began before `from` ends, and whether something in it is escaped.
fn end_of_string(json: &[u8], from: usize) -> Option<(usize, bool)> {
    let mut at = from;
    let mut escaped = false;
    loop {
        match json.get(at)? {
            b'"' => return Some((at, escaped)),
            b'\\' => {
                escaped = true;
                at += 2;
            }
            _ => at += 1,
        }
    }
}

/// The field of that name (in lower case): the one so written, else one that differs in case only. `null` counts as absent.
pub(super) fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = object
        .get(name)
        .or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_only() {
        let json = br#"{"Tp" : 1, "Name":{"O":"Ab\"C:","L":"X"}, "ELEMS":["A:","B"], "\u0041B":"Q"}"#;
        let folded = br#"{"tp" : 1, "name":{"o":"Ab\"C:","l":"X"}, "elems":["A:","B"], "\u0041B":"Q"}"#;
        assert_eq!(lower_keys(json), Cow::Borrowed(&folded[..]));
        assert!(matches!(lower_keys(folded), Cow::Borrowed(_)));
        let value: Value = serde_json::from_slice(json).unwrap();
        let object = value.as_object().unwrap();
        assert_eq!(field(object, "tp"), Some(&Value::from(1)));
        assert_eq!(field(object, "none"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_grow(text: String) {
            prop_assert_eq!(lower_keys(text.as_bytes()).len(), text.len());
            let _ = lower_keys(format!("{{\"{text}").as_bytes());
        }
    }
}
