//! What RocksDB counts.

use rocksdb::properties;
use rocksdb::statistics::Ticker;

use super::{Cf, Db};

const TICKERS: [(&str, Ticker); 9] = [
    ("rocksdb_wal_bytes", Ticker::WalFileBytes),
    ("rocksdb_wal_syncs", Ticker::WalFileSynced),
    ("rocksdb_bytes_written", Ticker::BytesWritten),
    ("rocksdb_flush_write_bytes", Ticker::FlushWriteBytes),
    ("rocksdb_compact_read_bytes", Ticker::CompactReadBytes),
    ("rocksdb_compact_write_bytes", Ticker::CompactWriteBytes),
    ("rocksdb_stall_micros", Ticker::StallMicros),
    ("rocksdb_iterator_bytes_read", Ticker::IterBytesRead),
    ("rocksdb_unplanned_flushes", Ticker::FlushReasonWriteBufferFull),
];

impl Db {
    /// Counters, by metric name.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (String, u64)> {
        TICKERS.iter().map(|(name, ticker)| ((*name).to_owned(), self.options.get_ticker_count(*ticker)))
    }

    /// Sizes and states, by metric name.
    pub(crate) fn sizes(&self) -> Vec<(String, u64)> {
        let mut numbers = Vec::new();
        for cf in Cf::ALL.into_iter().filter(|cf| self.has(*cf)) {
            let family = self.family(cf);
            let of = |name| self.db.property_int_value_cf(family, name).ok().flatten().unwrap_or(0);
            let name = cf.name();
            numbers.push((format!("{name}_file_bytes"), of(properties::TOTAL_SST_FILES_SIZE)));
            numbers.push((format!("{name}_memory_bytes"), of(properties::CUR_SIZE_ALL_MEM_TABLES)));
            numbers.push((format!("{name}_keys"), of(properties::ESTIMATE_NUM_KEYS)));
        }
        let stopped = self.db.property_int_value(properties::IS_WRITE_STOPPED).ok().flatten().unwrap_or(0);
        numbers.push(("rocksdb_write_stopped".to_owned(), stopped));
        let errors = self.db.property_int_value(properties::BACKGROUND_ERRORS).ok().flatten().unwrap_or(0);
        numbers.push(("rocksdb_background_errors".to_owned(), errors));
        numbers
    }
}
