//! Compressed bytes: a value in `pending`, and the body of a [`bundle`](super::bundle).
//!
//! The write-ahead log is not compressed by RocksDB: what goes into it is compressed here, once and by the batch.
//!
//! ```text
//! 0  format u8 = 2     1 is a plain `record`, as earlier versions wrote it
//! 1  codec u8          0 plain, 1 zstd
//! 2  extension u16     bytes before the body, to skip
//! 4  check u32         CRC-32 of bytes 0..4 and 8..
//! 8  length u32        of the body, when it is unpacked
//! 12 extension ‖ body
//! ```

use std::borrow::Cow;

use static_assertions::const_assert_eq;
use zstd_safe::{CCtx, CParameter};

use super::reader::Reader;
use super::record;
use super::{FormatError, check};

const FORMAT: u8 = 2;
const HEADER_LEN: usize = 12;
const_assert_eq!(HEADER_LEN, 1 + 1 + 2 + 4 + 4);
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// zstd's quickest level finds nearly all that there is to find in rows, in half the time of the usual one.
const LEVEL: i32 = 1;
/// More than anything that is ever packed: the longest key with the largest piece.
const LONGEST: usize = 256 << 20;

/// Compresses; keeps what zstd needs for it.
pub(crate) struct Packer {
    context: CCtx<'static>,
    out: Vec<u8>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").field("room", &self.out.capacity()).finish_non_exhaustive()
    }
}

impl Default for Packer {
    fn default() -> Self {
        let mut context = CCtx::create();
        // The only error is a level that zstd does not know, and then its own is as good.
        let _ = context.set_parameter(CParameter::CompressionLevel(LEVEL));
        Packer { context, out: Vec::new() }
    }
}

impl Packer {
    /// A value that holds `raw`.
    pub(crate) fn pack(&mut self, raw: &[u8]) -> &[u8] {
        let out = &mut self.out;
        out.clear();
        out.extend_from_slice(&[FORMAT, ZSTD, 0, 0, 0, 0, 0, 0]);
        let length = u32::try_from(raw.len()).expect("nobody packs this much");
        out.extend_from_slice(&length.to_be_bytes());
        let codec = compress(&mut self.context, raw, out);
        out[1] = codec;
        let check = check(&out[..4], &out[8..]);
        out[4..8].copy_from_slice(&check.to_be_bytes());
        &self.out
    }
}

/// Appends `raw` in the shortest form, and says in which.
fn compress(context: &mut CCtx<'static>, raw: &[u8], out: &mut Vec<u8>) -> u8 {
    let from = out.len();
    out.resize(from + zstd_safe::compress_bound(raw.len()), 0);
    match context.compress2(&mut out[from..], raw) {
        Ok(length) if length < raw.len() => {
            out.truncate(from + length);
            ZSTD
        }
        _ => {
            out.truncate(from);
            out.extend_from_slice(raw);
            PLAIN
        }
    }
}

/// What a value of `pending` holds: earlier versions did not pack it.
pub(crate) fn record_of(value: &[u8]) -> Result<Cow<'_, [u8]>, FormatError> {
    if value.first().is_some_and(|format| *format <= record::FORMAT) {
        return Ok(Cow::Borrowed(value));
    }
    unpack(value)
}

/// What a value holds.
pub(crate) fn unpack(value: &[u8]) -> Result<Cow<'_, [u8]>, FormatError> {
    let mut r = Reader(value);
    let format = r.u8()?;
    if format > FORMAT {
        return Err(FormatError::Newer { found: u32::from(format), supported: u32::from(FORMAT) });
    }
    if format < FORMAT {
        return Err(FormatError::Corrupt("it is not packed"));
    }
    let codec = r.u8()?;
    let extension = usize::from(r.u16()?);
    let stored = r.u32()?;
    let length = usize::try_from(r.u32()?).map_err(|_| FormatError::Corrupt("it is too long"))?;
    if check(&value[..4], &value[8..]) != stored {
        return Err(FormatError::Corrupt("the checksum of what is packed does not match"));
    }
    r.bytes(extension)?;
    let body = match codec {
        PLAIN => Cow::Borrowed(r.0),
        ZSTD if length <= LONGEST => {
            let mut out = vec![0; length];
            let written = zstd_safe::decompress(&mut out[..], r.0)
                .map_err(|_| FormatError::Corrupt("what is packed cannot be unpacked"))?;
            out.truncate(written);
            Cow::Owned(out)
        }
        ZSTD => return Err(FormatError::Corrupt("what is packed is too long")),
        other => return Err(FormatError::Newer { found: u32::from(other), supported: u32::from(ZSTD) }),
    };
    if body.len() == length { Ok(body) } else { Err(FormatError::Corrupt("its length is not what it says")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_come_back_and_damage_is_noticed(
            raw in proptest::collection::vec(any::<u8>(), 0..400), times in 1..5_usize,
            at in any::<proptest::sample::Index>(), bit in 0..8,
        ) {
            let raw = raw.repeat(times);
            let mut packer = Packer::default();
            let packed = packer.pack(&raw).to_vec();
            prop_assert!(packed.len() <= HEADER_LEN + raw.len());
            let unpacked = unpack(&packed).unwrap().into_owned();
            prop_assert_eq!(unpacked, raw);
            let at = at.index(packed.len());
            prop_assert!(unpack(&packed[..at]).is_err());
            let mut bytes = packed;
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(unpack(&bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = unpack(&bytes);
        }
    }

    #[test]
    fn a_length_that_is_not_true_is_refused() {
        let mut bytes = Packer::default().pack(&[7; 500]).to_vec();
        for length in [499_u32, 501, u32::MAX] {
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            let check = check(&bytes[..4], &bytes[8..]);
            bytes[4..8].copy_from_slice(&check.to_be_bytes());
            assert!(matches!(unpack(&bytes), Err(FormatError::Corrupt(_))), "{length}");
        }
    }

    #[test]
    fn what_was_never_packed_and_what_is_newer_is_told_apart() {
        assert_eq!(record_of(&[1, 2, 3]).unwrap().as_ref(), &[1, 2, 3]);
        let packed = Packer::default().pack(b"abc").to_vec();
        assert_eq!(record_of(&packed).unwrap().as_ref(), b"abc");
        assert!(record_of(&[]).is_err());
        assert_eq!(unpack(&[1, 2, 3]), Err(FormatError::Corrupt("it is not packed")));
        assert_eq!(unpack(&[3, 2, 3]), Err(FormatError::Newer { found: 3, supported: 2 }));
    }
}
