//! Idle duties: moving the watermark without commits, and watching the disk.

use std::time::Duration;

use binlog_types::CommitTs;

use crate::context::Shared;
use crate::free_space::FreeSpace;

/// In an embedded cluster a timestamp costs nothing, and readers of several pumps wait for the slowest.
const EMBEDDED_INTERVAL: Duration = Duration::from_millis(100);
const DISK_INTERVAL: Duration = Duration::from_secs(3);
/// How often garbage is collected while the disk is full.
const COLLECT_AGAIN: Duration = Duration::from_secs(60);

/// Offers the store a fresh timestamp at once, and then whenever commits have not moved the watermark for an interval.
pub(crate) async fn run(context: Shared) {
    let interval = if context.embedded { EMBEDDED_INTERVAL } else { context.settings.fake_interval };
    let (mut seen, mut offered) = (CommitTs::ZERO, offer(&context).await.unwrap_or(CommitTs::ZERO));
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let watermark = context.store.watermark();
        let moved_by_commits = watermark != seen && watermark > offered;
        seen = watermark;
        if moved_by_commits && !context.embedded {
            continue;
        }
        if let Some(ts) = offer(&context).await {
            offered = ts;
        }
    }
}

/// Fetches a timestamp *before* the store notes who arrived so far: only then is every commit below it known or open.
pub(crate) async fn offer(context: &Shared) -> Option<CommitTs> {
    match context.time.now().await {
        Ok(ts) => {
            let ts = CommitTs::from(ts);
            context.store.offer_idle_ts(ts);
            Some(ts)
        }
        Err(error) => {
            tracing::warn!(%error, "no timestamp, so readers do not learn how far an idle pump is");
            None
        }
    }
}

/// Measures the free space of the data directory's disk. Where it runs out, garbage is collected at once, and again now and then
/// until there is more: prewrites are refused meanwhile, and taken again by themselves.
pub(crate) async fn watch_disk(context: Shared) {
    let (mut full, mut asked) = (false, None);
    loop {
        match context.settings.space.measure(&context.settings.data_dir) {
            Ok(FreeSpace { available, capacity }) => {
                context.disk.set(available);
                let gauge = &context.metrics.storage_size;
                gauge.with_label_values(&["available"]).set(i64::try_from(available).unwrap_or(i64::MAX));
                gauge.with_label_values(&["capacity"]).set(i64::try_from(capacity).unwrap_or(i64::MAX));
            }
            Err(error) => tracing::error!(%error, "get storage size failed"),
        }
        match context.disk.exhausted() {
            Some((available, limit)) => {
                if !full {
                    tracing::warn!(
                        available,
                        limit,
                        "no available space: prewrite binlogs are refused until there is more"
                    );
                }
                full = true;
                if asked.is_none_or(|asked| context.elapsed_since(asked) >= COLLECT_AGAIN) && context.gc.ask()
                {
                    asked = Some(context.clock.monotonic());
                }
            }
            None if full => {
                (full, asked) = (false, None);
                tracing::info!("there is space again: prewrite binlogs are taken");
            }
            None => {}
        }
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(DISK_INTERVAL) => {}
        }
    }
}
