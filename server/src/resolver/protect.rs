//! A service safe point at PD, so that TiKV does not forget outcomes that are still open here.

use std::time::Duration;

use binlog_cluster::PdClient;
use binlog_types::Ts;

use crate::context::Shared;

const TICK: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(300);
const EVERY: Duration = Duration::from_secs(60);
/// Younger orphans are settled long before TiKV could forget them.
const AGE: Duration = Duration::from_secs(10);
/// Of those that may be open; the oldest come first.
const LIMIT: usize = 1000;

/// Holds the safe point while there are orphans, until the pump stops. What is open then is covered until the time is over.
pub(crate) async fn run(context: Shared, pd: PdClient) {
    let service = format!("tidb-binlog-{}", context.node.id());
    // When it was last set; None: there is none.
    let mut set_at: Option<Duration> = None;
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
        let open = context.store.unresolved(LIMIT);
        let now = context.clock.monotonic();
        let oldest = open.iter().filter(|orphan| orphan.age >= AGE).map(|orphan| orphan.start_ts).min();
        let (ttl, at) = match (oldest, set_at) {
            (None, None) => continue,
            (Some(_), Some(last)) if now.saturating_sub(last) < EVERY => continue,
            (Some(oldest), _) => (TTL, oldest.ts().prev()),
            (None, Some(_)) => (Duration::ZERO, Ts::ZERO),
        };
        let updated = tokio::select! {
            () = context.stop.cancelled() => return,
            updated = pd.update_service_safe_point(&service, ttl, at) => updated,
        };
        match updated {
            Ok(granted) => {
                if !ttl.is_zero() && granted > at {
                    // Each is asked about on its own, and is a gap if it cannot be told.
                    tracing::warn!(wanted = %at, %granted, "TiKV may have forgotten outcomes that are still open here");
                }
                set_at = oldest.map(|_| now);
            }
            Err(error) => tracing::warn!(%error, "the service safe point cannot be set"),
        }
    }
}
