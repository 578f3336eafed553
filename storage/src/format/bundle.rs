//! The value in `bundle`: the small prewrites of one batch, compressed together.
//!
//! ```text
//! 0  format u8 = 1
//! 1  reserved u8 = 0
//! 2  extension u16     bytes before the directory, to skip
//! 4  check u32         CRC-32 of bytes 0..4 and 8.. up to the body
//! 8  count u32
//! 12 extension ‖ directory: count × start_ts u64 ‖ body
//! ```
//!
//! The body is [`packed`]: `count` × (length u32 ‖ [`record`](super::record)). It has a check of its own, so that where it is damaged the
//! directory still says which transactions it held.

use binlog_types::StartTs;
use bytes::Bytes;
use static_assertions::const_assert_eq;

use super::packed::{self, Packer};
use super::reader::Reader;
use super::{FormatError, check};

const FORMAT: u8 = 1;
const HEADER_LEN: usize = 12;
const_assert_eq!(HEADER_LEN, 1 + 1 + 2 + 4 + 4);

/// A bundle under way.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    starts: Vec<StartTs>,
    body: Vec<u8>,
    out: Vec<u8>,
}

impl Draft {
    /// Adds the record of a prewrite.
    pub(crate) fn add(&mut self, start_ts: StartTs, record: &[u8]) {
        let length = u32::try_from(record.len()).expect("only small prewrites are bundled");
        self.starts.push(start_ts);
        self.body.extend_from_slice(&length.to_be_bytes());
        self.body.extend_from_slice(record);
    }

    /// Its bytes before they are compressed.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Forgets what was added.
    pub(crate) fn clear(&mut self) {
        self.starts.clear();
        self.body.clear();
    }

    /// The value; the draft is empty then.
    pub(crate) fn finish(&mut self, packer: &mut Packer) -> &[u8] {
        let out = &mut self.out;
        out.clear();
        out.extend_from_slice(&[FORMAT, 0, 0, 0, 0, 0, 0, 0]);
        let count = u32::try_from(self.starts.len()).expect("a bundle is small");
        out.extend_from_slice(&count.to_be_bytes());
        for start_ts in &self.starts {
            out.extend_from_slice(&start_ts.raw().to_be_bytes());
        }
        let check = check(&out[..4], &out[8..]);
        out[4..8].copy_from_slice(&check.to_be_bytes());
        out.extend_from_slice(packer.pack(&self.body));
        self.starts.clear();
        self.body.clear();
        &self.out
    }
}

/// The transactions of a bundle, and its body as it is packed.
pub(crate) fn split(value: &[u8]) -> Result<(Vec<StartTs>, &[u8]), FormatError> {
    let mut r = Reader(value);
    let format = r.u8()?;
    if format > FORMAT {
        return Err(FormatError::Newer { found: u32::from(format), supported: u32::from(FORMAT) });
    }
    let _reserved = r.u8()?;
    let extension = usize::from(r.u16()?);
    let stored = r.u32()?;
    let too_long = FormatError::Corrupt("its directory is too long");
    let directory = usize::try_from(r.u32()?).ok().and_then(|count| count.checked_mul(size_of::<u64>()));
    r.bytes(extension)?;
    let mut directory = Reader(r.bytes(directory.ok_or(too_long)?)?);
    let body = r.0;
    if check(&value[..4], &value[8..value.len() - body.len()]) != stored {
        return Err(FormatError::Corrupt("the directory's checksum does not match"));
    }
    let mut starts = Vec::with_capacity(directory.0.len() / size_of::<u64>());
    while !directory.0.is_empty() {
        starts.push(StartTs::new(directory.u64()?));
    }
    Ok((starts, body))
}

/// The records of a bundle whose [`split`] gave these `starts` and this `body`; ascending by start_ts.
pub(crate) fn records(starts: &[StartTs], body: &[u8]) -> Result<Vec<(StartTs, Bytes)>, FormatError> {
    let mut body = Bytes::from(packed::unpack(body)?.into_owned());
    let mut records = Vec::with_capacity(starts.len());
    for start_ts in starts {
        let length = Reader(&body).u32()?;
        let end = usize::try_from(length).ok().and_then(|length| length.checked_add(size_of::<u32>()));
        let end = end.filter(|end| *end <= body.len()).ok_or(FormatError::Corrupt("it ends too early"))?;
        records.push((*start_ts, body.split_to(end).slice(size_of::<u32>()..)));
    }
    if !body.is_empty() {
        return Err(FormatError::Corrupt("bytes follow its end"));
    }
    records.sort_by_key(|(start_ts, _)| *start_ts);
    Ok(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(value: &[u8]) -> Result<Vec<(StartTs, Bytes)>, FormatError> {
        let (starts, body) = split(value)?;
        records(&starts, body)
    }

    proptest! {
        #[test]
        fn bundles_come_back_and_damage_is_noticed(
            records in proptest::collection::btree_map(any::<u64>(), proptest::collection::vec(any::<u8>(), 0..40), 0..20),
            at in any::<proptest::sample::Index>(), bit in 0..8,
        ) {
            let mut draft = Draft::default();
            for (start, record) in &records {
                draft.add(StartTs::new(*start), record);
            }
            let mut value = draft.finish(&mut Packer::default()).to_vec();
            prop_assert_eq!(draft.bytes(), 0);
            let expected: Vec<_> =
                records.into_iter().map(|(start, record)| (StartTs::new(start), Bytes::from(record))).collect();
            prop_assert_eq!(read(&value).unwrap(), expected);
            let at = at.index(value.len());
            prop_assert!(read(&value[..at]).is_err());
            value[at] ^= 1_u8 << bit;
            prop_assert!(read(&value).is_err());
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn the_directory_outlives_the_body() {
        let mut draft = Draft::default();
        draft.add(StartTs::new(7), b"seven");
        draft.add(StartTs::new(5), b"five");
        let mut value = draft.finish(&mut Packer::default()).to_vec();
        *value.last_mut().unwrap() ^= 1;
        let (starts, body) = split(&value).unwrap();
        assert_eq!(starts, [StartTs::new(7), StartTs::new(5)]);
        assert!(matches!(records(&starts, body), Err(FormatError::Corrupt(_))));
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let mut value = Draft::default().finish(&mut Packer::default()).to_vec();
        value[0] = 2;
        assert_eq!(read(&value), Err(FormatError::Newer { found: 2, supported: 1 }));
    }
}
