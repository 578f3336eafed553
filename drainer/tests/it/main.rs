//! A drainer between real pumps and a SQLite file, with nothing else installed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod large;
mod original;
mod program;
mod replicate;
mod selection;
mod site;
mod skip;
