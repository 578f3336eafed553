//! A TiDB-shaped workload: it plays the part of TiDB in a cluster without one.
//!
//! A small bank with three tables: accounts (integer key), transfers (auto increment key) and audit (no key, with real duplicates). Several
//! sessions write to all pumps at once, as TiDB does: prewrite binlog, then the commit timestamp, then the commit binlog; some transactions roll
//! back. Beside them a [`Model`] keeps the rows that a replica must hold, with an order-independent digest for each table. What a
//! session writes depends on the seed alone, not on how the sessions interleave.
//!
//! ```text
//! Workload ── create_schema, run, delete_all, drop_database, snapshot
//!   ├─ schema    TiDB's JSON of databases, tables and DDL jobs
//!   ├─ session   what one connection does next
//!   ├─ txn       changes → prewrite binlog → commit or rollback
//!   ├─ pumps     gRPC to every pump of the cluster
//!   └─ model     the expected rows, and their digests
//! ```

mod digest;
mod error;
mod model;
mod pumps;
mod schema;
mod session;
mod txn;
mod workload;

pub use digest::{RowHasher, TableDigest};
pub use error::Error;
pub use model::Snapshot;
pub use session::MAX_SESSIONS;
pub use workload::{Limit, Options, Progress, Workload};
