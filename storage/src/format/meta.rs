//! What a store says about itself: names in `meta`, and the stamp that is checked before anything else is read.

use binlog_types::{CommitTs, Range, StoreUuid};

use super::FormatError;
use super::reader::Reader;

/// The directory's format. A later one is refused, an earlier one is carried over when it is opened for writing.
///
/// 1: prewrites lie in `pending` as plain records, and RocksDB compresses the write-ahead log.
/// 2: small prewrites lie in `bundle`; both they and the large ones are packed.
/// 3: commits lie in `bundle`, too.
pub(crate) const FORMAT: u32 = 3;

/// Feature bits that a reader must know to read the store at all. None yet.
pub(crate) const KNOWN_FEATURES: u64 = 0;

pub(crate) const STAMP: &[u8] = b"stamp";
pub(crate) const INCARNATION: &[u8] = b"incarnation";
pub(crate) const NODE_ID: &[u8] = b"node-id";
pub(crate) const WATERMARK: &[u8] = b"watermark";
pub(crate) const SAFE_POINT: &[u8] = b"safe-point";
pub(crate) const UNREAD: &[u8] = b"unread";
pub(crate) const SCHEMA_COMPLETE: &[u8] = b"schema-complete";

/// The key of a value that the layer above named.
pub(crate) fn user_key(name: &str) -> Vec<u8> {
    [b"user/", name.as_bytes()].concat()
}

/// Written once, when the store is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The directory's format.
    pub(crate) format: u32,
    /// Features that a reader may ignore.
    pub(crate) compatible: u64,
    /// Features that a reader must know.
    pub(crate) required: u64,
    pub(crate) uuid: StoreUuid,
    pub(crate) cluster_id: u64,
}

impl Stamp {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.format.to_be_bytes());
        out.extend_from_slice(&self.compatible.to_be_bytes());
        out.extend_from_slice(&self.required.to_be_bytes());
        out.extend_from_slice(&self.uuid.0);
        out.extend_from_slice(&self.cluster_id.to_be_bytes());
        out
    }

    /// Reads a stamp; refuses later formats and unknown required features.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let mut r = Reader(body);
        let format = r.u32()?;
        if format > FORMAT {
            return Err(FormatError::Newer { found: format, supported: FORMAT });
        }
        let (compatible, required) = (r.u64()?, r.u64()?);
        if required & !KNOWN_FEATURES != 0 {
            return Err(FormatError::Newer { found: format + 1, supported: FORMAT });
        }
        let mut uuid = StoreUuid::default();
        uuid.0.copy_from_slice(r.bytes(16)?);
        let cluster_id = r.u64()?;
        r.end()?;
        Ok(Stamp { format, compatible, required, uuid, cluster_id })
    }
}

/// A number as a meta body.
pub(crate) fn number(value: u64) -> [u8; 8] {
    value.to_be_bytes()
}

/// Ranges as a meta body.
pub(crate) fn ranges(ranges: &[Range]) -> Vec<u8> {
    ranges.iter().flat_map(|range| [range.after, range.through]).flat_map(|ts| number(ts.raw())).collect()
}

/// Reads what [`ranges`] wrote.
pub(crate) fn decode_ranges(body: &[u8]) -> Result<Vec<Range>, FormatError> {
    let mut r = Reader(body);
    let mut ranges = Vec::new();
    while !r.0.is_empty() {
        ranges.push(Range { after: CommitTs::new(r.u64()?), through: CommitTs::new(r.u64()?) });
    }
    Ok(ranges)
}

/// Signed, as [`number`].
pub(crate) fn signed(value: i64) -> [u8; 8] {
    value.to_be_bytes()
}

/// Reads what [`number`] wrote.
pub(crate) fn decode_number(body: &[u8]) -> Result<u64, FormatError> {
    let mut r = Reader(body);
    let value = r.u64()?;
    r.end()?;
    Ok(value)
}

/// Reads what [`signed`] wrote.
pub(crate) fn decode_signed(body: &[u8]) -> Result<i64, FormatError> {
    let mut r = Reader(body);
    let value = r.i64()?;
    r.end()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_come_back_and_later_ones_are_refused() {
        let stamp = Stamp { format: 1, compatible: 6, required: 0, uuid: StoreUuid([7; 16]), cluster_id: 9 };
        assert_eq!(Stamp::decode(&stamp.encode()), Ok(stamp));
        let newer = Stamp { format: FORMAT + 1, ..stamp };
        let refused = FormatError::Newer { found: FORMAT + 1, supported: FORMAT };
        assert_eq!(Stamp::decode(&newer.encode()), Err(refused));
        let unknown = Stamp { required: 1, ..stamp };
        assert!(matches!(Stamp::decode(&unknown.encode()), Err(FormatError::Newer { .. })));
        assert!(Stamp::decode(&stamp.encode()[1..]).is_err());
    }

    #[test]
    fn numbers_come_back() {
        assert_eq!(decode_number(&number(u64::MAX)), Ok(u64::MAX));
        assert_eq!(decode_signed(&signed(-5)), Ok(-5));
        assert!(decode_number(&[1]).is_err());
        let range = |after, through| Range { after: CommitTs::new(after), through: CommitTs::new(through) };
        for list in [vec![], vec![range(1, 2), range(7, u64::MAX)]] {
            assert_eq!(decode_ranges(&ranges(&list)), Ok(list));
        }
        assert!(decode_ranges(&[0; 15]).is_err());
    }
}
