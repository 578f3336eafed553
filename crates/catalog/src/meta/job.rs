//! Finished DDL jobs, and the schema objects that they made or dropped.

use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_types::{SchemaVersion, TableId, Zone};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::fold::field;
use super::job_type;
use super::parse::{normal, parse_database, parse_table};
use crate::Error;

const DONE: i64 = 4;
const SYNCED: i64 = 6;

/// A finished job, as far as it is read. The objects that it carries are none of it: a history keeps them by version.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: i64,
    /// TiDB's number of its kind ([`job_type`](super::job_type)).
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
    /// Whether it was done to its end: it was not rolled back or cancelled.
    pub done: bool,
    /// Whether it took effect on schema objects: it was done, and made a version.
    pub effective: bool,
    /// The time zone of its session, where it says it and it is not UTC.
    pub zone: Option<Zone>,
    /// What it made, changed or dropped, in order.
    pub(crate) touched: Vec<Touched>,
    /// Ids of the tables that it carries, in order, each as often as it names it.
    pub(crate) carried: Vec<i64>,
    /// (database, table) by name that TiDB says it is about; of a rename each old one with its new one. Older TiDB says nothing.
    pub(crate) involved: Vec<(String, String)>,
}

/// An object that a job made, changed or dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touched {
    pub(crate) kind: ObjectKind,
    pub(crate) id: i64,
    pub(crate) dropped: bool,
}

impl Job {
    /// Reads a job.
    ///
    /// # Errors
    /// When it is no job, or carries what is no DBInfo or TableInfo.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        Self::read(json).map(|(job, _)| job)
    }

    /// Reads a job and the databases and tables that it made, changed or dropped, as of its version. What it carries nothing about is
    /// left to the schema history: the tables of a recovered database, the plain table of an exchange.
    ///
    /// # Errors
    /// As [`Job::parse`].
    pub(crate) fn read(json: &[u8]) -> Result<(Self, Vec<SchemaObject>), Error> {
        Parsed::of(&tree(json)?)?.read()
    }

    /// The tables that it carries and that are there behind it.
    pub(crate) fn altered(&self) -> impl Iterator<Item = TableId> {
        let tables = self.touched.iter().filter(|o| o.kind == ObjectKind::Table && !o.dropped);
        tables.map(|o| TableId(o.id))
    }

    /// Whether it is a job on a table of TiDB's own DDL machinery.
    pub fn is_internal(&self) -> bool {
        self.table_id > super::MAX_GLOBAL_ID
    }
}

/// A job with all that is in it.
#[derive(Clone, Debug)]
struct Parsed {
    job: Job,
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

impl Parsed {
    fn of(value: &Value) -> Result<Self, Error> {
        let job = Fields::of(value, "DDL job")?;
        let binlog = match field(job.0, "binlog") {
            Some(info) => Fields::of(info, "result of a DDL job")?,
            None => Fields(&Map::new()),
        };
        let object = |name: &str| field(binlog.0, name).cloned();
        let multiple = field(binlog.0, "multipletableinfos").and_then(Value::as_array);
        let version = binlog.int("schemaversion")?;
        let multiple: Vec<Value> = multiple.into_iter().flatten().filter(|t| !t.is_null()).cloned().collect();
        let id = |table: &Value| field(table.as_object()?, "id")?.as_i64();
        let done = matches!(job.int("state")?, DONE | SYNCED);
        Ok(Parsed {
            job: Job {
                id: job.required("id")?,
                // A kind beyond a byte is as unknown as one that no TiDB has yet.
                job_type: u8::try_from(job.required("type")?).unwrap_or(u8::MAX),
                schema_id: job.int("schema_id")?,
                table_id: job.int("table_id")?,
                schema_name: job.text("schema_name"),
                query: job.text("query"),
                version: SchemaVersion(version),
                done,
                effective: done && version > 0,
                zone: zone(job.0),
                touched: Vec::new(),
                carried: multiple.iter().filter_map(id).collect(),
                involved: involved(job.0),
            },
            start_ts: job.int("start_ts")? as u64,
            args: field(job.0, "raw_args").cloned().unwrap_or_default(),
            result: Outcome {
                database: object("dbinfo"),
                table: object("tableinfo"),
                multiple,
                finished_ts: binlog.int("finishedts")? as u64,
            },
        })
    }

    fn read(mut self) -> Result<(Job, Vec<SchemaObject>), Error> {
        let objects = self.objects()?;
        let touched = objects.iter().map(|o| Touched { kind: o.kind(), id: o.id, dropped: o.dropped });
        self.job.touched = touched.collect();
        Ok((self.job, objects))
    }

