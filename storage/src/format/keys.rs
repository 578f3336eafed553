//! Keys. Their byte order is the order of their parts: that is what makes a scan of `log` a scan by commit_ts.

use binlog_types::{CommitTs, SchemaVersion, StartTs};
use static_assertions::const_assert_eq;

use super::FormatError;
use super::reader::Reader;

pub(crate) const PENDING_LEN: usize = size_of::<u64>() + size_of::<u32>();
pub(crate) const BUNDLE_LEN: usize = size_of::<u64>();
pub(crate) const NOTE_LEN: usize = 2 * size_of::<u64>();
pub(crate) const COMMIT_LEN: usize = size_of::<u64>();
pub(crate) const LOG_LEN: usize = 2 * size_of::<u64>() + size_of::<u32>();
pub(crate) const SCHEMA_LEN: usize = 1 + 2 * size_of::<i64>();
const_assert_eq!(PENDING_LEN, 12);
const_assert_eq!(BUNDLE_LEN, 8);
const_assert_eq!(NOTE_LEN, 16);
const_assert_eq!(COMMIT_LEN, 8);
const_assert_eq!(LOG_LEN, 20);
const_assert_eq!(SCHEMA_LEN, 17);

/// A piece of a prewrite in `pending`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PendingKey {
    pub(crate) start_ts: StartTs,
    pub(crate) fragment: u32,
}

impl PendingKey {
    pub(crate) fn encode(self) -> [u8; PENDING_LEN] {
        let mut key = [0; PENDING_LEN];
        key[..8].copy_from_slice(&self.start_ts.raw().to_be_bytes());
        key[8..].copy_from_slice(&self.fragment.to_be_bytes());
        key
    }

    pub(crate) fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut r = Reader(key);
        let decoded = PendingKey { start_ts: StartTs::new(r.u64()?), fragment: r.u32()? };
        r.end()?;
        Ok(decoded)
    }
}

/// A bundle of small prewrites. Numbers ascend, and none is used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BundleId(pub(crate) u64);

impl BundleId {
    pub(crate) fn next(self) -> Self {
        BundleId(self.0 + 1)
    }
}

/// A key in `bundle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BundleKey {
    /// The bundle itself; its notes follow it.
    Bundle(BundleId),
    /// That one of its prewrites is of no more use.
    Note(BundleId, StartTs),
}

impl BundleKey {
    pub(crate) fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut r = Reader(key);
        let bundle = BundleId(r.u64()?);
        if r.0.is_empty() {
            return Ok(BundleKey::Bundle(bundle));
        }
        let start_ts = StartTs::new(r.u64()?);
        r.end()?;
        Ok(BundleKey::Note(bundle, start_ts))
    }
}

/// The key of a bundle.
pub(crate) fn bundle_key(bundle: BundleId) -> [u8; BUNDLE_LEN] {
    bundle.0.to_be_bytes()
}

/// The key of a note.
pub(crate) fn note_key(bundle: BundleId, start_ts: StartTs) -> [u8; NOTE_LEN] {
    let mut key = [0; NOTE_LEN];
    key[..8].copy_from_slice(&bundle_key(bundle));
    key[8..].copy_from_slice(&start_ts.raw().to_be_bytes());
    key
}

/// The key of a marker in `commit`.
pub(crate) fn commit_key(start_ts: StartTs) -> [u8; COMMIT_LEN] {
    start_ts.raw().to_be_bytes()
}

/// Reads a key of `commit`.
pub(crate) fn decode_commit_key(key: &[u8]) -> Result<StartTs, FormatError> {
    let mut r = Reader(key);
    let start_ts = StartTs::new(r.u64()?);
    r.end()?;
    Ok(start_ts)
}

/// A piece of a record in `log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogKey {
    pub(crate) commit_ts: CommitTs,
    pub(crate) start_ts: StartTs,
    pub(crate) fragment: u32,
}

impl LogKey {
    /// The first key above everything at `commit_ts`.
    pub(crate) fn above(commit_ts: CommitTs) -> [u8; LOG_LEN] {
        LogKey {
            commit_ts: CommitTs::new(commit_ts.raw().saturating_add(1)),
            start_ts: StartTs::ZERO,
            fragment: 0,
        }
        .encode()
    }

    pub(crate) fn encode(self) -> [u8; LOG_LEN] {
        let mut key = [0; LOG_LEN];
        key[..8].copy_from_slice(&self.commit_ts.raw().to_be_bytes());
        key[8..16].copy_from_slice(&self.start_ts.raw().to_be_bytes());
        key[16..].copy_from_slice(&self.fragment.to_be_bytes());
        key
    }

