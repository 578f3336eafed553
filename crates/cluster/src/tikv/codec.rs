//! The memcomparable form of keys: PD orders regions by it, stores take plain keys.

const GROUP: usize = 8;
const MARKER: u8 = 0xff;

/// Groups of eight bytes, the last one padded with zeros; after each comes `0xff` less the padding.
pub(super) fn encode(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity((key.len() / GROUP + 1) * (GROUP + 1));
    let mut groups = key.chunks_exact(GROUP);
    for group in groups.by_ref() {
        out.extend_from_slice(group);
        out.push(MARKER);
    }
    let rest = groups.remainder();
    out.extend_from_slice(rest);
    out.resize(out.len() + GROUP - rest.len(), 0);
    // At most eight, so it fits.
    out.push(MARKER - (GROUP - rest.len()) as u8);
    out
}

/// The plain key, or `None` where `encoded` is not in the form.
pub(super) fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(encoded.len());
    let mut groups = encoded.chunks_exact(GROUP + 1);
    if !groups.remainder().is_empty() {
        return None;
    }
    while let Some((&marker, group)) = groups.next()?.split_last() {
        let padding = usize::from(MARKER - marker);
        let (bytes, zeros) = group.split_at_checked(GROUP.checked_sub(padding)?)?;
        if zeros.iter().any(|byte| *byte != 0) {
            return None;
        }
        key.extend_from_slice(bytes);
        if padding > 0 {
            return groups.next().is_none().then_some(key);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_keep_their_order() {
        let keys: Vec<Vec<u8>> = ["", "a", "a\0", "abcdefg", "abcdefgh", "abcdefgh\0", "abcdefghi", "b"]
            .map(|key| key.as_bytes().to_vec())
            .to_vec();
        let encoded: Vec<Vec<u8>> = keys.iter().map(|key| encode(key)).collect();
        assert!(encoded.is_sorted());
        for (key, encoded) in keys.iter().zip(&encoded) {
            assert_eq!(decode(encoded).as_ref(), Some(key));
        }
        // As a real client asked PD.
        assert_eq!(encode(b"m"), b"m\0\0\0\0\0\0\0\xf8");
    }

    #[test]
    fn other_bytes_are_refused() {
        for bad in [&b""[..], b"m", b"m\0\0\0\0\0\0\0\xf0", b"m\0\0\0\0\0\0x\xf8", b"abcdefgh\xff"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        assert_eq!(decode(&[encode(b"m"), encode(b"m")].concat()), None);
    }
}
