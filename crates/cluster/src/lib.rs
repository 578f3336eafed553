//! The cluster around a node: PD, etcd and TiKV over gRPC, the registry of nodes, and their embedded stand-ins.
//!
//! - [`PdClient`]: cluster id, timestamps, regions, service safe points;
//! - [`TikvClient`]: snapshot reads of TiDB's schema, and the outcome of transactions;
//! - [`SchemaFollower`]: TiDB's schema history, read from TiKV as it grows;
//! - [`Registry`]: who is there, in etcd under `/tidb-binlog/v1/` or in a directory;
//! - [`Oracle`]: timestamps, of PD or of an [`EmbeddedCluster`].
//!
//! Every call retries what may pass (elections, moved regions, dead endpoints) with a bounded back-off, and then fails with an
//! [`Error`] that names the endpoint. Nothing here waits for ever.

mod backoff;
mod embedded;
mod endpoint;
mod error;
mod node;
mod oracle;
mod pd;
mod registry;
mod schema;
mod tikv;

pub use embedded::{EmbeddedCluster, OracleSeat};
pub use endpoint::TlsFiles;
pub use error::Error;
pub use node::{Action, NodeKind, NodeState, NodeStatus, UnknownState};
pub use oracle::Oracle;
pub use pd::PdClient;
pub use registry::{Life, LifeMark, Listing, Registry};
pub use schema::{FollowError, JobRequests, KeepError, PACE, Pace, SchemaFollower, SchemaKeeper};
pub use tikv::{CheckTxnStatus, KeyValue, TikvClient, TxnStatus};
