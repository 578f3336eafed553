//! The value in `commit`: that a transaction has committed, and where.
//!
//! ```text
//! 0  format u8 = 1
//! 1  kind u8           0 commit, 1 fake, 2 late: readers had already passed its place, 4 lost: if it committed, then at or
//!                      below commit_ts, and above the u64 in `extra`
//! 2  extension u16     bytes before `extra`, to skip
//! 4  check u32         CRC-32 of bytes 0..4 and 8..
//! 8  commit_ts u64
//! 16 extension ‖ extra
//! ```

use binlog_types::{CommitTs, Range};
use bytes::Bytes;
use static_assertions::const_assert_eq;

use super::reader::Reader;
use super::{FormatError, check};

const FORMAT: u8 = 1;
const HEADER_LEN: usize = 16;
const_assert_eq!(HEADER_LEN, 1 + 1 + 2 + 4 + 8);

/// What a marker says of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Commit = 0,
    Fake = 1,
    Late = 2,
    Lost = 4,
}

/// A commit, as it waits for its place in `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) commit_ts: CommitTs,
    pub(crate) kind: Kind,
    pub(crate) extra: Bytes,
}

impl Marker {
    /// Where the commit of a lost transaction may lie.
    pub(crate) fn lost_range(&self) -> Result<Range, FormatError> {
        let mut r = Reader(&self.extra);
        let after = CommitTs::new(r.u64()?);
        r.end()?;
        Ok(Range { after, through: self.commit_ts })
    }
}

/// Writes the marker of a lost transaction, as [`encode`].
pub(crate) fn encode_lost(range: Range, out: &mut Vec<u8>) {
    encode(range.through, Kind::Lost, &range.after.raw().to_be_bytes(), out);
}

/// Writes a marker into `out`, which is cleared first.
pub(crate) fn encode(commit_ts: CommitTs, kind: Kind, extra: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(FORMAT);
    out.push(kind as u8);
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&commit_ts.raw().to_be_bytes());
    out.extend_from_slice(extra);
    let check = check(&out[..4], &out[8..]);
    out[4..8].copy_from_slice(&check.to_be_bytes());
}

/// Reads a marker, verifying its check.
pub(crate) fn decode(value: &[u8]) -> Result<Marker, FormatError> {
    let mut r = Reader(value);
    let format = r.u8()?;
    if format > FORMAT {
        return Err(FormatError::Newer { found: u32::from(format), supported: u32::from(FORMAT) });
    }
    let kind = r.u8()?;
    let extension = usize::from(r.u16()?);
    let stored = r.u32()?;
    let commit_ts = CommitTs::new(r.u64()?);
    r.bytes(extension)?;
    if check(&value[..4], &value[8..]) != stored {
        return Err(FormatError::Corrupt("the marker's checksum does not match"));
    }
    let kinds = [Kind::Commit, Kind::Fake, Kind::Late, Kind::Lost];
    let kind = kinds
        .into_iter()
        .find(|known| *known as u8 == kind)
        .ok_or(FormatError::Corrupt("the marker is of a kind that is not known"))?;
    Ok(Marker { commit_ts, kind, extra: Bytes::copy_from_slice(r.0) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn markers_come_back_and_flipped_bits_are_noticed(
            raw in any::<u64>(), kind in any::<proptest::sample::Index>(),
            extra in proptest::collection::vec(any::<u8>(), 0..40),
            at in any::<proptest::sample::Index>(), bit in 0..8,
        ) {
            let kind = *kind.get(&[Kind::Commit, Kind::Fake, Kind::Late, Kind::Lost]);
            let mut bytes = Vec::new();
            encode(CommitTs::new(raw), kind, &extra, &mut bytes);
            let marker = Marker { commit_ts: CommitTs::new(raw), kind, extra: extra.into() };
            prop_assert_eq!(decode(&bytes).unwrap(), marker);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(decode(&bytes).is_err());
            prop_assert!(decode(&bytes[..at]).is_err());
        }
    }

    #[test]
    fn the_range_of_what_is_lost_comes_back() {
        let range = Range { after: CommitTs::new(5), through: CommitTs::new(9) };
        let mut bytes = Vec::new();
        encode_lost(range, &mut bytes);
        let marker = decode(&bytes).unwrap();
        assert_eq!((marker.kind, marker.lost_range()), (Kind::Lost, Ok(range)));
        assert!(Marker { extra: Bytes::new(), ..marker }.lost_range().is_err());
    }
}
