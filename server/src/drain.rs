//! The wait of a closing pump for its drainers: who blocks, by how much, and how it ends early.

use std::time::Duration;

use binlog_cluster::{NodeKind, NodeState, NodeStatus};
use binlog_types::{CommitTs, Ts};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::context::Shared;
use crate::idle;

const POLL: Duration = Duration::from_secs(1);
const SETTLE_POLL: Duration = Duration::from_millis(100);
/// How often it is said who blocks.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// How many open transactions are named.
const NAMED: usize = 10;

/// What a closing pump waits for, as `/debug/drain` shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Waiting {
    /// Transactions without outcome, and the oldest of them.
    pub(crate) open_transactions: usize,
    oldest_start_ts: Vec<u64>,
    /// What every drainer must have read; 0 before the transactions have ended.
    until: u64,
    /// Those that have not.
    pub(crate) drainers: Vec<Behind>,
    /// Why the drainers' positions are not known.
    error: String,
}

/// A drainer that has not read everything.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Behind {
    node_id: String,
    state: &'static str,
    checkpoint: i64,
    behind_millis: u64,
}

/// How a wait ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Drained {
    /// Every drainer has everything.
    All,
    /// An operator wants no more waiting.
    Forced(Waiting),
    /// The time is over.
    TimedOut(Waiting),
}

/// The wait, as others see and end it.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    now: Mutex<Option<Waiting>>,
    force: CancellationToken,
}

impl Drain {
    /// Ends the wait, also one that is still to come.
    pub(crate) fn force(&self) {
        self.force.cancel();
    }

    /// What is waited for; None while the pump is not closing.
    pub(crate) fn now(&self) -> Option<Waiting> {
        self.now.lock().clone()
    }
}

/// Waits until every transaction here has ended and every drainer that is not offline has read all of it, but no longer than the
/// settings allow.
pub(crate) async fn drained(context: &Shared) -> Drained {
    *context.drain.now.lock() = Some(Waiting::default());
    let limit = async {
        match context.settings.drain_timeout {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let waiting = || context.drain.now().unwrap_or_default();
    tokio::select! {
        () = wait(context) => Drained::All,
        () = context.drain.force.cancelled() => Drained::Forced(waiting()),
        () = limit => Drained::TimedOut(waiting()),
    }
}

async fn wait(context: &Shared) {
    let mut said = Said::new(context);
    let last = settled(context, &mut said).await;
    loop {
        let mut waiting = Waiting { until: last.raw(), ..Waiting::default() };
        match context.registry.all(NodeKind::Drainer).await {
            Ok(drainers) => {
                waiting.drainers = behind(&drainers, last);
                if waiting.drainers.is_empty() {
                    return;
                }
            }
            Err(error) => waiting.error = error.to_string(),
        }
        said.say(context, waiting);
        sleep(POLL).await;
    }
}

/// Waits until the watermark has passed the moment of the call and no transaction is open; gives the watermark then.
async fn settled(context: &Shared, said: &mut Said) -> CommitTs {
    let mut until = None;
    loop {
        let offered = idle::offer(context).await;
        until = until.or(offered);
        let watermark = context.store.watermark();
        let open = context.store.pending_count();
        if until.is_some_and(|until| watermark >= until) && open == 0 {
            return watermark;
        }
        let mut oldest_start_ts: Vec<u64> =
            context.store.unresolved(NAMED).iter().map(|orphan| orphan.start_ts.raw()).collect();
        oldest_start_ts.sort_unstable();
        said.say(context, Waiting { open_transactions: open, oldest_start_ts, ..Waiting::default() });
        sleep(SETTLE_POLL).await;
    }
}

fn behind(drainers: &[NodeStatus], last: CommitTs) -> Vec<Behind> {
    let not_there =
        drainers.iter().filter(|node| node.state != NodeState::Offline && node.max_commit_ts < last.as_i64());
    let describe = |node: &NodeStatus| {
        let checkpoint = Ts::new(u64::try_from(node.max_commit_ts).unwrap_or(0));
        Behind {
            node_id: node.node_id.to_string(),
            state: node.state.as_str(),
            checkpoint: node.max_commit_ts,
            behind_millis: last.ts().physical().saturating_sub(checkpoint.physical()),
        }
    };
    not_there.map(describe).collect()
}

/// Says what is waited for: to those who look at once, to the log now and then.
struct Said {
    next: Duration,
}

impl Said {
    fn new(context: &Shared) -> Self {
        Said { next: context.clock.monotonic() + POLL }
    }

    fn say(&mut self, context: &Shared, waiting: Waiting) {
        let now = context.clock.monotonic();
        if now >= self.next {
            self.next = now + SAY_EVERY;
            if !waiting.error.is_empty() {
                tracing::error!(
                    error = waiting.error,
                    "the drainers' checkpoints are not known, so this pump waits"
                );
            }
            if waiting.open_transactions > 0 {
                tracing::info!(open = waiting.open_transactions, start_ts = ?waiting.oldest_start_ts, "Waiting for transactions to end");
            }
            for drainer in &waiting.drainers {
                tracing::info!(
                    drainer = drainer.node_id,
                    state = drainer.state,
                    checkpoint = drainer.checkpoint,
                    until = waiting.until,
                    behind_ms = drainer.behind_millis,
                    "Waiting for drainer to consume binlog"
                );
            }
        }
        *context.drain.now.lock() = Some(waiting);
    }
}

#[cfg(test)]
mod tests {
    use binlog_types::NodeId;

    use super::*;

    #[test]
    fn those_who_block_are_named_with_their_distance() {
        let node = |name: &str, state, millis| NodeStatus {
            max_commit_ts: Ts::compose(millis, 0).as_i64(),
            ..NodeStatus::new(NodeId::new(name).unwrap(), "h:1", state)
        };
        let drainers = [
            node("there", NodeState::Online, 5_000),
            node("late", NodeState::Paused, 2_000),
            node("gone", NodeState::Offline, 1_000),
        ];
        let behind = behind(&drainers, CommitTs::from(Ts::compose(5_000, 0)));
        assert_eq!(behind.len(), 1);
        assert_eq!(
            (behind[0].node_id.as_str(), behind[0].state, behind[0].behind_millis),
            ("late", "paused", 3_000)
        );
    }
}
