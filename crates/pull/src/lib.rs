//! The ordered stream of one or many pumps: range client, fall-back to the original's `PullBinlogs`, merge, schema history, decoding.
//!
//! ```text
//! pump A ── task ──► inbox ─┐
//! pump B ── task ──► inbox ─┼► Merge ──► MergedStream ──► Interpreter + filter ──► EventStream
//! pump C ── task ──► inbox ─┘                                  ▲ SchemaFetcher
//! ```
//!
//! Nothing is handed out past what every member is complete through. What is in flight holds bytes of one budget until its batch is dropped.
//! Errors that time heals are retried inside; what comes out of `next()` is a stop, with its type.

mod arrivals;
mod assemble;
mod budget;
mod client;
mod dial;
mod error;
mod events;
mod feed;
mod ledger;
mod legacy;
mod merge;
mod narrow;
mod progress;
mod record;
mod schema;
mod selector;
mod skips;
mod source;
mod spool;
mod stream;
mod tikv;
mod work;

pub use arrivals::Arrivals;
pub use client::{Identity, PumpClient, ScanStream};
pub use dial::{Dial, PemFiles};
pub use error::Error;
pub use events::{EventBatch, EventStream};
pub use feed::Feed;
pub use ledger::{Hole, KnownHoles, PumpLedger};
pub use narrow::narrow;
pub use progress::{MemberProgress, Progress};
pub use record::{Batch, Record};
pub use schema::{SchemaBase, SchemaFetcher, SchemaSource};
pub use selector::Selector;
pub use skips::Skips;
pub use stream::{Member, MergedStream, StreamOptions};
pub use tikv::TikvSchema;
