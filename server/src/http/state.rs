//! `PUT /state/{node}/{action}`: what binlogctl calls.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::context::Shared;
use crate::node::{Action, state_name};

const SUCCESS: i32 = 200;
const FAILED: i32 = 3;

/// The original's reply, in its order.
#[derive(Debug, Serialize)]
struct Reply {
    message: String,
    code: i32,
    data: Option<()>,
}

pub(super) async fn apply(
    State(context): State<Shared>,
    Path((node, action)): Path<(String, String)>,
) -> Response {
    let (message, code) = match order(&context, &node, &action) {
        Ok(()) => (format!("apply action {action} success!"), SUCCESS),
        Err(message) => {
            tracing::warn!(%message, "apply action failed");
            (message, FAILED)
        }
    };
    let reply = Reply { message, code, data: None };
    match serde_json::to_string_pretty(&reply) {
        Ok(json) => {
            ([(header::CONTENT_TYPE, "application/json; charset=UTF-8")], json + "\n").into_response()
        }
        Err(error) => super::text(format!("cannot encode the reply: {error}\n")),
    }
}

/// The node's watchers do the rest; the reply does not wait for them.
fn order(context: &Shared, node: &str, action: &str) -> Result<(), String> {
    let own = context.node.id();
    if node != own.as_str() {
        return Err(format!("invalide nodeID {node}, this pump's nodeID is {own}"));
    }
    let state = context.node.state();
    let refused = |state| format!("this pump's state is {}, apply {action} failed!", state_name(state));
    if state != binlog_cluster::NodeState::Online {
        return Err(refused(state));
    }
    let Some(order) = Action::parse(action) else { return Err(format!("invalide action {action}")) };
    context.node.request(order).map_err(refused)?;
    tracing::info!(action, "an operator changes the state");
    Ok(())
}
