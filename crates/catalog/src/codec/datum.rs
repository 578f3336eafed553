//! Datums: a flag byte that names the type, then the value.

use bytes::{BufMut, Bytes};

use super::{CodecError, JsonBinary, Reader, decimal, decode_bytes_key, put_uvarint, put_varint};

const NIL: u8 = 0;
const BYTES_KEY: u8 = 1;
const BYTES: u8 = 2;
const INT_KEY: u8 = 3;
const UINT_KEY: u8 = 4;
const FLOAT: u8 = 5;
const DECIMAL: u8 = 6;
const DURATION: u8 = 7;
const VARINT: u8 = 8;
const UVARINT: u8 = 9;
const JSON: u8 = 10;
const VECTOR: u8 = 20;
const MAX: u8 = 250;

const SIGN: u64 = 1 << 63;

/// A value as it lies in a row, before its column says what it means.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// NULL.
    Null,
    /// A signed number; YEAR; TIME in nanoseconds.
    Int(i64),
    /// An unsigned number; packed times; ENUM, SET and BIT.
    UInt(u64),
    /// FLOAT and DOUBLE.
    Float(f64),
    /// Precision, scale and MySQL's binary digits.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
        /// MySQL's binary form.
        digits: Bytes,
    },
    /// TIME in nanoseconds, under its own flag.
    Duration(i64),
    /// Text and bytes.
    Bytes(Bytes),
    /// JSON.
    Json(JsonBinary),
    /// VECTOR: a count and its 32-bit floats.
    Vector(Bytes),
}

impl Datum {
    /// Reads one datum.
    ///
    /// # Errors
    /// When the bytes are no datum.
    pub fn decode(reader: &mut Reader) -> Result<Datum, CodecError> {
        let at = reader.position();
        Ok(match reader.byte()? {
            NIL => Datum::Null,
            BYTES_KEY => Datum::Bytes(decode_bytes_key(reader)?.into()),
            BYTES => {
                let len = checked_len(reader)?;
                Datum::Bytes(reader.take(len)?)
            }
            INT_KEY => Datum::Int(key_int(reader)?),
            UINT_KEY => Datum::UInt(u64::from_be_bytes(reader.array()?)),
            FLOAT => Datum::Float(key_float(u64::from_be_bytes(reader.array()?))),
            DECIMAL => {
                let (precision, scale) = (reader.byte()?, reader.byte()?);
                let digits = reader.take(decimal::binary_size(precision, scale)?)?;
                Datum::Decimal { precision, scale, digits }
            }
            DURATION => Datum::Duration(key_int(reader)?),
            VARINT => Datum::Int(reader.varint()?),
            UVARINT => Datum::UInt(reader.uvarint()?),
            JSON => Datum::Json(JsonBinary::decode(reader)?),
            VECTOR => Datum::Vector(vector(reader)?),
            flag => return Err(CodecError::Flag { flag, at }),
        })
    }

    /// Passes over one datum.
    ///
    /// # Errors
    /// When the bytes are no datum.
    pub fn skip(reader: &mut Reader) -> Result<(), CodecError> {
        if reader.peek() == Some(MAX) {
            reader.byte()?;
            return Ok(());
        }
        Self::decode(reader).map(drop)
    }

    /// Writes the datum in "value" mode, as rows have it: varints and compact bytes.
    pub fn encode(&self, out: &mut impl BufMut) {
        match self {
            Datum::Null => out.put_u8(NIL),
            Datum::Int(v) => {
                out.put_u8(VARINT);
                put_varint(out, *v);
            }
            Datum::UInt(v) => {
                out.put_u8(UVARINT);
                put_uvarint(out, *v);
            }
            Datum::Float(v) => {
                out.put_u8(FLOAT);
                out.put_u64(float_key(*v));
            }
            Datum::Decimal { precision, scale, digits } => {
                out.put_slice(&[DECIMAL, *precision, *scale]);
                out.put_slice(digits);
            }
            Datum::Duration(v) => {
                out.put_u8(DURATION);
                out.put_u64(*v as u64 ^ SIGN);
            }
            Datum::Bytes(v) => {
                out.put_u8(BYTES);
                put_varint(out, v.len() as i64);
                out.put_slice(v);
            }
            Datum::Json(v) => {
                out.put_slice(&[JSON, v.type_code]);
                out.put_slice(&v.body);
            }
            Datum::Vector(v) => {
                out.put_u8(VECTOR);
                out.put_slice(v);
            }
        }
    }
}

