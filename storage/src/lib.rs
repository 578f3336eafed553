//! The engine: binlogs in RocksDB keyed by commit_ts.
mod api;
pub use api::*;
