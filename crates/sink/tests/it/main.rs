//! The sink against a real MariaDB and SQLite files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ahead;
mod alter;
mod captures;
mod columns;
mod fuzz;
mod outages;
mod parts;
mod proxy;
mod replay;
mod schema;
mod session;
mod sqlite;
mod support;
mod takeover;
mod twice;
