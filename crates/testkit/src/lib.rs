//! What tests need around our programs: captured traffic of a real TiDB, a fake PD and TiKV over the real protocol with a
//! real etcd behind them, a private MariaDB, and processes that can be killed. Dev only: code here may panic.
//!
//! - [`fixtures`]: the captures under `testdata/`;
//! - [`Truth`], [`assert_same`]: expected contents of databases, and how to compare them.

mod compare;
pub mod fixtures;
mod truth;
mod unzstd;

pub use compare::{Comparison, assert_same};
pub use truth::{Row, Truth, TruthTable};
pub use unzstd::unzstd;
