//! The HTTP endpoints, on the same port as gRPC; paths, texts and JSON as the original has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use binlog_cluster::Action;
use serde::Serialize;

use crate::context::Context;

type Shared = Arc<Context>;

const SUCCESS: i32 = 200;
const FAILED: i32 = 3;

/// All endpoints.
pub(crate) fn router(context: Shared) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/commit_ts", get(commit_ts))
        .route("/state/{node}/{action}", put(state))
        .route("/skip/{commit_ts}", put(skip))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .with_state(context)
}

/// `GET /status`: the original's fields, then ours.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    pump_pos: BTreeMap<String, u64>,
    synced: bool,
    #[serde(rename = "LastTS")]
    last_ts: u64,
    ts_map: &'static str,
    state: &'static str,
    /// What holds the stream back: the pump that is furthest behind, the schema, …
    waits_for: String,
    /// Pumps that cannot be reached, with the seconds since when: nothing after their positions can be replicated.
    unreachable: BTreeMap<String, u64>,
    /// Holes in pumps' streams that were passed over, as `accept-gap` said.
    accepted_gaps: Vec<crate::ledger::AcceptedHole>,
    /// What is left out because an operator asked for it (`PUT /skip/…`).
    skips: Vec<crate::ledger::Skip>,
}

async fn status(State(context): State<Shared>) -> Response {
    let members = context.progress().map(|p| p.members()).unwrap_or_default();
    let unreachable = members
        .iter()
        .filter_map(|m| Some((m.id.to_string(), m.apart.filter(|apart| apart.as_secs() > 0)?.as_secs())))
        .collect();
    let status = Status {
        pump_pos: members.into_iter().map(|m| (m.id.to_string(), m.complete_through.raw())).collect(),
        synced: context.is_synced(),
        last_ts: context.position().raw(),
        ts_map: "",
        state: context.node.state().as_str(),
        waits_for: context.waits_for(),
        unreachable,
        accepted_gaps: context.ledger.passed(),
        skips: context.ledger.skips(),
    };
    json(serde_json::to_string(&status))
}

/// The original's reply, in its order.
#[derive(Debug, Serialize)]
struct Reply<T> {
    message: String,
    code: i32,
    data: Option<T>,
}

#[derive(Debug, Serialize)]
struct CommitTs {
    ts: u64,
}

async fn commit_ts(State(context): State<Shared>) -> Response {
    let message = "get drainer's latest ts success!".to_owned();
    let reply = Reply { message, code: SUCCESS, data: Some(CommitTs { ts: context.position().raw() }) };
    json(serde_json::to_string_pretty(&reply))
}

async fn state(State(context): State<Shared>, Path((node, action)): Path<(String, String)>) -> Response {
    let (message, code) = match order(&context, &node, &action) {
        Ok(()) => (format!("apply action {action} success!"), SUCCESS),
        Err(message) => {
            tracing::warn!(%message, "apply action failed");
            (message, FAILED)
        }
    };
    json(serde_json::to_string_pretty(&Reply::<()> { message, code, data: None }))
}

async fn skip(State(context): State<Shared>, Path(commit_ts): Path<String>) -> Response {
    let asked = match commit_ts.parse() {
        Ok(commit_ts) => context.skip(binlog_types::CommitTs::new(commit_ts)),
        Err(_) => Err(format!("{commit_ts:?} is no commit_ts")),
    };
    let (message, code) = match asked {
        Ok(()) => {
            tracing::warn!(commit_ts, "an operator wants this to be left out");
            let message = format!(
                "what was committed at {commit_ts} will be left out; if it is on its way to the downstream already, after the next start"
            );
            (message, SUCCESS)
        }
        Err(message) => {
            tracing::warn!(%message, "nothing is left out");
            (message, FAILED)
        }
    };
    json(serde_json::to_string_pretty(&Reply::<()> { message, code, data: None }))
}

/// The node's watchers do the rest; the reply does not wait for them.
fn order(context: &Context, node: &str, action: &str) -> Result<(), String> {
    let own = &context.node.id;
    if node != own.as_str() {
        return Err(format!("invalide nodeID {node}, this drainer's nodeID is {own}"));
    }
    let Some(order) = Action::parse(action) else { return Err(format!("invalide action {action}")) };
    context
        .node
        .request(order)
        .map_err(|state| format!("this drainer's state is {state}, apply {action} failed!"))?;
    tracing::info!(action, "an operator changes the state");
    Ok(())
}

async fn metrics(State(context): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], context.metrics.text())
        .into_response()
}

/// A gRPC client gets `Unimplemented`; anyone else the original's text.
async fn not_found(headers: HeaderMap) -> Response {
    let content = headers.get(header::CONTENT_TYPE);
    if content.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        return tonic::Status::unimplemented("unknown service or method").into_http::<axum::body::Body>();
    }
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

fn json(encoded: serde_json::Result<String>) -> Response {
    match encoded {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "application/json; charset=UTF-8")], text + "\n").into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
