//! The built programs on captured traffic of a real TiDB.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says where it is"
)]

mod captured;
mod crashes;
mod readme;
#[path = "../../../sink/tests/it/sqlite.rs"]
mod sqlite;
mod support;
