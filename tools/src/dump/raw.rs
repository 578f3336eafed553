//! Records as they are stored: the protobuf fields, without any schema.

use std::io::Write;

use anyhow::Context as _;
use binlog_proto::binlog::PrewriteValue;
use binlog_pull::Record;
use binlog_reparo::utc;
use prost::Message;
use serde_json::{Value as Json, json};

use super::json::hex;

/// Writes one record.
pub(crate) fn write(out: &mut impl Write, record: &Record, as_json: bool) -> anyhow::Result<()> {
    let described = describe(record).with_context(|| format!("record at commit_ts {}", record.commit_ts))?;
    if as_json {
        writeln!(out, "{described}")?;
        return Ok(());
    }
    writeln!(
        out,
        "commit {}  {}  start {}, schema version {}, {} bytes",
        record.commit_ts,
        utc(record.commit_ts.ts()),
        record.start_ts,
        record.schema_version,
        record.payload.len()
    )?;
    show(out, &described, 1)
}

fn describe(record: &Record) -> anyhow::Result<Json> {
    let body = record.body()?;
    let mut fields = json!({
        "commit_ts": record.commit_ts.raw(), "start_ts": record.start_ts.raw(), "schema_version": record.schema_version.0,
        "fake": record.is_fake(), "prewrite_key_of_commit": hex(&record.extra), "ddl_job_id": body.ddl_job_id,
        "ddl_schema_state": body.ddl_schema_state,
    });
    let Some(map) = fields.as_object_mut() else { return Ok(fields) };
    if let Some(query) = &body.ddl_query {
        map.insert("ddl_query".to_owned(), json!(String::from_utf8_lossy(query)));
    }
    if let Some(value) = &body.prewrite_value {
        let value = PrewriteValue::decode(value.clone())?;
        let rows = |rows: &[bytes::Bytes]| rows.iter().map(|row| hex(row)).collect::<Vec<_>>();
        let tables: Vec<Json> = value
            .mutations
            .iter()
            .map(|m| {
                json!({
                    "table_id": m.table_id, "inserted_rows": rows(&m.inserted_rows), "updated_rows": rows(&m.updated_rows),
                    "deleted_rows": rows(&m.deleted_rows), "sequence": m.sequence,
                })
            })
            .collect();
        map.insert("mutations".to_owned(), Json::Array(tables));
    }
    Ok(fields)
}

/// The fields that are not in the head line, indented.
fn show(out: &mut impl Write, fields: &Json, depth: usize) -> anyhow::Result<()> {
    const HEAD: [&str; 3] = ["commit_ts", "start_ts", "schema_version"];
    let indent = "  ".repeat(depth);
    for (name, value) in fields.as_object().into_iter().flatten() {
        match value {
            _ if HEAD.contains(&name.as_str()) => {}
            Json::Array(items) if items.iter().any(Json::is_object) => {
                for item in items {
                    writeln!(out, "{indent}{name}:")?;
                    show(out, item, depth + 1)?;
                }
            }
            Json::Array(items) if items.is_empty() => {}
            Json::Array(items) if items.iter().all(Json::is_string) => {
                for item in items {
                    writeln!(out, "{indent}{name}: {}", item.as_str().unwrap_or_default())?;
                }
            }
            Json::String(text) => writeln!(out, "{indent}{name}: {text}")?,
            other => writeln!(out, "{indent}{name}: {other}")?,
        }
    }
    Ok(())
}
