//! The value in `schema` and `meta`: bytes with a version and a check.
//!
//! ```text
//! 0  format u8 = 1
//! 1  codec u8 = 0
//! 2  extension u16     bytes before the body, to skip
//! 4  check u32         CRC-32 of bytes 0..4 and 8..
//! 8  extension ‖ body
//! ```

use super::reader::Reader;
use super::{FormatError, check};

const FORMAT: u8 = 1;
const HEADER_LEN: usize = 8;

/// Puts `body` under seal.
pub(crate) fn seal(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + body.len());
    out.extend_from_slice(&[FORMAT, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(body);
    let check = check(&out[..4], &out[HEADER_LEN..]);
    out[4..8].copy_from_slice(&check.to_be_bytes());
    out
}

/// Verifies the seal and returns the body.
pub(crate) fn open(value: &[u8]) -> Result<&[u8], FormatError> {
    let mut r = Reader(value);
    let (format, codec) = (r.u8()?, r.u8()?);
    let extension = usize::from(r.u16()?);
    let stored = r.u32()?;
    if format > FORMAT || codec > 0 {
        return Err(FormatError::Newer { found: u32::from(format), supported: u32::from(FORMAT) });
    }
    if check(&value[..4], &value[HEADER_LEN..]) != stored {
        return Err(FormatError::Corrupt("the checksum does not match"));
    }
    r.bytes(extension)?;
    Ok(r.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bodies_come_back_and_flipped_bits_are_noticed(
            body in proptest::collection::vec(any::<u8>(), 0..40), at in any::<proptest::sample::Index>(), bit in 0..8,
        ) {
            let mut bytes = seal(&body);
            prop_assert_eq!(open(&bytes).unwrap(), &body[..]);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(open(&bytes).is_err());
        }
    }
}
