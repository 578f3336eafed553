//! `PUT /state/{node}/{action}`: what binlogctl calls. `…/close?force=true` waits for no drainer, and ends a wait that goes on.

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use binlog_cluster::{Action, NodeState};
use serde::{Deserialize, Serialize};

use crate::context::Shared;

const SUCCESS: i32 = 200;
const FAILED: i32 = 3;

/// The original's reply, in its order.
#[derive(Debug, Serialize)]
struct Reply {
    message: String,
    code: i32,
    data: Option<()>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    force: bool,
}

pub(super) async fn apply(
    State(context): State<Shared>,
    Path((node, action)): Path<(String, String)>,
    Query(options): Query<Options>,
) -> Response {
    let (message, code) = match order(&context, &node, &action, options.force) {
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
fn order(context: &Shared, node: &str, action: &str, force: bool) -> Result<(), String> {
    let own = context.node.id();
    if node != own.as_str() {
        return Err(format!("invalide nodeID {node}, this pump's nodeID is {own}"));
    }
    let state = context.node.state();
    let forced = force && action == "close";
    if forced && state == NodeState::Closing {
        tracing::warn!("an operator ends the wait for the drainers");
        context.drain.force();
        return Ok(());
    }
    let refused = |state| format!("this pump's state is {}, apply {action} failed!", state);
    if state != NodeState::Online {
        return Err(refused(state));
    }
    let Some(order) = Action::parse(action) else { return Err(format!("invalide action {action}")) };
    if forced {
        context.drain.force();
    }
    context.node.request(order).map_err(refused)?;
    tracing::info!(action, forced, "an operator changes the state");
    Ok(())
}

/// What a closing pump waits for; `null` while it is not closing.
pub(super) async fn drain(State(context): State<Shared>) -> Response {
    super::status::json_line(&context.drain.now())
}
