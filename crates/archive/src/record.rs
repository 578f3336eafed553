//! Records of one file.

use std::io::{self, Read};

use bytes::Bytes;

use crate::Damage;

/// The first four bytes of a record, little endian.
pub const MAGIC: u32 = 0x1c1b_0504;
const HEADER: usize = 12;
const CHECKSUM: usize = 4;
/// Longest payload: what a protobuf message may have.
const LONGEST: u64 = i32::MAX as u64;
/// Bytes that are taken on trust before they were read.
const CHUNK: usize = 1 << 20;

/// A record whose checksum is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRecord {
    /// Where it begins in the file's uncompressed bytes.
    pub offset: u64,
    /// Its contents.
    pub payload: Bytes,
}

/// Reads records one after the other, and finds the next one behind damage.
pub struct RecordReader<R> {
    from: R,
    /// Read, but not used.
    buffer: Vec<u8>,
    /// Where in `buffer` the next record begins.
    at: usize,
    /// Offset of `at` in the file.
    offset: u64,
    ended: bool,
}

/// Why no record was read.
#[derive(Debug)]
pub(crate) enum Failure {
    Io(io::Error),
    Damage(Damage),
}

impl From<io::Error> for Failure {
    /// Bytes that do not unpack are damage, like others.
    fn from(error: io::Error) -> Self {
        if is_unpack(&error) {
            Failure::Damage(Damage::Unpack(error.to_string()))
        } else {
            Failure::Io(error)
        }
    }
}

impl<R: Read> RecordReader<R> {
    /// Reads from the beginning of a file.
    pub fn new(from: R) -> Self {
        RecordReader { from, buffer: Vec::new(), at: 0, offset: 0, ended: false }
    }

    /// Where the next record begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record; None at the end of the file. After damage the position is where it was.
    ///
    /// # Errors
    /// Whatever reading gives, and [`Damage`].
    pub(crate) fn read(&mut self) -> Result<Option<RawRecord>, Failure> {
        let have = self.fill(HEADER)?;
        if have == 0 {
            return Ok(None);
        }
        let torn = |have: usize| Failure::Damage(Damage::Torn { have: have as u64 });
        let head = self.head(HEADER);
        let magic = head.first_chunk::<4>().map(|b| u32::from_le_bytes(*b)).ok_or_else(|| torn(have))?;
        if magic != MAGIC {
            return Err(Failure::Damage(Damage::Magic { found: magic }));
        }
        let length = head.get(4..HEADER).and_then(|b| b.first_chunk::<8>());
        let length = length.map(|b| u64::from_le_bytes(*b)).ok_or_else(|| torn(have))?;
        if length > LONGEST {
            return Err(Failure::Damage(Damage::Length { length }));
        }
        let whole = HEADER + length as usize + CHECKSUM;
        let have = self.fill(whole)?;
        let record = self.head(whole);
        let (Some(payload), Some(stored)) = (
            record.get(HEADER..whole - CHECKSUM),
            record.get(whole - CHECKSUM..).and_then(|b| b.first_chunk::<4>()),
        ) else {
            return Err(torn(have));
        };
        let (stored, computed) = (u32::from_le_bytes(*stored), crc32c::crc32c(payload));
        if stored != computed {
            return Err(Failure::Damage(Damage::Checksum { stored, computed }));
        }
        let payload = Bytes::copy_from_slice(payload);
        let record = RawRecord { offset: self.offset, payload };
        self.skip(whole);
        Ok(Some(record))
    }

