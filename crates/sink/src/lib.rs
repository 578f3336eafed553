//! Applies transactions and schema changes to a database, exactly once.
mod checkpoint;
mod error;
mod sink;
pub use checkpoint::{Checkpoint, FileCheckpoint};
pub use error::Error;
pub use sink::{MySqlTarget, Sink, SinkOptions, Target, render_ddl_sql, render_dml_sql};
