//! Endpoints for people who look closely.

use std::fmt::Write as _;

use axum::extract::{Path, State};
use axum::response::Response;
use binlog_proto::binlog::{Binlog, BinlogType, MutationType, PrewriteValue};
use binlog_proto::kvrpcpb::{MvccInfo, Op};
use binlog_proto::{Body, decode_extra};
use binlog_storage::RawRecord;
use binlog_types::Ts;
use bytes::{Bytes, BytesMut};
use prost::Message;

use super::text;
use crate::context::Shared;

/// The record at a timestamp: start_ts of an open prewrite, commit_ts of a commit.
pub(super) async fn binlog(State(context): State<Shared>, Path(ts): Path<String>) -> Response {
    let Ok(raw) = ts.parse::<i64>().map(|ts| ts as u64) else {
        return text(format!("invalid parameter ts: {ts}"));
    };
    let store = context.store.clone();
    let found = tokio::task::spawn_blocking(move || store.raw(Ts::new(raw))).await;
    let failed = |why: &str| text(format!("fail read binlog by ts: {raw}: {why}"));
    match found {
        Ok(Ok(Some(record))) => match binlog_of(record) {
            Ok(binlog) => {
                let mut out = compact_text(&binlog);
                if let Some(key) = binlog.prewrite_key.as_ref().filter(|key| !key.is_empty()) {
                    mvcc(&context, key, &mut out).await;
                }
                text(out)
            }
            Err(why) => failed(&why),
        },
        Ok(Ok(None)) => failed("leveldb: not found"),
        Ok(Err(error)) => failed(&error.to_string()),
        Err(_) => failed("the pump is shutting down"),
    }
}

/// What TiKV knows of the primary key.
async fn mvcc(context: &Shared, key: &[u8], out: &mut String) {
    let Some(tikv) = &context.tikv else { return };
    match tikv.mvcc_get_by_key(key).await {
        Ok(info) => {
            out.push_str("\n\n GetMvccByEncodedKey: \n");
            versions(out, &info);
        }
        Err(error) => {
            let _ = write!(out, "GetMvccByEncodedKey failed: {error}");
        }
    }
}

/// Starts a garbage collection, unless one is at work.
pub(super) async fn trigger_gc(State(context): State<Shared>) -> Response {
    text(if context.gc.ask() { "trigger gc success\n" } else { "gc is working\n" })
}

/// What lies in the store, as the message that it came in.
fn binlog_of(record: RawRecord) -> Result<Binlog, String> {
    let with_body = |payload: Bytes, head: Binlog| {
        let body = Body::decode(payload).map_err(|e| e.to_string())?;
        Ok(Binlog {
            prewrite_value: body.prewrite_value,
            ddl_query: body.ddl_query,
            ddl_job_id: body.ddl_job_id,
            ddl_schema_state: body.ddl_schema_state,
            ..head
        })
    };
    let key = |extra: &[u8]| {
        decode_extra(extra).map(|key| key.map(|key| key.to_vec().into())).map_err(|e| e.to_string())
    };
    match record {
        RawRecord::Prewrite { prewrite, .. } => {
            let prewrite_key = Some(prewrite.key);
            let head = Binlog { start_ts: prewrite.start_ts.as_i64(), prewrite_key, ..Binlog::default() };
            with_body(prewrite.payload, head)
        }
        RawRecord::Commit(commit) => Ok(Binlog {
            tp: BinlogType::Commit as i32,
            start_ts: commit.start_ts.as_i64(),
            commit_ts: commit.commit_ts.as_i64(),
            prewrite_key: key(&commit.extra)?,
            ..Binlog::default()
        }),
        RawRecord::Record(fragments) => {
            let Some(first) = fragments.first() else { return Err("a record without fragments".to_owned()) };
            let head = Binlog {
                tp: if first.fake { BinlogType::Rollback } else { BinlogType::Commit } as i32,
                start_ts: first.start_ts.as_i64(),
                commit_ts: first.commit_ts.as_i64(),
                prewrite_key: key(&first.extra)?,
                ..Binlog::default()
            };
            let mut payload = BytesMut::new();
            for fragment in &fragments {
                payload.extend_from_slice(&fragment.payload);
            }
            with_body(payload.freeze(), head)
        }
        other => Err(format!("{other}")),
    }
}

/// Go's compact text of the message, zero fields left out, and of the rows in it. Each field has a space behind it.
fn compact_text(binlog: &Binlog) -> String {
    let mut out = format!("tp:{} ", binlog.tp().as_str_name());
    field(&mut out, "start_ts", binlog.start_ts);
    field(&mut out, "commit_ts", binlog.commit_ts);
    quoted(&mut out, "prewrite_key", binlog.prewrite_key.as_deref());
    quoted(&mut out, "ddl_query", binlog.ddl_query.as_deref());
    field(&mut out, "ddl_job_id", binlog.ddl_job_id);
    field(&mut out, "ddl_schema_state", i64::from(binlog.ddl_schema_state));
    if let Some(value) = binlog.prewrite_value.as_ref().filter(|value| !value.is_empty()) {
        out.push_str("\n\n PrewriteValue: \n");
        match PrewriteValue::decode(value.as_ref()) {
            Ok(value) => rows(&mut out, &value),
            Err(_) => out.push_str("<Unmarshallable>"),
        }
    }
    out
}

