//! The value in `pending` and `log`: a piece of a transaction.
//!
//! ```text
//! 0  format u8 = 1        what follows is laid out like this
//! 1  codec u8 = 0         how the payload is encoded: 0 as it came
//! 2  flags u16            1 DDL, 2 fake, 4 the transaction's last piece
//! 4  extension u16        bytes between this header and the attachment, to skip
//! 6  reserved u16 = 0
//! 8  header check u32     CRC-32 of bytes 0..8, 12..32, the extension and the attachment
//! 12 payload check u32    CRC-32 of the payload
//! 16 schema version i64
//! 24 sequence u32         number of this piece, from 0
//! 28 attachment u32       its length
//! 32 extension ‖ attachment ‖ payload
//! ```
//!
//! The payload has a check of its own so that it is computed once, when P arrives: the record in `log` takes it over.

use binlog_types::SchemaVersion;
use bytes::Bytes;
use static_assertions::const_assert_eq;

use super::reader::Reader;
use super::{FormatError, check};

pub(crate) const FORMAT: u8 = 1;
pub(crate) const HEADER_LEN: usize = 32;
const CODEC_PLAIN: u8 = 0;
const FLAG_DDL: u16 = 1;
const FLAG_FAKE: u16 = 2;
const FLAG_LAST: u16 = 4;
const KNOWN_FLAGS: u16 = FLAG_DDL | FLAG_FAKE | FLAG_LAST;
const_assert_eq!(HEADER_LEN, 1 + 1 + 2 + 2 + 2 + 4 + 4 + 8 + 4 + 4);

/// What is said about a piece beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) ddl: bool,
    pub(crate) fake: bool,
    pub(crate) last: bool,
    pub(crate) schema_version: SchemaVersion,
    pub(crate) sequence: u32,
    /// CRC-32 of the payload, from [`payload_check`].
    pub(crate) payload_check: u32,
}

/// A decoded value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) header: Header,
    pub(crate) attachment: Bytes,
    pub(crate) payload: Bytes,
}

/// The check of a payload.
pub(crate) fn payload_check(payload: &[u8]) -> u32 {
    crc32fast::hash(payload)
}

