//! `binlog.Binlog` cut into what the store keeps and put together again, byte for byte as the original pump does.
//!
//! The original's answer to `PullBinlogs` is the commit binlog with the prewrite's data filled in. Its encoder writes the
//! fields in order and never leaves out the numeric ones. So a transaction's answer is
//!
//! ```text
//! 08 01 | 10 start_ts | 18 commit_ts | [22 prewrite_key of the C] | [2a prewrite_value] [32 ddl_query] 38 ddl_job_id 40 ddl_schema_state
//! '---- made when read ----------------------------------------' '---- the P's body, stored once and passed through -----------'
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

use crate::binlog::{Binlog, BinlogType, PrewriteValue};

/// Fields 5 to 8 of a prewrite binlog: its data, without its identity.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Body {
    /// A serialised `PrewriteValue`; absent for DDL.
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub prewrite_value: Option<Bytes>,
    /// The text of a DDL.
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub ddl_query: Option<Bytes>,
    /// The DDL's job; 0 for DML.
    #[prost(int64, required, tag = "7")]
    pub ddl_job_id: i64,
    /// The state that the DDL's object went to.
    #[prost(int32, required, tag = "8")]
    pub ddl_schema_state: i32,
}

impl Body {
    /// The schema version under which the rows were written, read without decoding them; 0 where there is none.
    ///
    /// # Errors
    /// When `prewrite_value` does not begin as a `PrewriteValue`.
    pub fn schema_version(&self) -> Result<i64, prost::DecodeError> {
        let Some(value) = &self.prewrite_value else { return Ok(0) };
        // Field 1 comes first in what TiDB writes; anything else takes the long way.
        match value.split_first() {
            None => Ok(0),
            Some((0x08, rest)) => Ok(prost::encoding::decode_varint(&mut &*rest)? as i64),
            Some(_) => Ok(PrewriteValue::decode(value.clone())?.schema_version),
        }
    }
}

/// The stored body of a prewrite binlog: fields 5 to 8, encoded as the original encodes them.
pub fn split_prewrite(binlog: &Binlog) -> Body {
    Body {
        prewrite_value: binlog.prewrite_value.clone(),
        ddl_query: binlog.ddl_query.clone(),
        ddl_job_id: binlog.ddl_job_id,
        ddl_schema_state: binlog.ddl_schema_state,
    }
}

/// The payload of a `PullBinlogs` entity: head for `start_ts` and `commit_ts`, then the commit binlog's `prewrite_key` field if it had one,
/// then the stored body. `body` may come in pieces.
pub fn compose_commit<'a>(
    tp: BinlogType,
    start_ts: i64,
    commit_ts: i64,
    prewrite_key: Option<&[u8]>,
    body: impl IntoIterator<Item = &'a [u8]> + Clone,
) -> Bytes {
    let (start, commit) = (start_ts as u64, commit_ts as u64);
    let key_len = prewrite_key.map_or(0, |k| 1 + encoded_len_varint(k.len() as u64) + k.len());
    let body_len: usize = body.clone().into_iter().map(<[u8]>::len).sum();
    let mut out = BytesMut::with_capacity(
        4 + encoded_len_varint(start) + encoded_len_varint(commit) + key_len + body_len,
    );
    out.put_slice(&[0x08, tp as u8, 0x10]);
    encode_varint(start, &mut out);
    out.put_u8(0x18);
    encode_varint(commit, &mut out);
    if let Some(key) = prewrite_key {
        out.put_u8(0x22);
        encode_varint(key.len() as u64, &mut out);
        out.put_slice(key);
    }
    for piece in body {
        out.put_slice(piece);
    }
    out.freeze()
}

/// What the store keeps of a commit binlog beside its timestamps (`Fragment.extra`): its `prewrite_key`, with the difference
/// between absent (no byte) and empty (a marker alone).
pub fn encode_extra(prewrite_key: Option<&[u8]>) -> Bytes {
    match prewrite_key {
        None => Bytes::new(),
        Some(key) => {
            let mut extra = BytesMut::with_capacity(1 + key.len());
            extra.put_u8(EXTRA_KEY);
            extra.put_slice(key);
            extra.freeze()
        }
    }
}

/// The `prewrite_key` in what [`encode_extra`] made; for [`compose_commit`].
///
/// # Errors
/// When the bytes begin with a marker that this version does not know.
pub fn decode_extra(extra: &[u8]) -> Result<Option<&[u8]>, UnknownExtra> {
    match extra.split_first() {
        None => Ok(None),
        Some((&EXTRA_KEY, key)) => Ok(Some(key)),
        Some((&marker, _)) => Err(UnknownExtra(marker)),
    }
}

const EXTRA_KEY: u8 = 1;

/// A record's extra bytes were written by a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the commit part of the record begins with the unknown marker {0}; a newer version wrote it")]
pub struct UnknownExtra(pub u8);

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Binlog {
        Binlog {
            tp: BinlogType::Prewrite as i32,
            start_ts: 7,
            commit_ts: 0,
            prewrite_key: Some(Bytes::from_static(b"primary")),
            prewrite_value: Some(
                PrewriteValue { schema_version: 42, mutations: vec![] }.encode_to_vec().into(),
            ),
            ddl_query: None,
            ddl_job_id: 0,
            ddl_schema_state: 0,
        }
    }

    #[test]
    fn composing_equals_encoding_the_joined_message() {
        for key in [None, Some(Bytes::from_static(b"k")), Some(Bytes::new())] {
            let p = sample();
            let joined = Binlog {
                tp: BinlogType::Commit as i32,
                commit_ts: 454_044_713_247_703_041,
                prewrite_key: key.clone(),
                ..p.clone()
            };
            let body = split_prewrite(&p).encode_to_vec();
            let (a, b) = body.split_at(body.len() / 2);
            let composed = compose_commit(BinlogType::Commit, 7, joined.commit_ts, key.as_deref(), [a, b]);
            assert_eq!(composed, joined.encode_to_vec());
        }
    }

    #[test]
    fn an_absent_key_is_not_an_empty_one() {
        for key in [None, Some(&b""[..]), Some(b"key")] {
            assert_eq!(decode_extra(&encode_extra(key)), Ok(key));
        }
        assert_eq!(decode_extra(&[9, 1]), Err(UnknownExtra(9)));
    }

    #[test]
    fn zero_fields_are_written_as_the_original_writes_them() {
        let fake = Binlog { tp: BinlogType::Rollback as i32, start_ts: 5, commit_ts: 5, ..Binlog::default() };
        assert_eq!(fake.encode_to_vec(), [0x08, 2, 0x10, 5, 0x18, 5, 0x38, 0, 0x40, 0]);
        let body = Body::default().encode_to_vec();
        assert_eq!(compose_commit(BinlogType::Rollback, 5, 5, None, [&body[..]]), fake.encode_to_vec());
    }

    #[test]
    fn the_schema_version_is_read_from_the_head() {
        assert_eq!(split_prewrite(&sample()).schema_version().unwrap(), 42);
        assert_eq!(Body::default().schema_version().unwrap(), 0);
        let torn = Body { prewrite_value: Some(Bytes::from_static(&[0x08])), ..Body::default() };
        assert!(torn.schema_version().is_err());
    }
}
