//! TiDB's schema part of the key-value store: keys, and objects from what lies there.
use crate::Error;
use binlog_proto::store::SchemaObject;
use binlog_types::{JobId, SchemaVersion, TableId};
use bytes::Bytes;

/// Key of the current schema version (value: decimal text).
pub fn schema_version_key() -> Bytes {
    todo!()
}
/// Key of the diff of one version (value: JSON).
pub fn diff_key(version: SchemaVersion) -> Bytes {
    todo!()
}
/// `[start, end)` of all finished DDL jobs.
pub fn job_history_range() -> (Bytes, Bytes) {
    todo!()
}
/// Key of one finished DDL job.
pub fn job_key(job: JobId) -> Bytes {
    todo!()
}
/// `[start, end)` of all databases.
pub fn databases_range() -> (Bytes, Bytes) {
    todo!()
}
/// `[start, end)` of all tables of a database (other hash fields lie between: skip what `parse_table` skips).
pub fn tables_range(database_id: i64) -> (Bytes, Bytes) {
    todo!()
}
/// Key of one table.
pub fn table_key(database_id: i64, table: TableId) -> Bytes {
    todo!()
}
/// The objects that a finished job made or dropped, and the job itself (kind JOB). Jobs that rolled back give only the JOB.
pub fn objects_of_job(json: &[u8]) -> Result<Vec<SchemaObject>, Error> {
    todo!()
}
/// A database object from a DBInfo value, holding from `version` on.
pub fn database_object(json: &[u8], version: SchemaVersion) -> Result<SchemaObject, Error> {
    todo!()
}
/// A table object from a TableInfo value; None where the key is not a table's.
pub fn table_object(
    key: &[u8],
    database_id: i64,
    json: &[u8],
    version: SchemaVersion,
) -> Result<Option<SchemaObject>, Error> {
    todo!()
}
/// A parsed schema diff: (old and new ids of what changed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaDiff {
    pub version: SchemaVersion,
    pub action: u8,
    pub schema_id: i64,
    pub table_id: TableId,
    pub old_table_id: TableId,
    pub old_schema_id: i64,
    pub affected: Vec<(i64, TableId, i64, TableId)>,
}
/// Reads a diff.
pub fn parse_diff(json: &[u8]) -> Result<SchemaDiff, Error> {
    todo!()
}

/// TiDB's JSON of a table.
pub fn table_json(table: &crate::Table) -> Vec<u8> {
    todo!()
}
/// TiDB's JSON of a database.
pub fn database_json(database: &crate::Database) -> Vec<u8> {
    todo!()
}
/// A finished DDL job, to be written as TiDB writes it.
#[derive(Clone, Debug, Default)]
pub struct JobSpec<'a> {
    /// Job id.
    pub id: i64,
    /// TiDB's number of the kind of job ([`job_type`]).
    pub job_type: u8,
    /// Database id and name.
    pub schema_id: i64,
    /// Database name.
    pub schema_name: &'a str,
    /// Table id (the old one for TRUNCATE); 0: none.
    pub table_id: i64,
    /// The statement.
    pub query: &'a str,
    /// The version that it made.
    pub schema_version: i64,
    /// start_ts of the job.
    pub start_ts: u64,
    /// start_ts of the transaction that finished it.
    pub finished_ts: u64,
    /// The database made, changed or dropped.
    pub database: Option<&'a crate::Database>,
    /// The table made, changed or dropped.
    pub table: Option<&'a crate::Table>,
}
/// TiDB's JSON of a finished job.
pub fn job_json(job: &JobSpec<'_>) -> Vec<u8> {
    todo!()
}
