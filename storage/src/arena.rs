//! Memory for many small byte strings: one allocation a chunk instead of one a record.

use bytes::{Bytes, BytesMut};

/// What one allocation holds. A string keeps its whole chunk alive, so chunks are small beside what a reader has in hand.
const CHUNK: usize = 64 << 10;
/// What is this long gets an allocation of its own.
const LARGE: usize = CHUNK / 4;

/// Copies byte strings into chunks.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    chunk: BytesMut,
}

impl Arena {
    /// A copy of `bytes` that is cheap to make and to clone.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.is_empty() {
            return Bytes::new();
        }
        if bytes.len() >= LARGE {
            return Bytes::copy_from_slice(bytes);
        }
        if self.chunk.capacity() - self.chunk.len() < bytes.len() {
            self.chunk = BytesMut::with_capacity(CHUNK);
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_all_lengths_come_back_and_outlive_the_arena() {
        let mut arena = Arena::default();
        let source: Vec<u8> = (0..CHUNK).map(|n| (n % 251) as u8).collect();
        let lengths = || (0..500).map(|n| n * 37 % (LARGE + 100)).chain([0, 1, LARGE - 1, LARGE, CHUNK]);
        let copies: Vec<Bytes> = lengths().map(|length| arena.copy(&source[..length])).collect();
        drop(arena);
        for (length, copy) in lengths().zip(copies) {
            assert_eq!(copy, source[..length]);
        }
    }
}