    /// Behind damage: passes over bytes to the next place where a record with a right checksum begins. None: there is none, and the reader is at
    /// its end.
    pub(crate) fn resync(&mut self) -> Result<Option<u64>, Failure> {
        loop {
            self.skip(1);
            if self.fill(4)? < 4 {
                let rest = self.buffer.len() - self.at;
                self.skip(rest);
                return Ok(None);
            }
            let magic = MAGIC.to_le_bytes();
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            let Some(found) = rest.windows(4).position(|window| window == magic) else {
                self.skip(rest.len().saturating_sub(4));
                continue;
            };
            self.skip(found);
            // From the buffer's beginning `read` leaves everything in it, so that it can be read once more.
            self.drop_used();
            let offset = self.offset;
            match self.read() {
                Ok(_) => {
                    (self.at, self.offset) = (0, offset);
                    return Ok(Some(offset));
                }
                Err(Failure::Damage(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    fn head(&self, len: usize) -> &[u8] {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        rest.get(..len).unwrap_or(rest)
    }

    fn skip(&mut self, len: usize) {
        let len = len.min(self.buffer.len() - self.at);
        self.at += len;
        self.offset += len as u64;
    }

    fn drop_used(&mut self) {
        self.buffer.drain(..self.at);
        self.at = 0;
    }

    /// Makes `len` bytes from the position on available, as far as the file has them; returns how many of them there are.
    fn fill(&mut self, len: usize) -> Result<usize, Failure> {
        if self.at > CHUNK || self.at == self.buffer.len() {
            self.drop_used();
        }
        while !self.ended && self.buffer.len() - self.at < len {
            let from = self.buffer.len();
            self.buffer.resize(from + CHUNK, 0);
            let read = match self.buffer.get_mut(from..) {
                Some(room) => self.from.read(room),
                None => Ok(0),
            };
            let read = match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.buffer.truncate(from);
                    continue;
                }
                other => other,
            };
            self.buffer.truncate(from + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((self.buffer.len() - self.at).min(len))
    }
}

fn is_unpack(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(payload: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_le_bytes().to_vec();
        out.extend((payload.len() as u64).to_le_bytes());
        out.extend(payload);
        out.extend(crc32c::crc32c(payload).to_le_bytes());
        out
    }

    fn payloads(bytes: &[u8]) -> (Vec<Bytes>, Option<Damage>) {
        let mut reader = RecordReader::new(bytes);
        let mut out = Vec::new();
        loop {
            match reader.read() {
                Ok(Some(record)) => out.push(record.payload),
                Ok(None) => return (out, None),
                Err(Failure::Damage(damage)) => return (out, Some(damage)),
                Err(Failure::Io(error)) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_original() {
        let golden = *b"\x04\x05\x1b\x1c\x0a\0\0\0\0\0\0\0binlogtest\x1e\x0b\x05\x49";
        assert_eq!(record(b"binlogtest"), golden);
        assert_eq!(payloads(&golden).0, [Bytes::from_static(b"binlogtest")]);
    }

    #[test]
    fn damage_is_named() {
        let good = record(b"abc");
        for cut in 1..good.len() {
            let (_, damage) = payloads(&good[..cut]);
            assert_eq!(damage, Some(Damage::Torn { have: cut as u64 }));
        }
        let flipped = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x80;
            payloads(&bytes).1.unwrap()
        };
        assert!(matches!(flipped(0), Damage::Magic { .. }));
        assert!(matches!(flipped(11), Damage::Length { .. }));
        assert!(matches!(flipped(13), Damage::Checksum { .. }));
        // A length that is only huge does not get its memory.
        assert!(matches!(flipped(6), Damage::Torn { .. }));
    }

    #[test]
    fn a_good_record_far_behind_damage_is_found() {
        for (before, damaged) in [(10, 3 * CHUNK), (CHUNK + 5, 10), (CHUNK + 5, 2 * CHUNK), (0, CHUNK)] {
            let mut bytes = record(&vec![1; before]);
            bytes.extend(record(&vec![2; damaged]));
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            let good = bytes.len() as u64;
            bytes.extend(record(b"good"));
            bytes.extend(record(&vec![3; CHUNK]));
            let mut reader = RecordReader::new(bytes.as_slice());
            assert!(matches!(reader.read(), Ok(Some(_))));
            assert!(matches!(reader.read(), Err(Failure::Damage(_))));
            assert!(matches!(reader.resync(), Ok(Some(found)) if found == good), "{before}, {damaged}");
            assert!(matches!(reader.read(), Ok(Some(record)) if record.payload == "good"));
            assert!(matches!(reader.read(), Ok(Some(record)) if record.payload.len() == CHUNK));
            assert!(matches!(reader.read(), Ok(None)));
        }
    }

    proptest! {
        #[test]
        fn the_next_good_record_is_found(first: Vec<u8>, junk: Vec<u8>, second: Vec<u8>, cut in 0usize..64) {
            let mut bytes = record(&first);
            bytes.truncate(bytes.len().saturating_sub(1 + cut));
            bytes.extend(&junk);
            let good = bytes.len() as u64;
            bytes.extend(record(&second));
            let mut reader = RecordReader::new(bytes.as_slice());
            if matches!(reader.read(), Err(Failure::Damage(_))) {
                let Ok(found) = reader.resync() else { panic!("in memory") };
                prop_assert_eq!(found, Some(good));
                let Ok(Some(record)) = reader.read() else { panic!("a good record") };
                prop_assert_eq!(record.payload, second);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            payloads(&bytes);
        }
    }
}