    fn objects(&self) -> Result<Vec<SchemaObject>, Error> {
        use job_type::*;
        if !self.job.effective {
            return Ok(Vec::new());
        }
        let mut objects = Vec::new();
        match self.job.job_type {
            DROP_SCHEMA => {
                objects.push(self.dropped(ObjectKind::Database, self.job.schema_id));
                // The tables' ids are an argument: the first or, since there are checks of foreign keys, the second one; or by name.
                let named = self.args.as_object().and_then(|args| field(args, "all_dropped_table_ids"));
                let in_order = self.args.as_array().into_iter().flatten();
                let lists = named.into_iter().chain(in_order).filter_map(Value::as_array);
                let tables = lists.flatten().filter_map(Value::as_i64);
                objects.extend(tables.map(|id| self.dropped(ObjectKind::Table, id)));
            }
            DROP_TABLE | DROP_VIEW | DROP_SEQUENCE => {
                objects.push(self.dropped(ObjectKind::Table, self.job.table_id))
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
                if self.job.table_id != 0
                    && tables().count() > 0
                    && tables().all(|o| o.id != self.job.table_id)
                {
                    objects.push(self.dropped(ObjectKind::Table, self.job.table_id));
                }
            }
        }
        Ok(objects)
    }

    fn object(&self, kind: ObjectKind, id: i64) -> SchemaObject {
        SchemaObject {
            kind: kind as i32,
            id,
            schema_version: self.job.version.0,
            finished_ts: self.result.finished_ts,
            ..SchemaObject::default()
        }
    }

    fn dropped(&self, kind: ObjectKind, id: i64) -> SchemaObject {
        let (parent_id, finished_ts) = match (kind, self.result.table.as_ref()) {
            (ObjectKind::Table, Some(table)) => (self.job.schema_id, self.visible_ts(table)),
            (ObjectKind::Table, None) => (self.job.schema_id, self.result.finished_ts),
            _ => (0, self.result.finished_ts),
        };
        SchemaObject { dropped: true, parent_id, finished_ts, ..self.object(kind, id) }
    }

    fn database(&self, value: &Value) -> Result<SchemaObject, Error> {
        let json = normal(value);
        let id = parse_database(&json, self.job.version)?.id;
        // No row can tell whether the database was there a little earlier.
        Ok(SchemaObject { json, finished_ts: self.start_ts, ..self.object(ObjectKind::Database, id) })
    }

