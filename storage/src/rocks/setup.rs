//! How RocksDB is set up, and why.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rocksdb::statistics::StatsLevel;
use rocksdb::{
    BlockBasedOptions, Cache, CompactionDecision, DBCompressionType, DBRecoveryMode, LogLevel, Options,
};

use super::Cf;
use crate::format::keys::LogKey;

/// RocksDB's own choice; zstd takes no notice of it.
const WINDOW_BITS: i32 = -14;
/// Of zstd's levels.
const QUICKEST: i32 = 1;

/// What the store decides about RocksDB.
pub(crate) struct Setup {
    /// Bytes of a `log` file.
    pub(crate) log_file_bytes: usize,
    /// The most that our own flushes let stand in the memory of one column family.
    pub(crate) memory_bytes: usize,
    pub(crate) block_cache_bytes: usize,
    /// How old a `log` file becomes before it is rewritten.
    pub(crate) rewrite_after: Duration,
    /// Records at or below it may be dropped.
    pub(crate) safe_point: Arc<AtomicU64>,
}

impl Setup {
    /// For unit tests.
    #[cfg(test)]
    pub(crate) fn small() -> Self {
        Setup {
            log_file_bytes: 1 << 20,
            memory_bytes: 2 << 20,
            block_cache_bytes: 1 << 20,
            rewrite_after: Duration::MAX,
            safe_point: Arc::default(),
        }
    }

    pub(super) fn db(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        // A torn tail was never acknowledged; damage in the middle must refuse to open.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        // What is worth compressing comes compressed.
        options.set_wal_compression_type(DBCompressionType::None);
        // The flusher decides when the WAL may go. (It also bounds how much of a WAL file is preallocated.)
        options.set_max_total_wal_size(64 << 30);
        options.set_max_background_jobs(4);
        // One thread writes: what serves many writers only costs.
        options.set_allow_concurrent_memtable_write(false);
        options.set_enable_write_thread_adaptive_yield(false);
        // So that the sync of a finished file does not queue in front of the WAL's syncs.
        options.set_bytes_per_sync(1 << 20);
        options.set_max_open_files(512);
        options.set_max_log_file_size(16 << 20);
        options.set_keep_log_file_num(4);
        options.set_log_level(LogLevel::Warn);
        options.set_stats_dump_period_sec(0);
        options.enable_statistics();
        options.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
        options
    }

    pub(super) fn family(&self, cf: Cf) -> Options {
        let mut options = Options::default();
        // More than our own flushes allow, so that RocksDB never starts one: the writer may be two files ahead of the
        // flusher and fill a third before it waits. A transaction larger than this may make it flush: harmless, only less
        // sparing.
        options.set_write_buffer_size(4 * self.memory_bytes);
        // A block is counted as used when it is taken: with large ones a small buffer would be full at once.
        options.set_arena_block_size((self.memory_bytes / 8).min(1 << 20));
        options.set_max_write_buffer_number(8);
        let mut table = BlockBasedOptions::default();
        table.set_format_version(6);
        match cf {
            Cf::Log => {
                options.set_compression_type(DBCompressionType::Zstd);
                // Blocks are small enough for zstd's quickest level to find what there is to find: the default one takes
                // half as long again, and its tables push everything else out of the processor's cache.
                options.set_compression_options(WINDOW_BITS, QUICKEST, 0, 0);
                // The same everywhere, or files that could just move down would be rewritten.
                options.set_bottommost_compression_type(DBCompressionType::Zstd);
                options.set_target_file_size_base(self.log_file_bytes.max(1 << 20) as u64);
                options.set_level_zero_file_num_compaction_trigger(2);
                options.set_level_zero_slowdown_writes_trigger(64);
                options.set_level_zero_stop_writes_trigger(128);
                options.set_soft_pending_compaction_bytes_limit(0);
                options.set_hard_pending_compaction_bytes_limit(0);
                // 0 would turn it off, and so would RocksDB's largest numbers.
                options.set_periodic_compaction_seconds(self.rewrite_after.as_secs().clamp(1, u64::MAX >> 8));
                let safe_point = Arc::clone(&self.safe_point);
                options.set_compaction_filter("binlog-safe-point", move |_level, key, _value| {
                    match LogKey::commit_ts_of(key) {
                        Some(ts) if ts.raw() <= safe_point.load(Ordering::Acquire) => {
                            CompactionDecision::Remove
                        }
                        _ => CompactionDecision::Keep,
                    }
                });
                table.set_block_size(32 << 10);
                table.set_block_cache(&Cache::new_lru_cache(self.block_cache_bytes));
            }
            Cf::Bundle | Cf::Pending => options.set_compression_type(DBCompressionType::None),
            Cf::Commit | Cf::Schema | Cf::Meta => options.set_compression_type(DBCompressionType::Lz4),
        }
        options.set_block_based_table_factory(&table);
        options
    }
}
