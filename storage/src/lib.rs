//! The engine: binlogs in RocksDB keyed by commit_ts.
//!
//! A [`Store`] takes prewrites, commits and rollbacks in any order, joins them by start_ts, and serves the joined records
//! in commit_ts order up to a [watermark](Store::watermark) below which nothing can come any more. It knows neither rows
//! nor schemas, gRPC nor SQL: all bodies are bytes.
//!
//! # Promises
//!
//! - A write that was answered with `Ok` is on the disk ([`Options::sync`]).
//! - What lies at or below the watermark never changes, until garbage collection takes it from the old end; reading what
//!   is gone is [`Error::Purged`], never an empty answer.
//! - What is missing is known: [`Store::gaps`].
//! - The first failed durable write stops all further ones until restart; reads go on.
//!
//! # How it lies on the disk
//!
//! Six column families: `bundle` (small prewrites and commits, a batch of them together), `pending` (large prewrites), `commit` (markers that
//! stand alone), `log` (joined records), `schema`, `meta`. A payload meets the disk once in the write-ahead log, as part of a bundle or of
//! `pending`, and once in a file of `log`: records enter `log` without the WAL, and most prewrites are deleted before `bundle` or
//! `pending` are written to a file. `recovery/` says why nothing is lost on the way, `pairing/` why the watermark is right, `flusher.rs` in which
//! order files are made, and `format/` what the bytes are.

mod failpoint;
mod options;

mod error;
mod observer;
mod record;

mod store;

mod admit;
mod answers;
mod bundles;
mod flusher;
mod front;
mod pairing;
mod queue;
mod recovery;
mod salvage;
mod settle;
mod stored;
mod writer;

mod arena;
mod gc;
mod overlay;
mod raw;
mod scan;
mod schema;
mod verify;

mod counters;
mod health;
mod identity;
mod shared;
mod watch;

mod format;
mod rocks;

pub use error::{Error, ErrorKind};
pub use failpoint::{FailHook, FailPoint, FailPoints};
pub use observer::{BatchObserver, BatchReport};
pub use options::{Options, Tuning};
pub use record::{
    Behind, Commit, CompletionSink, Fragment, Prewrite, RawRecord, SchemaEntry, Unresolved, Write,
    WriteResult,
};
pub use scan::Scan;
pub use store::Store;
pub use verify::{Damage, Verified};
pub use watch::WatermarkGuard;