    fn table(&self, value: &Value) -> Result<SchemaObject, Error> {
        let json = normal(value);
        let id = parse_table(&json, self.job.version)?.id.0;
        // A RENAME of several tables does not say which database each went to.
        let parent_id = if self.job.job_type == job_type::RENAME_TABLES { 0 } else { self.job.schema_id };
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
        let stamp = table.as_object().and_then(|table| field(table, "update_timestamp"));
        let stamp = stamp.and_then(Value::as_u64).unwrap_or(0);
        let stamped = stamp != 0 && (self.start_ts..=self.result.finished_ts).contains(&stamp);
        if stamped { stamp } else { self.result.finished_ts }
    }
}

fn involved(job: &Map<String, Value>) -> Vec<(String, String)> {
    let list =
        field(job, "involving_schema_info").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |entry: &Map<String, Value>, name: &str| {
        field(entry, name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    list.iter()
        .filter_map(Value::as_object)
        .map(|entry| (text(entry, "database"), text(entry, "table")))
        .collect()
}

/// Only jobs that may rewrite rows say where their session was.
fn zone(job: &Map<String, Value>) -> Option<Zone> {
    let location = field(field(job, "reorg_meta")?.as_object()?, "location")?.as_object()?;
    let name = field(location, "name").and_then(Value::as_str).unwrap_or_default();
    let offset = field(location, "offset").and_then(Value::as_i64).unwrap_or(0);
    Zone::of_location(name, i32::try_from(offset).ok()?)
}

fn tree(json: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(json).map_err(|source| Error::Json { what: "DDL job".into(), source })
}

/// The fields of one object.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn of(value: &'a Value, what: &str) -> Result<Self, Error> {
        value
            .as_object()
            .map(Fields)
            .ok_or_else(|| Error::Schema(format!("{what} is no object: {value:.80}")))
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Error> {
        let Some(value) = field(self.0, name) else { return Ok(None) };
        // Timestamps are unsigned; none is beyond 63 bits.
        let number = value.as_i64().or_else(|| value.as_u64().map(|v| v as i64));
        number
            .map(Some)
            .ok_or_else(|| Error::Schema(format!("DDL job: {name} is {value:.80}, no whole number")))
    }

    fn int(&self, name: &str) -> Result<i64, Error> {
        Ok(self.number(name)?.unwrap_or(0))
    }

    fn required(&self, name: &str) -> Result<i64, Error> {
        self.number(name)?.ok_or_else(|| Error::Schema(format!("DDL job without {name}")))
    }

    fn text(&self, name: &str) -> String {
        field(self.0, name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

/// The objects that a finished job made or dropped, and the job itself (kind JOB). Jobs that rolled back give only the JOB.
///
/// # Errors
/// When it is no job, or carries what is no DBInfo or TableInfo.
pub fn objects_of_job(json: &[u8]) -> Result<Vec<SchemaObject>, Error> {
    let value = tree(json)?;
    let parsed = Parsed::of(&value)?;
    let mut objects = parsed.objects()?;
    let (id, parent_id) = (parsed.job.id, parsed.job.schema_id);
    objects.push(SchemaObject {
        json: normal(&value),
        parent_id,
        finished_ts: filed_ts(&value),
        ..parsed.object(ObjectKind::Job, id)
    });
    Ok(objects)
}

/// When a job was filed away, else when it began; 0 where it says neither. Of a job without a version it is all that tells where it lies.
fn filed_ts(job: &Value) -> u64 {
    let number = |object: Option<&Value>, name: &str| {
        object
            .and_then(Value::as_object)
            .and_then(|o| field(o, name))
            .and_then(Value::as_u64)
            .filter(|ts| *ts != 0)
    };
    let result = job.as_object().and_then(|o| field(o, "binlog"));
    number(result, "finishedts").or_else(|| number(Some(job), "start_ts")).unwrap_or(0)
}

/// A job of the history that cannot be read, as an object: whoever comes to its binlog is told of it.
pub fn unreadable_job(id: i64, json: &[u8]) -> SchemaObject {
    SchemaObject {
        kind: ObjectKind::Job as i32,
        id,
        json: Bytes::copy_from_slice(json),
        finished_ts: serde_json::from_slice(json).map_or(0, |value| filed_ts(&value)),
        ..SchemaObject::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_whatever_their_case() {
        let json = br#"{"ID":7,"Type":4,"schema_ID":2,"Table_id":10,"State":6,"Query":"drop table t","Start_TS":5,
            "BINLOG":{"schemaversion":9,"FINISHEDTS":50,"tableInfo":{"ID":10,"Name":{"o":"t","l":"t"},"Update_Timestamp":7}}}"#;
        let (job, objects) = Job::read(json).unwrap();
        assert_eq!((job.id, job.job_type, job.version.0, job.effective), (7, 4, 9, true));
        assert_eq!(
            (objects.len(), objects[0].id, objects[0].finished_ts, objects[0].dropped),
            (1, 10, 7, true)
        );
    }

    #[test]
    fn ids_of_dropped_tables_are_any_of_the_arguments() {
        for args in ["[[10,11]]", "[true,[10,11]]", r#"{"all_dropped_table_ids":[10,11]}"#] {
            let json = format!(
                r#"{{"id":7,"type":2,"schema_id":2,"state":6,"raw_args":{args},"binlog":{{"SchemaVersion":9,"DBInfo":{{"id":2,"db_name":"d"}}}}}}"#
            );
            let ids: Vec<i64> = Job::read(json.as_bytes()).unwrap().1.iter().map(|o| o.id).collect();
            assert_eq!(ids, [2, 10, 11], "{args}");
        }
    }

    #[test]
    fn every_job_says_when_it_was_filed_away() {
        let filed = |json: &str| objects_of_job(json.as_bytes()).unwrap().pop().unwrap().finished_ts;
        let rolled_back =
            |binlog: &str| format!(r#"{{"id":7,"type":61,"state":3,"start_ts":5,"binlog":{binlog}}}"#);
        assert_eq!(filed(&rolled_back(r#"{"SchemaVersion":0,"FinishedTS":50}"#)), 50);
        for without in [r#"{"SchemaVersion":0,"FinishedTS":0}"#, "null"] {
            assert_eq!(filed(&rolled_back(without)), 5, "{without}");
        }
        let unreadable = |json: &str| unreadable_job(7, json.as_bytes()).finished_ts;
        assert_eq!(unreadable(r#"{"id":7,"type":{},"START_TS":5,"binlog":{"FinishedTS":50}}"#), 50);
        assert_eq!((unreadable(r#"{"id":7,"start_ts":5,"binlog":3}"#), unreadable("{")), (5, 0));
    }

    #[test]
    fn a_job_says_where_its_session_was() {
        let zone = |meta: &str| {
            let json = format!(r#"{{"id":7,"type":12,"reorg_meta":{meta}}}"#);
            Job::parse(json.as_bytes()).unwrap().zone.map(|zone| zone.name().to_owned())
        };
        assert_eq!(zone("null"), None);
        assert_eq!(zone(r#"{"location":{"name":"Etc/UTC","offset":0}}"#), None);
        assert_eq!(zone(r#"{"location":{"name":"UTC","offset":28800}}"#).as_deref(), Some("+08:00"));
        assert_eq!(zone(r#"{"Location":{"Name":"Asia/Tokyo"}}"#).as_deref(), Some("Asia/Tokyo"));
    }

    #[test]
    fn what_is_no_job_is_an_error() {
        for bad in
            ["", "[]", "{}", r#"{"id":1}"#, r#"{"id":"x","type":1}"#, r#"{"id":1,"type":1,"binlog":3}"#]
        {
            assert!(Job::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(Job::parse(br#"{"id":1,"type":777}"#).unwrap().job_type, 255);
    }
}
