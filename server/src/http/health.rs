//! For monitoring: metrics, liveness, readiness.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::text;
use crate::context::Shared;

pub(super) async fn metrics(State(context): State<Shared>) -> Response {
    // What the store counts may read properties of RocksDB.
    let exposed = tokio::task::spawn_blocking(move || context.metrics.expose()).await;
    match exposed {
        Ok(Ok(body)) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body).into_response()
        }
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Whether the store still takes writes; 503 with the reason where it does not.
pub(super) async fn health(State(context): State<Shared>) -> Response {
    match context.store.poisoned() {
        None => text("ok\n"),
        Some(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, text(format!("the store takes no writes: {reason}\n")))
                .into_response()
        }
    }
}

/// Whether prewrites are taken now; 503 with the reason where they are not.
pub(super) async fn ready(State(context): State<Shared>) -> Response {
    let why = if let Some(reason) = context.store.poisoned() {
        format!("the store takes no writes: {reason}\n")
    } else if !context.node.is_online() {
        format!("the node is {}\n", context.node.state())
    } else if let Some((available, limit)) = context.disk.exhausted() {
        format!("no available space, available: {available}, StopWriteAtAvailableSpace: {limit}\n")
    } else {
        return text("ok\n");
    };
    (StatusCode::SERVICE_UNAVAILABLE, text(why)).into_response()
}
