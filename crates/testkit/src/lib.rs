//! What tests need around our programs: captured traffic of a real TiDB, a fake PD and TiKV over the real protocol with a
//! real etcd behind them, a private MariaDB, and processes that can be killed. Dev only: code here may panic.
//!
//! - [`fixtures`]: the captures under `testdata/`;
//! - [`Truth`], [`assert_same`]: expected contents of databases, and how to compare them;
//! - [`FakeCluster`]: PD, TiKV and etcd at one URL; it shows a capture's schema as time goes by;
//! - [`OriginalPump`]: a pump of the original's, to pull from;
//! - [`Replayer`]: sends a capture to pumps as TiDB did;
//! - [`Mariadb`], [`Etcd`], [`Process`]: real servers and our own programs;
//! - [`missing_metrics`]: what of the original's metrics ours lack;
//! - certificates of an [`Authority`].

mod compare;
mod etcd;
mod exposition;
mod fake;
pub mod fixtures;
mod mariadb;
mod original;
mod process;
mod replay;
mod tls;
mod truth;
mod unzstd;

pub use compare::{Comparison, assert_same};
pub use etcd::Etcd;
pub use exposition::missing_metrics;
pub use fake::{FakeCluster, Outcome, RegionFault};
pub use mariadb::Mariadb;
pub use original::OriginalPump;
pub use process::{Process, free_port, wait_for_port, wait_until};
pub use replay::Replayer;
pub use tls::{Authority, CertFiles};
pub use truth::{Row, Truth, TruthTable};
pub use unzstd::unzstd;
