//! The words that every crate of TiDB Binlog shares: positions in the stream, identities of nodes and clusters, sizes,
//! time, and what a read covered. Nothing here does I/O.
//!
//! # Glossary
//!
//! - **TSO**: a 64-bit timestamp of the cluster's oracle, `physical milliseconds << 18 | logical`.
//! - **P, C, R**: prewrite, commit and rollback binlog of one transaction.
//! - **start_ts / commit_ts**: TSOs of a transaction's begin and commit; only commit_ts orders the stream.
//! - **watermark (W)**: every transaction with `commit_ts <= W` is readable; readers never see past it.
//! - **range**: always `(after, through]`: exclusive below, inclusive above.

mod bytesize;
mod clock;
mod coverage;
mod ids;
mod peers;
mod time;
mod ts;
mod zone;

pub use bytesize::{ByteSize, ParseByteSizeError};
pub use clock::{Clock, ClockHandle, ManualClock, SystemClock};
pub use coverage::{Coverage, Gap, GapReason};
pub use ids::{ClusterId, JobId, NodeId, ParseNodeIdError, SchemaVersion, StoreUuid, TableId};
pub use peers::{Peers, REGISTRATION_META};
pub use time::{Retention, TimeParseError, parse_retention, parse_ts, plausible};
pub use ts::{CommitTs, Range, StartTs, Ts};
pub use zone::Zone;
