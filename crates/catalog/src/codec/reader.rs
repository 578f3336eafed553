//! A bounded cursor over shared bytes, and Go's varints.

use bytes::{BufMut, Bytes};

use super::CodecError;

/// Reads from the front of shared bytes; what it hands out are slices of them.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    /// A reader at the beginning of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Reader { bytes, at: 0 }
    }

    /// Offset of the next byte.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// What was not read yet.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    /// The next byte, without taking it.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn byte(&mut self) -> Result<u8, CodecError> {
        let byte = self.peek().ok_or(CodecError::Truncated { at: self.at, wanted: 1 })?;
        self.at += 1;
        Ok(byte)
    }

    /// The next `len` bytes, borrowed.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn slice(&mut self, len: usize) -> Result<&[u8], CodecError> {
        let error = CodecError::Truncated { at: self.at, wanted: len };
        let end = self.at.checked_add(len).ok_or(error.clone())?;
        let slice = self.bytes.get(self.at..end).ok_or(error)?;
        self.at = end;
        Ok(slice)
    }

    /// The next `len` bytes, shared.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn take(&mut self, len: usize) -> Result<Bytes, CodecError> {
        let start = self.at;
        self.slice(len)?;
        Ok(self.bytes.slice(start..self.at))
    }

    /// Exactly `N` bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let at = self.at;
        self.slice(N)?.try_into().map_err(|_| CodecError::Truncated { at, wanted: N })
    }

    /// Go's `binary.Uvarint`.
    ///
    /// # Errors
    /// When it does not end, or does not fit 64 bits.
    pub fn uvarint(&mut self) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(CodecError::invalid(format!("a varint before offset {} does not fit 64 bits", self.at)))
    }

    /// Go's `binary.Varint` (zig-zag).
    ///
    /// # Errors
    /// As [`Reader::uvarint`].
    pub fn varint(&mut self) -> Result<i64, CodecError> {
        let raw = self.uvarint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }
}

/// Writes Go's `binary.PutUvarint`.
pub fn put_uvarint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Writes Go's `binary.PutVarint`.
pub fn put_varint(out: &mut impl BufMut, value: i64) {
    put_uvarint(out, ((value << 1) ^ (value >> 63)) as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_come_back(value: i64, unsigned: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            put_uvarint(&mut out, unsigned);
            let mut reader = Reader::new(out.into());
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.uvarint(), Ok(unsigned));
            prop_assert!(reader.is_empty());
        }
    }

    #[test]
    fn lengths_are_checked() {
        let mut reader = Reader::new(Bytes::from_static(&[0xff; 11]));
        assert!(matches!(reader.uvarint(), Err(CodecError::Invalid(_))));
        let mut reader = Reader::new(Bytes::from_static(&[1, 2]));
        assert_eq!(reader.take(usize::MAX), Err(CodecError::Truncated { at: 0, wanted: usize::MAX }));
        assert_eq!(reader.array::<3>(), Err(CodecError::Truncated { at: 0, wanted: 3 }));
        assert_eq!(reader.take(2).unwrap(), [1, 2][..]);
        assert_eq!(reader.byte(), Err(CodecError::Truncated { at: 2, wanted: 1 }));
    }
}
