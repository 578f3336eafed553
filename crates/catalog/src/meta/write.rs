//! TiDB's JSON of schema objects and jobs, for embedded writers: what TiDB's readers and [`super::parse_table`] need.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::shape::PUBLIC;
use crate::{Column, Database, Index, Table, tp};

fn name(text: &str) -> Value {
    json!({ "O": text, "L": text.to_lowercase() })
}

fn state(public: bool) -> i64 {
    if public { PUBLIC } else { 0 }
}

/// TiDB's JSON of a table. Views, sequences and partitions are not written.
pub fn table_json(table: &Table) -> Vec<u8> {
    table_value(table).to_string().into_bytes()
}

fn table_value(table: &Table) -> Value {
    // TiDB keeps no index for an integer key that is the handle.
    let indexes = table.indexes.iter().filter(|i| !(table.pk_is_handle && i.primary));
    json!({
        "id": table.id.0,
        "name": name(&table.name),
        "charset": table.charset,
        "collate": table.collate,
        "cols": table.columns.iter().map(column_value).collect::<Vec<_>>(),
        "index_info": indexes.map(index_value).collect::<Vec<_>>(),
        "state": PUBLIC,
        "pk_is_handle": table.pk_is_handle,
        "is_common_handle": table.is_common_handle,
        "common_handle_version": i32::from(table.is_common_handle),
        "comment": table.comment,
        "max_col_id": table.columns.iter().map(|c| c.id).max().unwrap_or(0),
        "max_idx_id": table.indexes.iter().map(|i| i.id).max().unwrap_or(0),
        "partition": null,
        "view": null,
        "sequence": null,
        "version": 5,
    })
}

fn column_value(column: &Column) -> Value {
    let ty = &column.ty;
    let (origin_default, origin_default_bit) = default_values(column, column.origin_default.as_deref());
    let (default, default_bit) = default_values(column, column.default.as_deref());
    json!({
        "id": column.id,
        "name": name(&column.name),
        "offset": column.offset,
        "origin_default": origin_default,
        "origin_default_bit": origin_default_bit,
        "default": default,
        "default_bit": default_bit,
        "default_is_expr": column.default_is_expr,
        "generated_expr_string": column.generated_expr,
        "generated_stored": column.generated_stored,
        "type": {
            "Tp": ty.tp, "Flag": ty.flag, "Flen": ty.flen, "Decimal": ty.decimal, "Charset": ty.charset, "Collate": ty.collate,
            "Elems": if ty.elems.is_empty() { Value::Null } else { json!(ty.elems) }, "Array": ty.array,
        },
        "state": state(column.public),
        "comment": column.comment,
        "hidden": column.hidden,
        "version": 2,
    })
}

fn default_values(column: &Column, default: Option<&[u8]>) -> (Value, Value) {
    match default {
        None => (Value::Null, Value::Null),
        Some(bytes) if column.ty.tp == tp::BIT => (Value::Null, STANDARD.encode(bytes).into()),
        Some(bytes) => (String::from_utf8_lossy(bytes).into(), Value::Null),
    }
}

fn index_value(index: &Index) -> Value {
    let columns = index.columns.iter().map(
        |c| json!({ "name": name(&c.name), "offset": c.offset, "length": c.prefix.map_or(-1, i64::from) }),
    );
    json!({
        "id": index.id,
        "idx_name": name(&index.name),
        "tbl_name": name(""),
        "idx_cols": columns.collect::<Vec<_>>(),
        "state": state(index.public),
        "comment": index.comment,
        "index_type": 1,
        "is_unique": index.unique,
        "is_primary": index.primary,
        "is_invisible": index.invisible,
    })
}

/// TiDB's JSON of a database.
pub fn database_json(database: &Database) -> Vec<u8> {
    database_value(database).to_string().into_bytes()
}

fn database_value(database: &Database) -> Value {
    json!({
        "id": database.id,
        "db_name": name(&database.name),
        "charset": database.charset,
        "collate": database.collate,
        "state": PUBLIC,
        "policy_ref_info": null,
    })
}

/// A finished DDL job, to be written as TiDB writes it.
#[derive(Clone, Debug, Default)]
pub struct JobSpec<'a> {
    /// Job id.
    pub id: i64,
    /// TiDB's number of the kind of job ([`super::job_type`]).
    pub job_type: u8,
    /// Database id.
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
    pub database: Option<&'a Database>,
    /// The table made, changed or dropped.
    pub table: Option<&'a Table>,
}

/// TiDB's JSON of a finished job.
pub fn job_json(job: &JobSpec<'_>) -> Vec<u8> {
    json!({
        "id": job.id,
        "type": job.job_type,
        "schema_id": job.schema_id,
        "table_id": job.table_id,
        "schema_name": job.schema_name,
        "table_name": job.table.map_or("", |t| t.name.as_str()),
        "state": 6,
        "schema_state": PUBLIC,
        "start_ts": job.start_ts,
        "real_start_ts": job.start_ts,
        "query": job.query,
        "binlog": {
            "SchemaVersion": job.schema_version,
            "DBInfo": job.database.map(database_value),
            "TableInfo": job.table.map(table_value),
            "FinishedTS": job.finished_ts,
            "MultipleTableInfos": null,
        },
        "raw_args": null,
        "version": 1,
    })
    .to_string()
    .into_bytes()
}
