//! This node in the registry: its entry, and the mark that it lives.

use std::sync::Arc;
use std::time::Duration;

use binlog_cli::hostname;
use binlog_cluster::{Life, LifeMark, NodeKind, NodeStatus};

use crate::Error;
use crate::context::Context;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// So many failures in a row end the drainer: nobody would know any more what it still needs.
const FAILURES: u32 = 20;

/// Without a sign for so long, a drainer does not live.
const LIFE: Duration = Duration::from_secs(10);

/// Takes this node's name: two drainers of one name would overwrite each other's position, which pumps keep binlogs by. The mark of a process
/// that died with this data directory is taken over at once, any other one is waited out.
///
/// # Errors
/// When another process has the name, or the registry cannot be reached.
pub(crate) async fn claim_name(context: &Context) -> Result<LifeMark, binlog_cluster::Error> {
    let data_dir = &context.settings.data_dir;
    let place = std::fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.clone());
    let life = Life {
        node_id: context.node.id.clone(),
        host: context.node.host.clone(),
        // Its lock is ours: whoever had it before is gone.
        owner: format!("{}:{}", hostname().unwrap_or_default(), place.display()),
        incarnation: context.clock.unix_millis(),
    };
    let deadline = context.clock.monotonic() + LIFE + Duration::from_secs(3);
    let mut said = false;
    loop {
        match context.cluster.registry.claim_life(NodeKind::Drainer, life.clone(), LIFE).await {
            Err(error @ binlog_cluster::Error::Taken { .. }) if context.clock.monotonic() < deadline => {
                if !said {
                    tracing::warn!(%error, "waiting whether the other process still lives");
                    said = true;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            claimed => return claimed,
        }
    }
}

/// Renews the mark until the drainer stops; then gives the name free.
pub(crate) async fn keep_name(context: Arc<Context>, mut mark: LifeMark) {
    loop {
        tokio::select! {
            () = context.stop.cancelled() => break,
            () = tokio::time::sleep(mark.ttl() / 3) => {}
        }
        if let Err(error) = mark.renew().await {
            tracing::error!(%error, "this drainer cannot show that it lives");
        }
    }
    if let Err(error) = mark.release().await {
        tracing::debug!(%error, "the mark of this drainer ends by itself");
    }
}

/// Writes the entry as things stand.
pub(crate) async fn publish(context: &Context) -> Result<(), binlog_cluster::Error> {
    let mut status =
        NodeStatus::new(context.node.id.clone(), context.node.host.clone(), context.node.state());
    status.max_commit_ts = context.position().as_i64();
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
