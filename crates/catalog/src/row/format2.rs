//! Row format 2.
//!
//! ```text
//! 80 | flags (bit 0: large) | u16 not-null count | u16 null count | column ids: not-null, null | end offsets | data
//! ```
//! Ids are u8 and offsets u16, or both u32 in large rows; little-endian, ids sorted inside their group.

use bytes::Bytes;

use super::convert::{number_of_names, time, vector_text};
use crate::codec::{CodecError, Datum, JsonBinary, Reader};
use crate::{ColumnType, Value, tp};

/// First byte of such a row.
pub(crate) const MARK: u8 = 0x80;
const LARGE: u8 = 1;

/// Calls `each` with the id and the data of every column; no data: NULL.
pub(crate) fn walk<E: From<CodecError>>(
    row: &Bytes,
    mut each: impl FnMut(i64, Option<Bytes>) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader::new(row.clone());
    let head: [u8; 6] = reader.array()?;
    if head[0] != MARK {
        return Err(CodecError::invalid(format!("row format {:#04x}", head[0])).into());
    }
    let large = head[1] & LARGE != 0;
    let not_null = usize::from(u16::from_le_bytes([head[2], head[3]]));
    let null = usize::from(u16::from_le_bytes([head[4], head[5]]));
    let ids = numbers(&mut reader, not_null + null, if large { 4 } else { 1 })?;
    let ends = numbers(&mut reader, not_null, if large { 4 } else { 2 })?;
    let data = row.slice(reader.position()..);
    let mut start = 0;
    for (i, id) in ids.iter().enumerate() {
        let Some(end) = ends.get(i).copied() else {
            each(*id as i64, None)?;
            continue;
        };
        if start > end || end > data.len() {
            return Err(
                CodecError::invalid(format!("column {id} of a row ends at {end} of {}", data.len())).into()
            );
        }
        each(*id as i64, Some(data.slice(start..end)))?;
        start = end;
    }
    Ok(())
}

fn numbers(reader: &mut Reader, count: usize, width: usize) -> Result<Vec<usize>, CodecError> {
    let bytes = reader.slice(count * width)?;
    Ok(bytes.chunks_exact(width).map(|c| c.iter().rev().fold(0, |v, b| v << 8 | usize::from(*b))).collect())
}

/// A column's value from its data.
pub(crate) fn value_of_data(data: Bytes, ty: &ColumnType) -> Result<Value, CodecError> {
    Ok(match ty.tp {
        tp::TINY | tp::SHORT | tp::INT24 | tp::LONG | tp::LONGLONG if ty.is_unsigned() => {
            Value::UInt(unsigned(&data)?)
        }
        tp::TINY | tp::SHORT | tp::INT24 | tp::LONG | tp::LONGLONG => Value::Int(signed(&data)?),
        tp::YEAR => Value::Year(signed(&data)?),
        tp::FLOAT | tp::DOUBLE => super::value_of(datum_of_data(5, &data)?, ty)?,
        tp::NEW_DECIMAL => super::value_of(datum_of_data(6, &data)?, ty)?,
        tp::DATE | tp::NEW_DATE | tp::DATETIME | tp::TIMESTAMP => time(unsigned(&data)?, ty)?,
        tp::DURATION => Value::Duration { nanos: signed(&data)?, fsp: ty.fsp() },
        tp::ENUM | tp::SET | tp::BIT => number_of_names(unsigned(&data)?, ty)?,
        tp::JSON => {
            let json = JsonBinary::decode(&mut Reader::new(data))?;
            json.validate()?;
            Value::Json(json)
        }
        tp::VECTOR_FLOAT32 => vector_text(&data),
        _ if ty.is_text() => Value::Text(data),
        _ => Value::Bytes(data),
    })
}

/// Floats and decimals stand here as in a datum, without its flag.
fn datum_of_data(flag: u8, data: &[u8]) -> Result<Datum, CodecError> {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(flag);
    bytes.extend_from_slice(data);
    Datum::decode(&mut Reader::new(bytes.into()))
}

fn unsigned(data: &[u8]) -> Result<u64, CodecError> {
    match data.len() {
        1 | 2 | 4 | 8 => Ok(data.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b))),
        other => Err(CodecError::invalid(format!("a number of {other} bytes"))),
    }
}

fn signed(data: &[u8]) -> Result<i64, CodecError> {
    let shift = 64 - 8 * data.len().min(8) as u32;
    // Sign extension from the width it has.
    unsigned(data).map(|v| ((v << shift) as i64) >> shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn columns(row: &[u8]) -> Result<Vec<(i64, Option<Bytes>)>, CodecError> {
        let mut out = Vec::new();
        walk(&Bytes::copy_from_slice(row), |id, data| {
            out.push((id, data));
            Ok::<_, CodecError>(())
        })?;
        Ok(out)
    }

    #[test]
    fn small_and_large_rows() {
        let small = [0x80, 0, 2, 0, 1, 0, 1, 3, 2, 1, 0, 3, 0, 7, 0x2c, 1];
        assert_eq!(
            columns(&small).unwrap(),
            [(1, Some(Bytes::from_static(&[7]))), (3, Some(Bytes::from_static(&[0x2c, 1]))), (2, None)]
        );
        let large = [0x80, 1, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0xff];
        assert_eq!(columns(&large).unwrap(), [(256, Some(Bytes::from_static(&[0xff])))]);
        assert_eq!(
            value_of_data(Bytes::from_static(&[0xff]), &ColumnType::bigint()).unwrap(),
            Value::Int(-1)
        );
        assert_eq!(
            value_of_data(Bytes::from_static(&[0x2c, 1]), &ColumnType::int()).unwrap(),
            Value::Int(300)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut row: Vec<u8>) {
            row.insert(0, MARK);
            let _ = columns(&row);
        }
    }
}
