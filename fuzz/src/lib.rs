//! The targets of the fuzzers.

pub mod targets;
