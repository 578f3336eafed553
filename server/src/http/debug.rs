//! Endpoints for people who look closely.

use axum::extract::{Path, State};
use axum::response::Response;
use binlog_types::Ts;

use super::text;
use crate::context::Shared;

/// The record at a timestamp: start_ts of a prewrite, commit_ts of a commit.
pub(super) async fn binlog(State(context): State<Shared>, Path(ts): Path<String>) -> Response {
    let Ok(raw) = ts.parse::<i64>().map(|ts| ts as u64) else { return text(format!("invalid parameter ts: {ts}")) };
    let store = context.store.clone();
    let found = tokio::task::spawn_blocking(move || store.raw(Ts::new(raw))).await;
    match found {
        Ok(Ok(Some(record))) => text(record),
        Ok(Ok(None)) => text(format!("fail read binlog by ts: {raw}: leveldb: not found")),
        Ok(Err(error)) => text(format!("fail read binlog by ts: {raw}: {error}")),
        Err(_) => text(format!("fail read binlog by ts: {raw}: the pump is shutting down")),
    }
}

/// Starts a garbage collection, unless one is at work.
pub(super) async fn trigger_gc(State(context): State<Shared>) -> Response {
    text(if context.gc.ask() { "trigger gc success\n" } else { "gc is working\n" })
}