fn rows(out: &mut String, value: &PrewriteValue) {
    field(out, "schema_version", value.schema_version);
    for mutation in &value.mutations {
        out.push_str("mutations:<");
        field(out, "table_id", mutation.table_id);
        for (name, rows) in [
            ("inserted_rows", &mutation.inserted_rows),
            ("updated_rows", &mutation.updated_rows),
            ("deleted_pks", &mutation.deleted_pks),
            ("deleted_rows", &mutation.deleted_rows),
        ] {
            for row in rows {
                quoted(out, name, Some(row));
            }
        }
        for kind in &mutation.sequence {
            match MutationType::try_from(*kind) {
                // Writing to a String cannot fail.
                Ok(kind) => {
                    let _ = write!(out, "sequence:{} ", kind.as_str_name());
                }
                Err(_) => {
                    let _ = write!(out, "sequence:{kind} ");
                }
            }
        }
        out.push_str("> ");
    }
}

/// The answer of TiKV as Go prints it: `info:<lock:<…> writes:<…> values:<…> >`.
fn versions(out: &mut String, info: &MvccInfo) {
    out.push_str("info:<");
    if let Some(lock) = &info.lock {
        out.push_str("lock:<");
        kind(out, lock.r#type);
        field(out, "start_ts", lock.start_ts);
        bytes_field(out, "primary", &lock.primary);
        bytes_field(out, "short_value", &lock.short_value);
        out.push_str("> ");
    }
    for write in &info.writes {
        out.push_str("writes:<");
        kind(out, write.r#type);
        field(out, "start_ts", write.start_ts);
        field(out, "commit_ts", write.commit_ts);
        bytes_field(out, "short_value", &write.short_value);
        out.push_str("> ");
    }
    for value in &info.values {
        out.push_str("values:<");
        field(out, "start_ts", value.start_ts);
        bytes_field(out, "value", &value.value);
        out.push_str("> ");
    }
    out.push_str("> ");
}

fn kind(out: &mut String, kind: i32) {
    match Op::try_from(kind) {
        Ok(Op::Put) => {}
        Ok(op) => out.push_str(&format!("type:{} ", op.as_str_name())),
        Err(_) => out.push_str(&format!("type:{kind} ")),
    }
}

fn field<N: Default + PartialEq + std::fmt::Display>(out: &mut String, name: &str, value: N) {
    if value != N::default() {
        let _ = write!(out, "{name}:{value} ");
    }
}

fn bytes_field(out: &mut String, name: &str, bytes: &[u8]) {
    if !bytes.is_empty() {
        quoted(out, name, Some(bytes));
    }
}

/// Bytes as protobuf's text format has them: printable ASCII as it is, the rest in octal.
fn quoted(out: &mut String, name: &str, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return };
    let _ = write!(out, "{name}:\"");
    for &byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            0x20..0x7f => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
    out.push_str("\" ");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_gos() {
        let binlog = Binlog {
            tp: BinlogType::Commit as i32,
            start_ts: 5,
            commit_ts: 7,
            prewrite_key: Some(Bytes::from_static(b"t\x80\"k")),
            ..Binlog::default()
        };
        use binlog_proto::kvrpcpb::{MvccLock, MvccWrite};
        let info = MvccInfo {
            lock: Some(MvccLock {
                r#type: Op::Lock as i32,
                start_ts: 9,
                primary: "k".into(),
                ..Default::default()
            }),
            writes: vec![MvccWrite { r#type: 0, start_ts: 5, commit_ts: 7, short_value: "v".into() }],
            ..Default::default()
        };
        let mut out = String::new();
        versions(&mut out, &info);
        assert_eq!(
            out,
            "info:<lock:<type:Lock start_ts:9 primary:\"k\" > writes:<start_ts:5 commit_ts:7 short_value:\"v\" > > "
        );
        assert_eq!(compact_text(&binlog), "tp:Commit start_ts:5 commit_ts:7 prewrite_key:\"t\\200\\\"k\" ");
        let mutation = binlog_proto::binlog::TableMutation {
            table_id: 9,
            inserted_rows: vec!["r".into()],
            sequence: vec![MutationType::Insert as i32],
            ..Default::default()
        };
        let value = PrewriteValue { schema_version: 3, mutations: vec![mutation] }.encode_to_vec();
        let with = |value: Vec<u8>| Binlog { prewrite_value: Some(value.into()), ..binlog.clone() };
        let head = compact_text(&binlog) + "\n\n PrewriteValue: \n";
        let rows = "schema_version:3 mutations:<table_id:9 inserted_rows:\"r\" sequence:Insert > ";
        assert_eq!(compact_text(&with(value)), format!("{head}{rows}"));
        assert_eq!(compact_text(&with(vec![0xff])), format!("{head}<Unmarshallable>"));
    }
}
