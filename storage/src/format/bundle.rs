//! The value in `bundle`: the small prewrites and the commits of one batch, compressed together.
//!
//! ```text
//! 0  format u8 = 2
//! 1  reserved u8 = 0
//! 2  extension u16     bytes before the directory, to skip
//! 4  check u32         CRC-32 of bytes 0..4 and 8.. up to the body
//! 8  length u32        of the directory
//! 12 extension ‖ directory ‖ body
//! ```
//!
//! The directory is made of varints (seven bits a byte, the lowest first): how many prewrites, how many commits, the start_ts of each prewrite,
//! then of each commit its start_ts, how far its commit_ts lies above that, and the length of its extra. A start_ts is the difference to the
//! one before it (to 0), with the sign in the lowest bit.
//!
//! The body is [`packed`]: for each prewrite length u32 ‖ [`record`](super::record), then the extras; where that is nothing, there is none. It
//! has a check of its own, so that where it is damaged the directory still says which transactions it held.
//!
//! In format 1 there are no commits, the field at 8 is the number of prewrites, and the directory their start_ts as u64.

use binlog_types::{CommitTs, StartTs};
use bytes::Bytes;
use static_assertions::const_assert_eq;

use super::packed::{self, Packer};
use super::reader::Reader;
use super::{FormatError, check};

const FORMAT: u8 = 2;
const HEADER_LEN: usize = 12;
const_assert_eq!(HEADER_LEN, 1 + 1 + 2 + 4 + 4);

/// A bundle under way.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    prewrites: Directory,
    commits: Directory,
    body: Vec<u8>,
    extras: Vec<u8>,
    out: Vec<u8>,
}

/// One half of the directory.
#[derive(Debug, Default)]
struct Directory {
    count: u64,
    last: u64,
    bytes: Vec<u8>,
}

impl Directory {
    fn start(&mut self, start_ts: StartTs) {
        let difference = start_ts.raw().wrapping_sub(self.last).cast_signed();
        varint(((difference << 1) ^ (difference >> 63)).cast_unsigned(), &mut self.bytes);
        self.last = start_ts.raw();
        self.count += 1;
    }

    fn clear(&mut self) {
        self.bytes.clear();
        (self.count, self.last) = (0, 0);
    }
}

/// What [`Directory::start`] wrote, behind `last`.
fn start(r: &mut Reader<'_>, last: &mut u64) -> Result<StartTs, FormatError> {
    let coded = r.varint()?;
    let difference = (coded >> 1).cast_signed() ^ -(coded & 1).cast_signed();
    *last = last.wrapping_add(difference.cast_unsigned());
    Ok(StartTs::new(*last))
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Draft {
    /// Adds the record of a prewrite.
    pub(crate) fn add(&mut self, start_ts: StartTs, record: &[u8]) {
        let length = u32::try_from(record.len()).expect("only small prewrites are bundled");
        self.prewrites.start(start_ts);
        self.body.extend_from_slice(&length.to_be_bytes());
        self.body.extend_from_slice(record);
    }

    /// Adds a commit.
    pub(crate) fn commit(&mut self, start_ts: StartTs, commit_ts: CommitTs, extra: &[u8]) {
        self.commits.start(start_ts);
        varint(commit_ts.raw().wrapping_sub(start_ts.raw()), &mut self.commits.bytes);
        varint(extra.len() as u64, &mut self.commits.bytes);
        self.extras.extend_from_slice(extra);
    }

    /// Its bytes before they are compressed, about.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + self.extras.len() + self.commits.bytes.len()
    }

    /// Forgets what was added.
    pub(crate) fn clear(&mut self) {
        self.prewrites.clear();
        self.commits.clear();
        self.body.clear();
        self.extras.clear();
    }

    /// The value; the draft is empty then.
    pub(crate) fn finish(&mut self, packer: &mut Packer) -> &[u8] {
        let out = &mut self.out;
        out.clear();
        out.extend_from_slice(&[FORMAT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        varint(self.prewrites.count, out);
        varint(self.commits.count, out);
        out.extend_from_slice(&self.prewrites.bytes);
        out.extend_from_slice(&self.commits.bytes);
        let length = u32::try_from(out.len() - HEADER_LEN).expect("a bundle is small");
        out[8..12].copy_from_slice(&length.to_be_bytes());
        let check = check(&out[..4], &out[8..]);
        out[4..8].copy_from_slice(&check.to_be_bytes());
        self.body.extend_from_slice(&self.extras);
        if !self.body.is_empty() {
            out.extend_from_slice(packer.pack(&self.body));
        }
        self.clear();
        &self.out
    }
}

/// What the directory of a bundle says, and its body as it is packed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contents<'a> {
    /// The transactions whose prewrites it holds.
    pub(crate) prewrites: Vec<StartTs>,
    pub(crate) commits: Vec<Committed>,
    body: &'a [u8],
}

/// A commit, as the directory has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) start_ts: StartTs,
    pub(crate) commit_ts: CommitTs,
    /// Length of its extra.
    pub(crate) extra: usize,
}

