//! Deterministic payloads: the bodies of prewrite binlogs, TiDB-encoded, half of each row random and half compressible.

use binlog_proto::binlog::{Binlog, BinlogType, MutationType, PrewriteValue, TableMutation};
use binlog_proto::split_prewrite;
use bytes::Bytes;
use prost::Message as _;
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};

/// Makes transactions of one size; the same seed makes the same bytes.
pub(crate) struct Payloads {
    rng: SmallRng,
    row: Vec<u8>,
}

impl Payloads {
    pub(crate) fn new(seed: u64, size: usize) -> Self {
        Payloads { rng: SmallRng::seed_from_u64(seed), row: vec![b'x'; size.max(64)] }
    }

    /// The prewrite binlog of the next transaction.
    pub(crate) fn prewrite(&mut self, start_ts: u64) -> Binlog {
        let half = self.row.len() / 2;
        self.rng.fill_bytes(&mut self.row[..half]);
        // An old-format row: int handle, then one (column id, compact bytes) pair.
        let mut row = vec![0x08];
        prost::encoding::encode_varint(start_ts << 1, &mut row);
        row.extend_from_slice(&[0x08, 0x04, 0x02]);
        prost::encoding::encode_varint((self.row.len() as u64) << 1, &mut row);
        row.extend_from_slice(&self.row);
        let value = PrewriteValue {
            schema_version: 1,
            mutations: vec![TableMutation {
                table_id: 100,
                inserted_rows: vec![row.into()],
                sequence: vec![MutationType::Insert as i32],
                ..TableMutation::default()
            }],
        };
        Binlog {
            tp: BinlogType::Prewrite as i32,
            start_ts: start_ts as i64,
            prewrite_key: Some(key(start_ts)),
            prewrite_value: Some(value.encode_to_vec().into()),
            ..Binlog::default()
        }
    }

    /// The body that a store keeps of the next transaction.
    pub(crate) fn body(&mut self, start_ts: u64) -> Bytes {
        split_prewrite(&self.prewrite(start_ts)).encode_to_vec().into()
    }
}

/// The primary key of the transaction's row.
pub(crate) fn key(start_ts: u64) -> Bytes {
    let mut key = b"t\x80\0\0\0\0\0\0\x64_r".to_vec();
    key.extend_from_slice(&(start_ts ^ 1 << 63).to_be_bytes());
    key.into()
}
