//! A line in the log now and then, so that it also tells how a pump is that has nothing to report; and what the store counts and dashboards alert on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::context::Shared;

const INTERVAL: Duration = Duration::from_secs(10);

/// Writes it until the pump stops.
pub(crate) async fn run(context: Shared) {
    let mut before = 0;
    // What was missing at the start has been told of in an earlier life.
    let mut missing = missing_prewrites(&context);
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let writes = context.counts.writes.load(Ordering::Relaxed);
        tracing::info!(
            writeBinlogCount = writes.saturating_sub(before),
            alivePullerCount = context.counts.pullers.load(Ordering::Relaxed),
            MaxCommitTS = context.store.watermark().raw(),
            open = context.store.pending_count(),
            "server info tick"
        );
        before = writes;
        let now = missing_prewrites(&context);
        if now > missing {
            context.metrics.errors.with_label_values(&["feed_pre_write_value"]).inc_by(now - missing);
            missing = now;
        }
    }
}

/// Commits whose prewrite never came, which the store leaves out as gaps.
fn missing_prewrites(context: &Shared) -> u64 {
    let numbers = context.store.numbers();
    numbers.into_iter().find(|(name, _)| name == "missing_prewrites").map_or(0, |(_, count)| count)
}
