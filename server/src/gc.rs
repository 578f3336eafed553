//! Garbage collection: how far the safe point may go, and when it is moved.

use std::time::Duration;

use binlog_cluster::{NodeKind, NodeState, NodeStatus};
use binlog_types::{CommitTs, Range, Retention};

use crate::context::Shared;
use crate::grpc::schema;
use crate::metrics::gauge_of;

/// Not at once: a pump that has just started has other things to do, but one that restarts every hour must collect too.
const FIRST: Duration = Duration::from_secs(90);
const INTERVAL: Duration = Duration::from_secs(3600);

/// What one collection may drop, and whose unread binlogs it drops by the cap.
#[derive(Debug, PartialEq)]
struct Plan {
    /// Everything at or below it may go.
    target: CommitTs,
    /// Drainers whose checkpoint lies below.
    overtaken: Vec<NodeStatus>,
}

/// `min(watermark - retention, checkpoints of all drainers that are not offline)`, but never below `watermark - cap`.
/// All in the oracle's time: a wrong wall clock drops nothing.
fn plan(watermark: CommitTs, retention: Retention, cap: Option<Retention>, drainers: &[NodeStatus]) -> Plan {
    let back =
        |by: Retention| watermark.ts().minus_millis(u64::try_from(by.as_millis()).unwrap_or(u64::MAX >> 18));
    let reading = || drainers.iter().filter(|node| node.state != NodeState::Offline);
    let wanted = CommitTs::from(back(retention));
    let read = reading().map(checkpoint).min().unwrap_or(CommitTs::MAX);
    let capped = cap.map_or(CommitTs::ZERO, |cap| CommitTs::from(back(cap)));
    let target = wanted.min(read.max(capped));
    Plan { target, overtaken: reading().filter(|node| checkpoint(node) < target).cloned().collect() }
}

/// What a drainer has read.
fn checkpoint(node: &NodeStatus) -> CommitTs {
    CommitTs::new(u64::try_from(node.max_commit_ts).unwrap_or(0))
}

/// Collects soon after the start, then every hour, and on request, until the pump stops.
pub(crate) async fn run(context: Shared) {
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            () = context.gc.asked() => {}
        }
        wait = INTERVAL;
        context.gc.set_working(true);
        collect(&context).await;
        context.gc.set_working(false);
    }
}

async fn collect(context: &Shared) {
    let drainers = match context.registry.all(NodeKind::Drainer).await {
        Ok(drainers) => drainers,
        Err(error) => {
            tracing::warn!(%error, "gc is put off: the drainers' checkpoints are not known");
            return;
        }
    };
    let plan = plan(context.store.watermark(), context.settings.gc, context.settings.gc_hard_cap, &drainers);
    if plan.target <= context.store.safe_point() {
        return;
    }
    context.metrics.gc_ts.set(gauge_of(plan.target));
    // A pump that is younger than the retention has nothing to drop: who asks for the beginning then still gets it.
    let (store, range) =
        (context.store.clone(), Range { after: context.store.safe_point(), through: plan.target });
    let empty = move || Ok::<_, binlog_storage::Error>(store.scan(range)?.next_batch(1)?.is_empty());
    if matches!(tokio::task::spawn_blocking(empty).await, Ok(Ok(true))) {
        context.metrics.done_gc_ts.set(gauge_of(plan.target));
        return;
    }
    for drainer in &plan.overtaken {
        context.metrics.purged_for_drainer.with_label_values(&[drainer.node_id.as_str()]).inc();
        tracing::error!(
            drainer = %drainer.node_id, checkpoint = drainer.max_commit_ts, target = %plan.target,
            "drainer's checkpoint is older than pump gc ts, some binlogs are purged; take it offline if it is gone for good"
        );
    }
    // What some of them had not read stays on record as a gap.
    let read = plan.overtaken.iter().map(checkpoint).min();
    let (store, target) = (context.store.clone(), plan.target);
    let collect = move || {
        let before = log_keys(&store);
        let safe_point = read.map_or_else(|| store.gc(target), |read| store.gc_past(target, read))?;
        let deleted = before.saturating_sub(log_keys(&store));
        // What is behind every record that is kept, and every prewrite that may still become one.
        let oldest = store.oldest_undecided().map_or(CommitTs::MAX, |start_ts| start_ts.ts().into());
        let entries = schema::collect(&store, schema_point(safe_point.min(oldest)))?;
        Ok::<_, binlog_storage::Error>((safe_point, deleted, entries))
    };
    match tokio::task::spawn_blocking(collect).await {
        Ok(Ok((safe_point, deleted, entries))) => {
            context.metrics.deleted.inc_by(deleted);
            context.metrics.done_gc_ts.set(gauge_of(safe_point));
            tracing::info!(%safe_point, schema_entries = entries, "gc moved the safe point");
        }
        Ok(Err(error)) => tracing::error!(%error, "gc failed"),
        Err(_) => {}
    }
}

/// Objects made at or before it are behind all that is kept at or above `oldest`. A day apart, because rows may have been written
/// under older versions, and readers count back an hour themselves.
fn schema_point(oldest: CommitTs) -> CommitTs {
    const MARGIN_MILLIS: u64 = 24 * 3_600_000;
    CommitTs::from(oldest.ts().minus_millis(MARGIN_MILLIS))
}

/// How many keys the store has of records, as RocksDB estimates it. What compactions drop later is not counted.
fn log_keys(store: &binlog_storage::Store) -> u64 {
    store.numbers().into_iter().find(|(name, _)| name.ends_with("log_keys")).map_or(0, |(_, keys)| keys)
}

#[cfg(test)]
mod tests {
    use binlog_types::{NodeId, Ts};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(hours: u64) -> CommitTs {
        CommitTs::from(Ts::compose(hours * 3_600_000, 0))
    }

    fn drainer(state: NodeState, hours: u64) -> NodeStatus {
        NodeStatus {
            node_id: NodeId::new("d").unwrap(),
            host: String::new(),
            state,
            is_alive: false,
            score: 0,
            label: None,
            max_commit_ts: at(hours).as_i64(),
            update_ts: 0,
        }
    }

    #[test]
    fn retention_counts_back_from_the_watermark() {
        assert_eq!(plan(at(100), HOUR * 7, None, &[]).target, at(93));
        assert_eq!(plan(at(3), HOUR * 7, None, &[]).target, CommitTs::ZERO);
    }

    #[test]
    fn unread_binlogs_stay() {
        for state in [NodeState::Online, NodeState::Paused] {
            assert_eq!(plan(at(100), HOUR * 7, None, &[drainer(state, 50)]).target, at(50));
        }
        assert_eq!(plan(at(100), HOUR * 7, None, &[drainer(NodeState::Offline, 50)]).target, at(93));
        assert_eq!(plan(at(100), HOUR * 7, None, &[drainer(NodeState::Online, 99)]).target, at(93));
    }

    #[test]
    fn a_forgotten_drainer_is_overtaken_by_the_cap_and_named() {
        let forgotten = drainer(NodeState::Paused, 10);
        let plan = plan(at(100), HOUR * 7, Some(HOUR * 14), std::slice::from_ref(&forgotten));
        assert_eq!(plan, Plan { target: at(86), overtaken: vec![forgotten] });
    }
}