/// The body of a bundle.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Of the prewrites, ascending by start_ts.
    pub(crate) records: Vec<(StartTs, Bytes)>,
    /// Of the commits, as the directory has them.
    pub(crate) extras: Vec<Bytes>,
}

/// Takes a bundle apart, verifying the directory's check.
pub(crate) fn split(value: &[u8]) -> Result<Contents<'_>, FormatError> {
    let mut r = Reader(value);
    let format = r.u8()?;
    if format > FORMAT {
        return Err(FormatError::Newer { found: u32::from(format), supported: u32::from(FORMAT) });
    }
    let _reserved = r.u8()?;
    let extension = usize::from(r.u16()?);
    let stored = r.u32()?;
    let unit = if format == 1 { size_of::<u64>() } else { 1 };
    let length = usize::try_from(r.u32()?).ok().and_then(|count| count.checked_mul(unit));
    r.bytes(extension)?;
    let mut directory = Reader(r.bytes(length.ok_or(FormatError::Corrupt("its directory is too long"))?)?);
    let body = r.0;
    if check(&value[..4], &value[8..value.len() - body.len()]) != stored {
        return Err(FormatError::Corrupt("the directory's checksum does not match"));
    }
    let mut contents = Contents { prewrites: Vec::new(), commits: Vec::new(), body };
    if format == 1 {
        while !directory.0.is_empty() {
            contents.prewrites.push(StartTs::new(directory.u64()?));
        }
        return Ok(contents);
    }
    let (prewrites, commits) = (directory.varint()?, directory.varint()?);
    let mut last = 0;
    for _ in 0..prewrites {
        contents.prewrites.push(start(&mut directory, &mut last)?);
    }
    last = 0;
    for _ in 0..commits {
        let start_ts = start(&mut directory, &mut last)?;
        let commit_ts = CommitTs::new(start_ts.raw().wrapping_add(directory.varint()?));
        let extra = usize::try_from(directory.varint()?).unwrap_or(usize::MAX);
        contents.commits.push(Committed { start_ts, commit_ts, extra });
    }
    directory.end()?;
    Ok(contents)
}

