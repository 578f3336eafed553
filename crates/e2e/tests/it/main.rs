//! The built programs on captured traffic of a real TiDB.

mod captured;
mod crashes;
mod readme;
mod support;
