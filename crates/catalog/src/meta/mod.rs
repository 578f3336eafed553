//! TiDB's schema part of the key-value store: keys, and schema objects from what lies there.

mod diff;
mod fold;
mod job;
pub mod job_type;
mod keys;
mod parse;
mod rest;
mod shape;
mod step;
mod write;

pub use diff::{SchemaDiff, parse_diff};
pub use job::{Job, objects_of_job, unreadable_job};
pub use keys::{
    databases_range, diff_key, job_history_range, job_key, job_of_key, schema_version_key, table_key,
    tables_range,
};
pub(crate) use parse::partition_ids;
pub use parse::{database_object, parse_database, parse_table, table_object};
pub use rest::is_at_rest;
pub(crate) use step::{Enforced, without_indexes};
pub use step::{may_take_indexes, step_object};
pub use write::{JobSpec, database_json, job_json, table_json};

/// Ids above it are the tables that TiDB's own DDL machinery uses.
pub const MAX_GLOBAL_ID: i64 = (1 << 48) - 1 - 1000;
