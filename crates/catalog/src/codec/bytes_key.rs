//! Memcomparable bytes: groups of eight, padded with zeros, each followed by `0xff - padding`.

use bytes::BufMut;

use super::{CodecError, Reader};

const GROUP: usize = 8;

/// Writes `bytes` so that encoded values order as the bytes do.
pub fn encode_bytes_key(out: &mut impl BufMut, bytes: &[u8]) {
    // A value whose length is a multiple of eight ends with an empty group.
    for group in 0..=bytes.len() / GROUP {
        let rest = bytes.get(group * GROUP..).unwrap_or(&[]);
        let used = rest.len().min(GROUP);
        let pad = GROUP - used;
        out.put_slice(rest.get(..used).unwrap_or(&[]));
        out.put_bytes(0, pad);
        out.put_u8(0xff - pad as u8);
    }
}

/// Reads what [`encode_bytes_key`] wrote.
///
/// # Errors
/// When the bytes end too early, or the padding is not as it should be.
pub fn decode_bytes_key(reader: &mut Reader) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    loop {
        let group: [u8; GROUP + 1] = reader.array()?;
        let pad = usize::from(0xff - group[GROUP]);
        let bad = || CodecError::invalid(format!("bad padding before offset {} of a key", reader.position()));
        let used = GROUP.checked_sub(pad).ok_or_else(bad)?;
        let (data, zeros) = group[..GROUP].split_at(used);
        if zeros.iter().any(|b| *b != 0) {
            return Err(bad());
        }
        out.extend_from_slice(data);
        if pad > 0 {
            return Ok(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_bytes_key(&mut out, bytes);
        out
    }

    #[test]
    fn padding_is_counted_down() {
        assert_eq!(encoded(b""), [0, 0, 0, 0, 0, 0, 0, 0, 247]);
        assert_eq!(encoded(b"12345678"), b"12345678\xff\0\0\0\0\0\0\0\0\xf7");
        for bad in [&b"12345678\xff"[..], b"1234567", b"1\0\0\0\0\0\0\x01\xf8", b"\0\0\0\0\0\0\0\0\x01"] {
            assert!(
                decode_bytes_key(&mut Reader::new(bytes::Bytes::copy_from_slice(bad))).is_err(),
                "{bad:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn keys_come_back_and_keep_their_order(a: Vec<u8>, b: Vec<u8>) {
            let mut reader = Reader::new(encoded(&a).into());
            prop_assert_eq!(&decode_bytes_key(&mut reader).unwrap(), &a);
            prop_assert!(reader.is_empty());
            prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.cmp(&b));
        }
    }
}
