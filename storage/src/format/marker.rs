//! The value in `commit`: that a transaction has committed, and where.
//!
//! ```text
//! 0  format u8 = 1
//! 1  flags u8          1 fake, 2 late: readers had already passed its place
//! 2  extension u16     bytes before `extra`, to skip
//! 4  check u32         CRC-32 of bytes 0..4 and 8..
//! 8  commit_ts u64
//! 16 extension ‖ extra
//! ```

use binlog_types::CommitTs;
use bytes::Bytes;
use static_assertions::const_assert_eq;

use super::FormatError;
use super::reader::Reader;

const FORMAT: u8 = 1;
const HEADER_LEN: usize = 16;
const FLAG_FAKE: u8 = 1;
const FLAG_LATE: u8 = 2;
const_assert_eq!(HEADER_LEN, 1 + 1 + 2 + 4 + 8);

/// A commit, as it waits for its place in `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) commit_ts: CommitTs,
    pub(crate) fake: bool,
    pub(crate) late: bool,
    pub(crate) extra: Bytes,
}

/// Writes a marker into `out`, which is cleared first.
pub(crate) fn encode(commit_ts: CommitTs, fake: bool, late: bool, extra: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(FORMAT);
    out.push(if fake { FLAG_FAKE } else { 0 } | if late { FLAG_LATE } else { 0 });
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&commit_ts.raw().to_be_bytes());
    out.extend_from_slice(extra);
    let check = check(out);
    out[4..8].copy_from_slice(&check.to_be_bytes());
}

/// Of a value that is at least a header long.
fn check(value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&value[..4]);
    hasher.update(&value[8..]);
    hasher.finalize()
}

/// Reads a marker, verifying its check.
pub(crate) fn decode(value: &[u8]) -> Result<Marker, FormatError> {
    let mut r = Reader(value);
    let format = r.u8()?;
    if format > FORMAT {
        return Err(FormatError::Newer { found: u32::from(format), supported: u32::from(FORMAT) });
    }
    let flags = r.u8()?;
    let extension = usize::from(r.u16()?);
    let stored = r.u32()?;
    let commit_ts = CommitTs::new(r.u64()?);
    r.bytes(extension)?;
    if check(value) != stored {
        return Err(FormatError::Corrupt("the marker's checksum does not match"));
    }
    if flags & !(FLAG_FAKE | FLAG_LATE) != 0 {
        return Err(FormatError::Corrupt("the marker has unknown flags"));
    }
    Ok(Marker {
        commit_ts,
        fake: flags & FLAG_FAKE != 0,
        late: flags & FLAG_LATE != 0,
        extra: Bytes::copy_from_slice(r.0),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn markers_come_back_and_flipped_bits_are_noticed(
            raw in any::<u64>(), fake in any::<bool>(), late in any::<bool>(),
            extra in proptest::collection::vec(any::<u8>(), 0..40),
            at in any::<proptest::sample::Index>(), bit in 0..8,
        ) {
            let mut bytes = Vec::new();
            encode(CommitTs::new(raw), fake, late, &extra, &mut bytes);
            let marker = Marker { commit_ts: CommitTs::new(raw), fake, late, extra: extra.into() };
            prop_assert_eq!(decode(&bytes).unwrap(), marker);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(decode(&bytes).is_err());
            prop_assert!(decode(&bytes[..at]).is_err());
        }
    }
}
