//! What the store counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters since the store was opened.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: Counter,)*
        }

        impl Counters {
            /// All of them, by metric name.
            pub(crate) fn numbers(&self) -> Vec<(String, u64)> {
                vec![$((stringify!($name).to_owned(), self.$name.get())),*]
            }
        }
    };
}

counters! {
    /// Synced batches.
    batches,
    /// Bytes of those batches.
    batch_bytes,
    /// Writes answered, whatever the answer.
    writes,
    /// Bytes of payload taken, each transaction once.
    payload_bytes,
    /// Writes answered with an error.
    refused_writes,
    /// Writes that had been stored before.
    duplicate_writes,
    /// Commits refused because readers had passed their place.
    late_commits,
    /// Records that went into `log`.
    settled_records,
    /// Bytes of those records.
    settled_bytes,
    /// Commits that the watermark passed without their prewrite.
    missing_prewrites,
    /// Records whose payload had to be read back.
    read_back_records,
    /// Times that `log` was flushed.
    log_flushes,
    /// Prewrites and markers deleted after a flush.
    covered_records,
    /// Batches that waited for a flush to end.
    flush_waits,
    /// Schema entries that no kept record needs any more, deleted.
    collected_schema_entries,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, by: usize) {
        self.0.fetch_add(by as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
