//! This node's entry in the registry.

use std::sync::Arc;
use std::time::Duration;

use binlog_cluster::{NodeKind, NodeStatus};

use crate::Error;
use crate::context::Context;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// So many failures in a row end the drainer: nobody would know any more what it still needs.
const FAILURES: u32 = 20;

/// Writes the entry as things stand.
pub(crate) async fn publish(context: &Context) -> Result<(), binlog_cluster::Error> {
    let mut status =
        NodeStatus::new(context.node.id.clone(), context.node.host.clone(), context.node.state());
    status.max_commit_ts = context.saved().as_i64();
    status.update_ts = context.about_now().as_i64();
    context.cluster.registry.put(NodeKind::Drainer, &status).await
}

/// Keeps the entry fresh until it is stopped.
pub(crate) async fn heartbeat(context: Arc<Context>) -> Result<(), Error> {
    let mut failures = 0;
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        match publish(&context).await {
            Ok(()) => failures = 0,
            Err(source) => {
                failures += 1;
                tracing::warn!(failures, error = %source, "the registry could not be written");
                if failures >= FAILURES {
                    return Err(Error::Heartbeat { failures, source });
                }
            }
        }
    }
}
