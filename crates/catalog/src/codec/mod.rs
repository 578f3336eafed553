//! TiDB's encodings of single values: datums, decimals, times, binary JSON, memcomparable keys. Everything here is byte work over
//! bounded readers: no length is believed before it is checked.

mod bytes_key;
mod datum;
mod decimal;
mod float;
mod json;
mod json_build;
mod reader;
mod time;

pub use bytes_key::{decode_bytes_key, encode_bytes_key};
pub use datum::Datum;
pub use decimal::{decode_decimal, encode_decimal};
pub use float::{float_text, json_number_text};
pub use json::JsonBinary;
pub use reader::{Reader, put_uvarint, put_varint};
pub use time::{Duration, PackedTime, TimeKind};

/// Why bytes are no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The input ends too early.
    #[error("the bytes end at offset {at}, where {wanted} more were expected")]
    Truncated {
        /// Offset where they were missing.
        at: usize,
        /// How many.
        wanted: usize,
    },
    /// A datum that begins with a byte that stands for no type.
    #[error("unknown datum flag {flag:#04x} at offset {at}")]
    Flag {
        /// The byte.
        flag: u8,
        /// Its offset.
        at: usize,
    },
    /// Bytes of the right length that mean nothing.
    #[error("{0}")]
    Invalid(String),
}

impl CodecError {
    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        CodecError::Invalid(what.into())
    }
}
