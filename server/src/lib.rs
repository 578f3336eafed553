//! Pump: records the binlogs that TiDB writes, and serves them in order of commit.
//!
//! ```text
//! TiDB ──WriteBinlog──► grpc::write ──► bridge ═by the batch═► storage (writer thread)
//! drainer ◄──PullBinlogs / Scan── grpc::pull, grpc::scan ◄──────── storage (log), woken by the watermark
//! ```
//!
//! The storage engine is synchronous and owns its threads; everything here is the async shell around it: the protocols
//! ([`grpc`], [`http`]), the node's life cycle ([`node`], [`registrar`]), and the background duties ([`idle`], [`gc`], [`follower`], [`resolver`]).
//! [`run`] puts it all together and is the one place that knows the order of starting and stopping.
//!
//! **Invariant:** a write is answered only after the store called it durable.
//! **Invariant:** no stream ever passes the store's watermark.

mod bridge;
mod budget;
mod config;
mod context;
mod data_dir;
mod drain;
mod error;
mod flags;
mod follower;
mod free_space;
mod gate;
mod gc;
mod grpc;
mod http;
mod idle;
mod metrics;
mod node;
mod oracle;
mod peers;
mod registrar;
mod resolver;
mod run;
mod serve;
mod tick;
mod watermark;

pub use binlog_cli::tls::Security;
pub use config::{Config, PurgedPull, StorageConfig};
pub use error::Error;
pub use flags::PROGRAM;
pub use free_space::{FreeSpace, SpaceProbe};
pub use run::{Running, run, start};
