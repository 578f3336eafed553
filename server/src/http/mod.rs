//! The HTTP endpoints, on the same port as gRPC; paths, texts and JSON as the original has them.

mod debug;
mod health;
mod state;
mod status;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};

use crate::context::Shared;

const TEXT: &str = "text/plain; charset=utf-8";

/// All endpoints.
pub(crate) fn router(context: Shared) -> Router {
    Router::new()
        .route("/status", get(status::status))
        .route("/drainers", get(status::drainers))
        .route("/state/{node}/{action}", put(state::apply))
        .route("/debug/binlog/{ts}", get(debug::binlog))
        .route("/debug/drain", get(state::drain))
        .route("/debug/gc/trigger", post(debug::trigger_gc))
        .route("/metrics", get(health::metrics))
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .fallback(not_found)
        .with_state(context)
}

/// A gRPC client gets `Unimplemented`, so that it can fall back; anyone else the original's text.
async fn not_found(headers: HeaderMap) -> Response {
    let grpc = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if grpc {
        return tonic::Status::unimplemented("unknown service or method").into_http::<axum::body::Body>();
    }
    let nosniff = [(header::CONTENT_TYPE, TEXT), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (StatusCode::NOT_FOUND, nosniff, "404 page not found\n").into_response()
}

/// Plain text, as Go sends it.
fn text(body: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, TEXT)], body.into()).into_response()
}
