//! `tools`: look into pumps and their stores, and try everything out on one machine.
//!
//! - [`dump`]: `dump-range`, records of a range for people and programs;
//! - [`stat`]: what each pump holds;
//! - [`verify`]: whether stores still hold what was written;
//! - [`ctl`]: `binlogctl`, the original's operator's tool;
//! - [`playground`]: pumps, drainer, workload, accident and restore in one go.

pub mod ctl;
pub mod dump;
pub mod playground;
pub mod stat;
pub mod verify;

mod options;

pub use options::{command, run};
