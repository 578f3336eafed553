//! Finished DDL jobs, and the schema objects that they made or dropped.

use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_types::SchemaVersion;
use bytes::Bytes;
use serde_json::Value;

use super::parse::{normal, parse_database, parse_table};
use super::shape::{HistoryInfo, JobInfo};
use crate::Error;

/// TiDB's numbers of kinds of jobs, as far as they are told apart.
pub mod job_type {
    #![allow(missing_docs, reason = "the names say it")]
    pub const CREATE_SCHEMA: u8 = 1;
    pub const DROP_SCHEMA: u8 = 2;
    pub const CREATE_TABLE: u8 = 3;
    pub const DROP_TABLE: u8 = 4;
    pub const ADD_COLUMN: u8 = 5;
    pub const DROP_COLUMN: u8 = 6;
    pub const ADD_INDEX: u8 = 7;
    pub const DROP_INDEX: u8 = 8;
    pub const TRUNCATE_TABLE: u8 = 11;
    pub const MODIFY_COLUMN: u8 = 12;
    pub const RENAME_TABLE: u8 = 14;
    pub const DROP_TABLE_PARTITION: u8 = 20;
    pub const CREATE_VIEW: u8 = 21;
    pub const TRUNCATE_TABLE_PARTITION: u8 = 23;
    pub const DROP_VIEW: u8 = 24;
    /// RECOVER TABLE and FLASHBACK TABLE.
    pub const RECOVER_TABLE: u8 = 25;
    pub const MODIFY_SCHEMA_CHARSET: u8 = 26;
    pub const LOCK_TABLE: u8 = 27;
    pub const UNLOCK_TABLE: u8 = 28;
    pub const SET_TIFLASH_REPLICA: u8 = 30;
    pub const UPDATE_TIFLASH_REPLICA: u8 = 31;
    pub const CREATE_SEQUENCE: u8 = 34;
    pub const ALTER_SEQUENCE: u8 = 35;
    pub const DROP_SEQUENCE: u8 = 36;
    pub const EXCHANGE_TABLE_PARTITION: u8 = 42;
    pub const RENAME_TABLES: u8 = 47;
    pub const ALTER_TABLE_ATTRIBUTES: u8 = 49;
    pub const ALTER_TABLE_PARTITION_ATTRIBUTES: u8 = 50;
    pub const CREATE_PLACEMENT_POLICY: u8 = 51;
    pub const ALTER_PLACEMENT_POLICY: u8 = 52;
    pub const DROP_PLACEMENT_POLICY: u8 = 53;
    pub const ALTER_TABLE_PARTITION_PLACEMENT: u8 = 54;
    pub const MODIFY_SCHEMA_DEFAULT_PLACEMENT: u8 = 55;
    pub const ALTER_TABLE_PLACEMENT: u8 = 56;
    pub const ALTER_CACHE_TABLE: u8 = 57;
    pub const ALTER_TABLE_STATS_OPTIONS: u8 = 58;
    pub const ALTER_NO_CACHE_TABLE: u8 = 59;
    pub const CREATE_TABLES: u8 = 60;
    pub const MULTI_SCHEMA_CHANGE: u8 = 61;
    pub const FLASHBACK_CLUSTER: u8 = 62;
    /// FLASHBACK DATABASE.
    pub const RECOVER_SCHEMA: u8 = 63;
    pub const CREATE_RESOURCE_GROUP: u8 = 68;
    pub const ALTER_RESOURCE_GROUP: u8 = 69;
    pub const DROP_RESOURCE_GROUP: u8 = 70;
    pub const ALTER_TABLE_PARTITIONING: u8 = 71;
    pub const REMOVE_PARTITIONING: u8 = 72;
}

const DONE: i64 = 4;
const SYNCED: i64 = 6;

/// A finished job, as far as it is read.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: i64,
    /// TiDB's number of its kind ([`job_type`]).
    pub job_type: u8,
    /// Database: for a rename, the new one.
    pub schema_id: i64,
    /// Table: where the id changes, the old one.
    pub table_id: i64,
    /// Name of the database.
    pub schema_name: String,
    /// The statement as it was typed.
    pub query: String,
    /// The version that it made; 0: none.
    pub version: SchemaVersion,
    /// Whether it took effect: it was not rolled back or cancelled.
    pub effective: bool,
    start_ts: u64,
    args: Value,
    result: Outcome,
}

#[derive(Clone, Debug, Default)]
struct Outcome {
    database: Option<Value>,
    table: Option<Value>,
    multiple: Vec<Value>,
    finished_ts: u64,
}

