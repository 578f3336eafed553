//! The forms of keys: memcomparable bytes, and TiDB's hashes and strings on top of them.

const GROUP: usize = 8;

/// Groups of eight bytes, each followed by 0xff less its padding.
pub(crate) fn encode(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for start in (0..=plain.len()).step_by(GROUP) {
        let group = &plain[start..plain.len().min(start + GROUP)];
        out.extend(group);
        out.resize(out.len() + GROUP - group.len(), 0);
        out.push(0xff - (GROUP - group.len()) as u8);
    }
    out
}

/// The plain bytes at the front of `encoded`, and what follows them.
pub(crate) fn decode(mut encoded: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut plain = Vec::new();
    loop {
        let (group, rest) = encoded.split_at_checked(GROUP + 1)?;
        let padding = usize::from(0xff - group[GROUP]);
        plain.extend(&group[..GROUP.checked_sub(padding)?]);
        encoded = rest;
        if padding > 0 {
            return Some((plain, encoded));
        }
    }
}

/// What a key of TiDB's `m…` space stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MetaKey {
    /// A value of its own.
    Text(String),
    /// A field of a hash.
    Field(String, Vec<u8>),
    /// Lists, and whatever else.
    Other,
}

/// Takes a key apart.
pub(crate) fn parse(key: &[u8]) -> MetaKey {
    let parsed = || {
        let (name, rest) = decode(key.strip_prefix(b"m")?)?;
        let name = String::from_utf8(name).ok()?;
        let (kind, rest) = rest.split_at_checked(8)?;
        match kind[7] {
            b's' => Some(MetaKey::Text(name)),
            b'h' if !rest.is_empty() => Some(MetaKey::Field(name, decode(rest)?.0)),
            _ => None,
        }
    };
    parsed().unwrap_or(MetaKey::Other)
}

/// The key of a field of a hash.
pub(crate) fn field(name: &str, field: &str) -> Vec<u8> {
    let mut key = b"m".to_vec();
    key.extend(encode(name.as_bytes()));
    key.extend([0, 0, 0, 0, 0, 0, 0, b'h']);
    key.extend(encode(field.as_bytes()));
    key
}

/// The key of a value of its own.
pub(crate) fn text(name: &str) -> Vec<u8> {
    let mut key = b"m".to_vec();
    key.extend(encode(name.as_bytes()));
    key.extend([0, 0, 0, 0, 0, 0, 0, b's']);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_both_ways() {
        for plain in ["", "m", "abcdefg", "abcdefgh", "abcdefghi"] {
            assert_eq!(decode(&encode(plain.as_bytes())), Some((plain.as_bytes().to_vec(), &b""[..])));
        }
        assert_eq!(parse(&field("DBs", "DB:1")), MetaKey::Field("DBs".into(), b"DB:1".to_vec()));
        assert_eq!(parse(&text("Diff:7")), MetaKey::Text("Diff:7".into()));
        assert_eq!(parse(b"t"), MetaKey::Other);
    }
}
