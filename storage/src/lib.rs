//! The engine: binlogs in RocksDB keyed by commit_ts.
mod api;
mod error;
mod failpoint;
mod options;
mod record;
pub use api::*;
pub use error::{Error, ErrorKind};
pub use failpoint::{FailHook, FailPoint, FailPoints};
pub use options::{Options, Tuning};
pub use record::{
    Commit, CompletionSink, Fragment, Prewrite, RawRecord, SchemaEntry, Unresolved, Write, WriteResult,
};
