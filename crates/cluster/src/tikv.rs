//! Snapshot reads of TiKV, region by region.
use binlog_types::Ts;
use bytes::Bytes;
use crate::{Error, PdClient};
/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue { pub key: Bytes, pub value: Bytes }
/// Reads raw transactional keys (TiDB's `m…`) at a timestamp; cheap to clone.
#[derive(Clone, Debug)]
pub struct TikvClient { }
impl TikvClient {
    pub fn new(pd: PdClient) -> Self { todo!() }
    pub async fn get(&self, key: &[u8], at: Ts) -> Result<Option<Bytes>, Error> { todo!() }
    /// Up to `limit` pairs of `[start, end)` in order; fewer means the range is done.
    pub async fn scan(&self, start: &[u8], end: &[u8], limit: u32, at: Ts) -> Result<Vec<KeyValue>, Error> { todo!() }
}
