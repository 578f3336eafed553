//! The whole way from a real TiDB's bytes to the contents of its tables, with no database in between.

mod captures;
mod replay;
mod restart;
