//! The targets of the fuzzers.

pub mod archive_targets;
pub mod sink_targets;
pub mod targets;
