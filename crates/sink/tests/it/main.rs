//! The sink against a real MariaDB and SQLite files.

mod captures;
mod replay;
mod schema;
mod support;
mod twice;
