//! Applies transactions and schema changes to a database, exactly once in effect.
//!
//! A [`Sink`] takes the events of the stream in order. Rows of a table with a key are folded to their net effect and written with
//! idempotent multi-row statements over several connections; rows of a table without a key go through one ordered lane whose
//! progress is written in the same transaction; a DDL waits for what came before in its tables and is recorded with an intent row,
//! so that a crash between any two steps repeats nothing that must not be repeated. It does not read binlogs and does not filter.
//!
//! ```text
//! events ─► cut at DDLs ─► rows by table ─┬─ keyed: fold ─► deletes, then puts ─┐
//!                                         ├─ keyless: one lane, with progress ──┼─► scheduler ─► N connections
//!                                   DDL ──┴─ steps, each recorded ──────────────┘
//! ```
//!
//! There is no barrier between submissions: a job waits for those before it that share a conflict key, a table or the lane.

mod amend;
mod checkpoint;
mod ddl;
mod dml;
mod error;
mod layout;
mod literal;
mod mysql;
mod names;
mod notices;
mod options;
mod position;
mod render;
mod schedule;
mod session;
mod sink;
mod sqlite;
mod watch;

pub use amend::{Amendment, render_amendment};
pub use checkpoint::{Checkpoint, FileCheckpoint};
pub use ddl::recycle::RecycleBin;
pub use error::{Error, Place};
pub use layout::key_columns;
pub use mysql::marks::{MARK_SCHEMA, MARK_TABLE};
pub use names::sqlite_table_name;
pub use options::{Marks, MySqlTarget, SinkOptions, Target, TlsFiles};
pub use render::{SESSION_SQL, SqlDialect, render_ddl_sql, render_dml_sql};
pub use session::{Outcome, Session};
pub use sink::{Sink, Ticket};
pub use watch::{LeftOut, Query, Watch};