impl Job {
    /// Reads a job.
    ///
    /// # Errors
    /// When it is no job.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        let info: JobInfo =
            serde_json::from_slice(json).map_err(|source| Error::Json { what: "DDL job".into(), source })?;
        let HistoryInfo { schema_version, db_info, table_info, finished_ts, multiple } =
            info.binlog.unwrap_or_default();
        let multiple = multiple.unwrap_or_default().into_iter().flatten().collect();
        Ok(Job {
            id: info.id,
            job_type: info.job_type,
            schema_id: info.schema_id,
            table_id: info.table_id,
            schema_name: info.schema_name,
            query: info.query,
            version: SchemaVersion(schema_version),
            effective: matches!(info.state, DONE | SYNCED) && schema_version != 0,
            start_ts: info.start_ts,
            args: info.raw_args,
            result: Outcome { database: db_info, table: table_info, multiple, finished_ts },
        })
    }

    /// The databases and tables that the job made, changed or dropped, as of its version. What it carries nothing about is left
    /// to the schema history: the tables of a recovered database, the plain table of an exchange.
    ///
    /// # Errors
    /// When it carries what is no DBInfo or TableInfo.
    pub fn objects(&self) -> Result<Vec<SchemaObject>, Error> {
        use job_type::*;
        if !self.effective {
            return Ok(Vec::new());
        }
        let mut objects = Vec::new();
        match self.job_type {
            DROP_SCHEMA => {
                objects.push(self.dropped(ObjectKind::Database, self.schema_id));
                let tables = self.args.get(0).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                objects.extend(
                    tables.iter().filter_map(Value::as_i64).map(|id| self.dropped(ObjectKind::Table, id)),
                );
            }
            DROP_TABLE | DROP_VIEW | DROP_SEQUENCE => {
                objects.push(self.dropped(ObjectKind::Table, self.table_id))
            }
            _ => {
                if let Some(database) = &self.result.database {
                    objects.push(self.database(database)?);
                }
                // A batch has one entry per table and its last one again.
                let tables = if self.result.multiple.is_empty() {
                    self.result.table.as_slice()
                } else {
                    self.result.multiple.as_slice()
                };
                for table in tables {
                    let object = self.table(table)?;
                    objects.retain(|o| (o.kind, o.id) != (object.kind, object.id));
                    objects.push(object);
                }
                // The table has a new id: TRUNCATE, changed partitioning, exchange.
                let tables = || objects.iter().filter(|o| o.kind == ObjectKind::Table as i32);
                if self.table_id != 0 && tables().count() > 0 && tables().all(|o| o.id != self.table_id) {
                    objects.push(self.dropped(ObjectKind::Table, self.table_id));
                }
            }
        }
        Ok(objects)
    }

    fn object(&self, kind: ObjectKind, id: i64) -> SchemaObject {
        SchemaObject {
            kind: kind as i32,
            id,
            schema_version: self.version.0,
            finished_ts: self.result.finished_ts,
            ..SchemaObject::default()
        }
    }

    fn dropped(&self, kind: ObjectKind, id: i64) -> SchemaObject {
        let (parent_id, finished_ts) = match (kind, self.result.table.as_ref()) {
            (ObjectKind::Table, Some(table)) => (self.schema_id, self.visible_ts(table)),
            (ObjectKind::Table, None) => (self.schema_id, self.result.finished_ts),
            _ => (0, self.result.finished_ts),
        };
        SchemaObject { dropped: true, parent_id, finished_ts, ..self.object(kind, id) }
    }

    fn database(&self, value: &Value) -> Result<SchemaObject, Error> {
        let json = normal(value);
        let id = parse_database(&json, self.version)?.id;
        // No row can tell whether the database was there a little earlier.
        Ok(SchemaObject { json, finished_ts: self.start_ts, ..self.object(ObjectKind::Database, id) })
    }

    fn table(&self, value: &Value) -> Result<SchemaObject, Error> {
        let json = normal(value);
        let id = parse_table(&json, self.version)?.id.0;
        // A RENAME of several tables does not say which database each went to.
        let parent_id = if self.job_type == job_type::RENAME_TABLES { 0 } else { self.schema_id };
        Ok(SchemaObject {
            json,
            parent_id,
            finished_ts: self.visible_ts(value),
            ..self.object(ObjectKind::Table, id)
        })
    }

    /// When the job's change became visible. `FinishedTS` is when the job was filed away, up to seconds after its version was there;
    /// the table's own stamp is the start of the transaction that made it, unless the job did not touch the stamp.
    fn visible_ts(&self, table: &Value) -> u64 {
        let stamp = table.get("update_timestamp").and_then(Value::as_u64).unwrap_or(0);
        let stamped = stamp != 0 && (self.start_ts..=self.result.finished_ts).contains(&stamp);
        if stamped { stamp } else { self.result.finished_ts }
    }
}

/// The objects that a finished job made or dropped, and the job itself (kind JOB). Jobs that rolled back give only the JOB.
///
/// # Errors
/// When it is no job, or carries what is no DBInfo or TableInfo.
pub fn objects_of_job(json: &[u8]) -> Result<Vec<SchemaObject>, Error> {
    let value: Value =
        serde_json::from_slice(json).map_err(|source| Error::Json { what: "DDL job".into(), source })?;
    let json: Bytes = normal(&value);
    let job = Job::parse(&json)?;
    let mut objects = job.objects()?;
    objects.push(SchemaObject { json, parent_id: job.schema_id, ..job.object(ObjectKind::Job, job.id) });
    Ok(objects)
}
