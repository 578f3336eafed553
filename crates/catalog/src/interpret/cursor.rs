//! Protocol buffers read field by field from where they lie.

use std::sync::Arc;

use bytes::Bytes;

use super::large::Blob;
use crate::Error;

/// Bytes that are read at once.
const CHUNK: u64 = 128 << 10;

/// A place in a message.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    blob: Arc<dyn Blob>,
    /// What was read last, and where it lies.
    chunk: Bytes,
    chunk_at: u64,
    at: u64,
    end: u64,
}

/// A field; of one with a length the cursor stands at its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Number(u64),
    Bytes(u64),
    /// A number of fixed width, of which none is read here.
    Other,
}

impl Cursor {
    /// Over `start..end` of the blob.
    pub(super) fn new(blob: Arc<dyn Blob>, start: u64, end: u64) -> Self {
        Cursor { blob, chunk: Bytes::new(), chunk_at: start, at: start, end }
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.end
    }

    /// The next field's number and content; None at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u64, Content)>, Error> {
        if self.is_at_end() {
            return Ok(None);
        }
        let key = self.varint()?;
        let content = match key & 7 {
            0 => Content::Number(self.varint()?),
            1 => {
                self.skip(8)?;
                Content::Other
            }
            2 => {
                let bytes = self.varint()?;
                if bytes > self.end - self.at {
                    return Err(self.broken("a field that reaches beyond the end"));
                }
                Content::Bytes(bytes)
            }
            5 => {
                self.skip(4)?;
                Content::Other
            }
            kind => return Err(self.broken(&format!("a field of the unknown kind {kind}"))),
        };
        Ok(Some((key >> 3, content)))
    }

    pub(super) fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            self.load(1)?;
            let byte = self.chunk.get((self.at - self.chunk_at) as usize).copied().unwrap_or_default();
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.broken("a number that does not end"))
    }

    pub(super) fn skip(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes > self.end - self.at {
            return Err(self.broken("less than it says"));
        }
        self.at += bytes;
        Ok(())
    }

    pub(super) fn take(&mut self, bytes: u64) -> Result<Bytes, Error> {
        self.load(bytes)?;
        let from = (self.at - self.chunk_at) as usize;
        self.at += bytes;
        Ok(self.chunk.slice(from..from + bytes as usize))
    }

    /// Makes the next `bytes` part of the chunk.
    fn load(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes > self.end - self.at {
            return Err(self.broken("less than it says"));
        }
        let loaded = self.chunk_at..self.chunk_at + self.chunk.len() as u64;
        if loaded.contains(&self.at) && self.at + bytes <= loaded.end {
            return Ok(());
        }
        let length = CHUNK.max(bytes).min(self.end - self.at);
        let length = usize::try_from(length).map_err(|_| self.broken("a row beyond all bounds"))?;
        let mut chunk = vec![0; length];
        self.blob.read_at(self.at, &mut chunk).map_err(Error::PutAside)?;
        (self.chunk, self.chunk_at) = (chunk.into(), self.at);
        Ok(())
    }

    fn broken(&self, what: &str) -> Error {
        Error::Row(format!("the record has {what}, at byte {}", self.at))
    }
}