impl Contents<'_> {
    /// Reads the body.
    pub(crate) fn unpack(&self) -> Result<Unpacked, FormatError> {
        let packed = if self.body.is_empty() { Vec::new() } else { packed::unpack(self.body)?.into_owned() };
        let mut body = Bytes::from(packed);
        let mut take = |length: usize| {
            (length <= body.len())
                .then(|| body.split_to(length))
                .ok_or(FormatError::Corrupt("it ends too early"))
        };
        let mut unpacked = Unpacked::default();
        for start_ts in &self.prewrites {
            let length = Reader(&take(size_of::<u32>())?).u32()?;
            unpacked.records.push((*start_ts, take(usize::try_from(length).unwrap_or(usize::MAX))?));
        }
        for committed in &self.commits {
            unpacked.extras.push(take(committed.extra)?);
        }
        if !body.is_empty() {
            return Err(FormatError::Corrupt("bytes follow its end"));
        }
        unpacked.records.sort_by_key(|(start_ts, _)| *start_ts);
        Ok(unpacked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Records = Vec<(StartTs, Bytes)>;
    type Commit = (StartTs, CommitTs, Bytes);

    fn read(value: &[u8]) -> Result<(Records, Vec<Commit>), FormatError> {
        let contents = split(value)?;
        let Unpacked { records, extras } = contents.unpack()?;
        let commits = contents.commits.iter().zip(extras);
        let commits = commits.map(|(known, extra)| (known.start_ts, known.commit_ts, extra)).collect();
        Ok((records, commits))
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
    }

    fn commits() -> impl Strategy<Value = Vec<Commit>> {
        let ts = || prop_oneof![any::<u64>(), 0..300_u64];
        let commit = (ts(), ts(), bytes())
            .prop_map(|(start, commit, extra)| (StartTs::new(start), CommitTs::new(commit), extra));
        proptest::collection::vec(commit, 0..20)
    }

    proptest! {
        #[test]
        fn bundles_come_back_and_damage_is_noticed(
            records in proptest::collection::hash_map(any::<u64>(), bytes(), 0..20), commits in commits(),
            at in any::<proptest::sample::Index>(), bit in 0..8,
        ) {
            let mut draft = Draft::default();
            for (start, record) in &records {
                draft.add(StartTs::new(*start), record);
            }
            for (start_ts, commit_ts, extra) in &commits {
                draft.commit(*start_ts, *commit_ts, extra);
            }
            let mut value = draft.finish(&mut Packer::default()).to_vec();
            prop_assert_eq!(draft.bytes(), 0);
            let mut expected: Records =
                records.into_iter().map(|(start, record)| (StartTs::new(start), record)).collect();
            expected.sort();
            prop_assert_eq!(read(&value).unwrap(), (expected, commits));
            let at = at.index(value.len());
            prop_assert!(read(&value[..at]).is_err());
            value[at] ^= 1_u8 << bit;
            prop_assert!(read(&value).is_err());
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&bytes);
        }

        #[test]
        fn arbitrary_directories_do_no_harm(format in 1..3_u8, directory in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut value = vec![format, 0, 0, 0, 0, 0, 0, 0];
            let unit = if format == 1 { 8 } else { 1 };
            value.extend_from_slice(&(directory.len() as u32 / unit).to_be_bytes());
            value.extend_from_slice(&directory);
            let check = check(&value[..4], &value[8..]);
            value[4..8].copy_from_slice(&check.to_be_bytes());
            let _ = read(&value);
        }
    }

    #[test]
    fn the_directory_outlives_the_body() {
        let mut draft = Draft::default();
        draft.add(StartTs::new(7), b"seven");
        draft.add(StartTs::new(5), b"five");
        draft.commit(StartTs::new(6), CommitTs::new(8), b"six");
        let mut value = draft.finish(&mut Packer::default()).to_vec();
        *value.last_mut().unwrap() ^= 1;
        let contents = split(&value).unwrap();
        assert_eq!(contents.prewrites, [StartTs::new(7), StartTs::new(5)]);
        let committed = Committed { start_ts: StartTs::new(6), commit_ts: CommitTs::new(8), extra: 3 };
        assert_eq!(contents.commits, [committed]);
        assert!(matches!(contents.unpack(), Err(FormatError::Corrupt(_))));
    }

    #[test]
    fn a_commit_takes_a_few_bytes() {
        let mut draft = Draft::default();
        let second = 1000_u64 << 18;
        for n in 0..100_u64 {
            let start = (n << 18) + 400_000_000 * second;
            draft.commit(StartTs::new(start), CommitTs::new(start + (9 << 18)), &[]);
        }
        let length = draft.finish(&mut Packer::default()).len();
        assert!(length < 900, "{length}");
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let mut value = Draft::default().finish(&mut Packer::default()).to_vec();
        value[0] = 3;
        assert_eq!(read(&value), Err(FormatError::Newer { found: 3, supported: 2 }));
    }

    #[test]
    fn what_earlier_versions_wrote_is_read() {
        let mut value = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        for start in [7_u64, 5] {
            value.extend_from_slice(&start.to_be_bytes());
        }
        let check = check(&value[..4], &value[8..]);
        value[4..8].copy_from_slice(&check.to_be_bytes());
        value.extend_from_slice(Packer::default().pack(b"\0\0\0\x05seven\0\0\0\x04five"));
        let expected = [(StartTs::new(5), Bytes::from("five")), (StartTs::new(7), Bytes::from("seven"))];
        assert_eq!(read(&value), Ok((expected.to_vec(), Vec::new())));
    }
}
