//! The whole way from a real TiDB's bytes to the contents of its tables, with no database in between.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod captures;
mod fuzz;
mod replay;
mod restart;
mod typed;