fn checked_len(reader: &mut Reader) -> Result<usize, CodecError> {
    let at = reader.position();
    usize::try_from(reader.varint()?)
        .map_err(|_| CodecError::invalid(format!("negative length at offset {at}")))
}

fn key_int(reader: &mut Reader) -> Result<i64, CodecError> {
    Ok((u64::from_be_bytes(reader.array()?) ^ SIGN) as i64)
}

/// A float from its order-preserving bits.
pub(crate) fn key_float(bits: u64) -> f64 {
    f64::from_bits(if bits & SIGN != 0 { bits & !SIGN } else { !bits })
}

fn float_key(value: f64) -> u64 {
    let bits = value.to_bits();
    // As TiDB does: -0.0 is not below zero.
    if value >= 0.0 { bits | SIGN } else { !bits }
}

/// A vector with its little-endian count in front.
fn vector(reader: &mut Reader) -> Result<Bytes, CodecError> {
    let head = reader.rest().first_chunk::<4>().copied();
    let at = reader.position();
    let count = u32::from_le_bytes(head.ok_or(CodecError::Truncated { at, wanted: 4 })?);
    let len = (count as usize).checked_mul(4).and_then(|n| n.checked_add(4));
    reader.take(len.ok_or(CodecError::Truncated { at, wanted: usize::MAX })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arbitrary() -> impl Strategy<Value = Datum> {
        prop_oneof![
            Just(Datum::Null),
            any::<i64>().prop_map(Datum::Int),
            any::<u64>().prop_map(Datum::UInt),
            any::<f64>().prop_filter("-0 has no key of its own", |f| f.is_normal()).prop_map(Datum::Float),
            any::<i64>().prop_map(Datum::Duration),
            any::<Vec<u8>>().prop_map(|v| Datum::Bytes(v.into())),
        ]
    }

    proptest! {
        #[test]
        fn datums_come_back(datums in prop::collection::vec(arbitrary(), 0..8)) {
            let mut out = Vec::new();
            datums.iter().for_each(|d| d.encode(&mut out));
            let mut reader = Reader::new(out.into());
            for datum in datums {
                prop_assert_eq!(Datum::decode(&mut reader).unwrap(), datum);
            }
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(bytes.into());
            while !reader.is_empty() && Datum::decode(&mut reader).is_ok() {}
        }

        #[test]
        fn cut_datums_are_errors(datum in arbitrary(), cut in 1usize..64) {
            let mut out = Vec::new();
            datum.encode(&mut out);
            out.truncate(out.len().saturating_sub(cut));
            prop_assert!(Datum::decode(&mut Reader::new(out.into())).is_err());
        }
    }

    #[test]
    fn key_mode_is_read_too() {
        let mut key = vec![3];
        key.extend((-5i64 as u64 ^ SIGN).to_be_bytes());
        key.push(4);
        key.extend(7u64.to_be_bytes());
        key.push(1);
        super::super::encode_bytes_key(&mut key, b"abc");
        let mut reader = Reader::new(key.into());
        assert_eq!(Datum::decode(&mut reader), Ok(Datum::Int(-5)));
        assert_eq!(Datum::decode(&mut reader), Ok(Datum::UInt(7)));
        assert_eq!(Datum::decode(&mut reader), Ok(Datum::Bytes(Bytes::from_static(b"abc"))));
    }
}
