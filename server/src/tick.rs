//! A line in the log now and then, so that it also tells how a pump is that has nothing to report.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::context::Shared;

const INTERVAL: Duration = Duration::from_secs(10);

/// Writes it until the pump stops.
pub(crate) async fn run(context: Shared) {
    let mut before = 0;
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
    }
}