/// Writes a value into `out`, which is cleared first and may be used again.
pub(crate) fn encode(header: &Header, attachment: &[u8], payload: &[u8], out: &mut Vec<u8>) {
    let mut flags = 0;
    for (set, flag) in [(header.ddl, FLAG_DDL), (header.fake, FLAG_FAKE), (header.last, FLAG_LAST)] {
        if set {
            flags |= flag;
        }
    }
    let attachment_len = u32::try_from(attachment.len()).expect("the store refuses attachments this long");
    out.clear();
    out.reserve(HEADER_LEN + attachment.len() + payload.len());
    out.push(FORMAT);
    out.push(CODEC_PLAIN);
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&header.payload_check.to_be_bytes());
    out.extend_from_slice(&header.schema_version.0.to_be_bytes());
    out.extend_from_slice(&header.sequence.to_be_bytes());
    out.extend_from_slice(&attachment_len.to_be_bytes());
    out.extend_from_slice(attachment);
    let check = check(&out[..8], &out[12..]);
    out[8..12].copy_from_slice(&check.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Reads a value, verifying both checks.
pub(crate) fn decode(value: &[u8]) -> Result<Record, FormatError> {
    let (header, attachment, payload) = verify(value)?;
    Ok(Record {
        header,
        attachment: Bytes::copy_from_slice(attachment),
        payload: Bytes::copy_from_slice(payload),
    })
}

/// Takes a value apart, verifying both checks.
pub(crate) fn verify(value: &[u8]) -> Result<(Header, &[u8], &[u8]), FormatError> {
    let parts = split(value)?;
    if payload_check(parts.2) != parts.0.payload_check {
        return Err(FormatError::Corrupt("the payload's checksum does not match"));
    }
    Ok(parts)
}

/// Takes a value apart, verifying the header's check only.
pub(crate) fn split(value: &[u8]) -> Result<(Header, &[u8], &[u8]), FormatError> {
    let mut r = Reader(value);
    let format = r.u8()?;
    if format > FORMAT {
        return Err(FormatError::Newer { found: u32::from(format), supported: u32::from(FORMAT) });
    }
    if format == 0 {
        return Err(FormatError::Corrupt("it has format 0"));
    }
    let codec = r.u8()?;
    let flags = r.u16()?;
    let extension = usize::from(r.u16()?);
    let _reserved = r.u16()?;
    let stored = r.u32()?;
    let payload_check = r.u32()?;
    let schema_version = SchemaVersion(r.i64()?);
    let sequence = r.u32()?;
    let attachment_len =
        usize::try_from(r.u32()?).map_err(|_| FormatError::Corrupt("its attachment is too long"))?;
    r.bytes(extension)?;
    let attachment = r.bytes(attachment_len)?;
    let payload = r.0;
    let head_len = value.len() - payload.len();
    if check(&value[..8], &value[12..head_len]) != stored {
        return Err(FormatError::Corrupt("the header's checksum does not match"));
    }
    if codec != CODEC_PLAIN {
        return Err(FormatError::Newer { found: u32::from(codec), supported: u32::from(CODEC_PLAIN) });
    }
    if flags & !KNOWN_FLAGS != 0 {
        return Err(FormatError::Corrupt("it has unknown flags"));
    }
    let header = Header {
        ddl: flags & FLAG_DDL != 0,
        fake: flags & FLAG_FAKE != 0,
        last: flags & FLAG_LAST != 0,
        schema_version,
        sequence,
        payload_check,
    };
    Ok((header, attachment, payload))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Record> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from);
        (any::<[bool; 3]>(), any::<i64>(), any::<u32>(), bytes(), bytes()).prop_map(
            |([ddl, fake, last], version, sequence, attachment, payload)| Record {
                header: Header {
                    ddl,
                    fake,
                    last,
                    schema_version: SchemaVersion(version),
                    sequence,
                    payload_check: payload_check(&payload),
                },
                attachment,
                payload,
            },
        )
    }

    fn encoded(record: &Record) -> Vec<u8> {
        let mut out = vec![1, 2, 3];
        encode(&record.header, &record.attachment, &record.payload, &mut out);
        out
    }

    proptest! {
        #[test]
        fn records_come_back(record in record()) {
            prop_assert_eq!(decode(&encoded(&record)).unwrap(), record);
        }

        #[test]
        fn any_flipped_bit_is_noticed(record in record(), at in any::<proptest::sample::Index>(), bit in 0..8) {
            let mut bytes = encoded(&record);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn any_cut_is_noticed(record in record(), at in any::<proptest::sample::Index>()) {
            let bytes = encoded(&record);
            prop_assert!(decode(&bytes[..at.index(bytes.len())]).is_err() || record.payload.is_empty());
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
        }
    }

    fn sample() -> Record {
        let payload = Bytes::from_static(b"payload");
        let header = Header {
            ddl: true,
            fake: false,
            last: true,
            schema_version: SchemaVersion(53),
            sequence: 0,
            payload_check: payload_check(&payload),
        };
        Record { header, attachment: Bytes::from_static(b"key"), payload }
    }

    /// The bytes of format 1, which every later version must read.
    #[test]
    fn format_1_is_pinned() {
        let hex: String = encoded(&sample()).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "01000005000000006710274b422c6a15000000000000003500000000000000036b65797061796c6f6164"
        );
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let mut bytes = encoded(&sample());
        bytes[0] = 2;
        assert_eq!(decode(&bytes), Err(FormatError::Newer { found: 2, supported: 1 }));
    }

    #[test]
    fn an_extension_is_skipped() {
        let plain = encoded(&sample());
        let mut bytes = plain[..HEADER_LEN].to_vec();
        bytes[4..6].copy_from_slice(&3_u16.to_be_bytes());
        bytes.extend_from_slice(b"new");
        bytes.extend_from_slice(b"key");
        let check = check(&bytes[..8], &bytes[12..]);
        bytes[8..12].copy_from_slice(&check.to_be_bytes());
        bytes.extend_from_slice(b"payload");
        assert_eq!(decode(&bytes).unwrap(), sample());
    }
}