    pub(crate) fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut r = Reader(key);
        let decoded = LogKey {
            commit_ts: CommitTs::new(r.u64()?),
            start_ts: StartTs::new(r.u64()?),
            fragment: r.u32()?,
        };
        r.end()?;
        Ok(decoded)
    }

    /// The commit_ts alone, for the compaction filter, which keeps what it cannot read.
    pub(crate) fn commit_ts_of(key: &[u8]) -> Option<CommitTs> {
        Reader(key).u64().ok().map(CommitTs::new)
    }
}

/// A version of a schema object in `schema`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SchemaKey {
    pub(crate) kind: u8,
    pub(crate) id: i64,
    pub(crate) version: SchemaVersion,
}

/// Flips the sign bit, so that unsigned byte order is signed order.
fn ordered(value: i64) -> [u8; 8] {
    (value.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn unordered(bits: u64) -> i64 {
    (bits ^ (1 << 63)).cast_signed()
}

impl SchemaKey {
    pub(crate) fn encode(self) -> [u8; SCHEMA_LEN] {
        let mut key = [0; SCHEMA_LEN];
        key[0] = self.kind;
        key[1..9].copy_from_slice(&ordered(self.id));
        key[9..].copy_from_slice(&ordered(self.version.0));
        key
    }

    pub(crate) fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut r = Reader(key);
        let decoded =
            SchemaKey { kind: r.u8()?, id: unordered(r.u64()?), version: SchemaVersion(unordered(r.u64()?)) };
        r.end()?;
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pending() -> impl Strategy<Value = PendingKey> {
        (any::<u64>(), any::<u32>())
            .prop_map(|(s, fragment)| PendingKey { start_ts: StartTs::new(s), fragment })
    }

    fn log() -> impl Strategy<Value = LogKey> {
        // Small numbers make equal parts likely.
        let ts = prop_oneof![0..4_u64, any::<u64>()];
        (ts.clone(), ts, prop_oneof![0..3_u32, any::<u32>()]).prop_map(|(c, s, fragment)| LogKey {
            commit_ts: CommitTs::new(c),
            start_ts: StartTs::new(s),
            fragment,
        })
    }

    fn schema() -> impl Strategy<Value = SchemaKey> {
        let id = prop_oneof![-2..3_i64, any::<i64>()];
        (0..3_u8, id.clone(), id).prop_map(|(kind, id, v)| SchemaKey { kind, id, version: SchemaVersion(v) })
    }

    proptest! {
        #[test]
        fn keys_come_back_and_keep_their_order(a in (pending(), log(), schema()), b in (pending(), log(), schema())) {
            prop_assert_eq!(PendingKey::decode(&a.0.encode()).unwrap(), a.0);
            prop_assert_eq!(LogKey::decode(&a.1.encode()).unwrap(), a.1);
            prop_assert_eq!(SchemaKey::decode(&a.2.encode()).unwrap(), a.2);
            prop_assert_eq!(a.0.cmp(&b.0), a.0.encode().cmp(&b.0.encode()));
            prop_assert_eq!(a.1.cmp(&b.1), a.1.encode().cmp(&b.1.encode()));
            prop_assert_eq!(a.2.cmp(&b.2), a.2.encode().cmp(&b.2.encode()));
            prop_assert_eq!(decode_commit_key(&commit_key(a.0.start_ts)).unwrap(), a.0.start_ts);
        }
    }

    #[test]
    fn other_lengths_are_refused() {
        assert!(LogKey::decode(&[0; 19]).is_err());
        assert!(LogKey::decode(&[0; 21]).is_err());
        assert!(PendingKey::decode(&[0; 8]).is_err());
        assert!(decode_commit_key(&[0; 9]).is_err());
        assert!(SchemaKey::decode(&[]).is_err());
        assert!(BundleKey::decode(&[0; 7]).is_err());
        assert!(BundleKey::decode(&[0; 17]).is_err());
        assert_eq!(LogKey::commit_ts_of(&[0; 3]), None);
    }

    #[test]
    fn notes_follow_their_bundle() {
        let (bundle, start_ts) = (BundleId(7), StartTs::new(3));
        assert_eq!(BundleKey::decode(&bundle_key(bundle)), Ok(BundleKey::Bundle(bundle)));
        assert_eq!(BundleKey::decode(&note_key(bundle, start_ts)), Ok(BundleKey::Note(bundle, start_ts)));
        assert!(bundle_key(bundle).as_slice() < note_key(bundle, StartTs::ZERO).as_slice());
        assert!(note_key(bundle, StartTs::new(u64::MAX)).as_slice() < bundle_key(bundle.next()).as_slice());
    }

    #[test]
    fn above_is_above_every_piece() {
        let last =
            LogKey { commit_ts: CommitTs::new(7), start_ts: StartTs::new(u64::MAX), fragment: u32::MAX };
        assert!(LogKey::above(CommitTs::new(7)) > last.encode());
        assert!(
            LogKey::above(CommitTs::new(6))
                < LogKey { fragment: 0, start_ts: StartTs::new(1), ..last }.encode()
        );
    }
}
