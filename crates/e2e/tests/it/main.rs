//! The built programs on captured traffic of a real TiDB.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "seeds are shown when a test fails")]

mod asked;
mod captured;
mod continued;
mod crashes;
mod files;
mod killed;
mod originals;
mod proved;
mod readme;
mod resume;
#[path = "../../../sink/tests/it/sqlite.rs"]
mod sqlite;
mod story;
mod support;
mod upheaval;
mod written;
