//! Outcomes of prewrites whose commit or rollback never came: asked of TiKV, off the write path.
//!
//! First the question that changes nothing, `MvccGetByKey`; only a transaction that stands locked is asked about with
//! `CheckTxnStatus`, which rolls back what is dead by the oracle's time and never what is alive. While orphans exist, a
//! service safe point keeps TiKV from forgetting their outcome ([`protect`]). In an embedded cluster the writer is the
//! authority: it learns of its open transactions from `Store/Stats`.
//!
//! Each question is a task of its own, so that a region that does not answer delays only its own orphans.

mod protect;
mod schedule;

use std::time::Duration;

use binlog_cluster::{CheckTxnStatus, TikvClient, TxnStatus};
use binlog_proto::kvrpcpb::{MvccInfo, Op};
use binlog_storage::{Commit, Unresolved, Write};
use binlog_types::{CommitTs, StartTs, Ts};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

pub(crate) use self::protect::run as protect;
use self::schedule::{Answer, Question, Schedule};
use crate::context::Shared;

const TICK: Duration = Duration::from_millis(500);
/// How many orphans are looked at in one tick; the oldest hold the watermark back.
const LIMIT: usize = 1000;
/// How many questions may be open.
const PARALLEL: usize = 64;

/// Resolves until the pump stops.
pub(crate) async fn run(context: Shared, tikv: TikvClient) {
    let mut schedule = Schedule::default();
    let mut asking: JoinSet<(StartTs, Answer)> = JoinSet::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            _ = ticks.tick() => {
                let open = context.store.unresolved(LIMIT);
                let room = PARALLEL.saturating_sub(asking.len());
                for (orphan, question) in schedule.due(&open, context.clock.monotonic(), room) {
                    asking.spawn(resolve(context.clone(), tikv.clone(), orphan, question));
                }
            }
            Some(answered) = asking.join_next() => {
                if let Ok((start_ts, answer)) = answered {
                    schedule.answered(start_ts, answer, context.clock.monotonic());
                }
            }
        }
    }
}

/// Asks about one orphan, and stores what became of it.
async fn resolve(
    context: Shared,
    tikv: TikvClient,
    orphan: Unresolved,
    question: Question,
) -> (StartTs, Answer) {
    let answer = ask(&context, &tikv, &orphan, question).await;
    match answer {
        Answer::Committed(commit_ts) => settle(&context, orphan.start_ts, Some(commit_ts)).await,
        Answer::RolledBack => settle(&context, orphan.start_ts, None).await,
        Answer::Locked { .. } | Answer::NotFound | Answer::Unknown => {}
    }
    (orphan.start_ts, answer)
}

/// Stores the outcome as if TiDB had sent it.
async fn settle(context: &Shared, start_ts: StartTs, commit_ts: Option<CommitTs>) {
    let write = match commit_ts {
        Some(commit_ts) => Write::Commit(Commit { start_ts, commit_ts, extra: bytes::Bytes::new() }),
        None => Write::Rollback(start_ts),
    };
    let store = context.store.clone();
    match tokio::task::spawn_blocking(move || store.write(write)).await {
        Ok(Ok(())) => {
            tracing::info!(%start_ts, ?commit_ts, "the outcome of a prewrite was learned from TiKV");
        }
        Ok(Err(error)) => {
            tracing::error!(%start_ts, ?commit_ts, %error, "the outcome of a prewrite cannot be stored");
        }
        Err(_) => {}
    }
}

async fn ask(context: &Shared, tikv: &TikvClient, orphan: &Unresolved, question: Question) -> Answer {
    if orphan.key.is_empty() {
        tracing::error!(start_ts = %orphan.start_ts, "a prewrite without primary key has no outcome: readers wait behind it");
        return Answer::Unknown;
    }
    let result = match question {
        Question::Versions => {
            tikv.mvcc_get_by_key(&orphan.key).await.map(|info| read_versions(&info, orphan.start_ts))
        }
        Question::Status { rollback_if_not_exist } => {
            let now = match context.time.now().await {
                Ok(now) => now,
                Err(error) => {
                    tracing::warn!(%error, "no timestamp to ask for the outcome of a prewrite with");
                    return Answer::Unknown;
                }
            };
            context.metrics.tikv_queries.inc();
            let status = CheckTxnStatus {
                primary: orphan.key.to_vec(),
                start_ts: orphan.start_ts,
                now,
                rollback_if_not_exist,
            };
            tikv.check_txn_status(&status).await.map(|status| match status {
                TxnStatus::Locked { ttl_ms } => {
                    Answer::Locked { ends_in: lock_ends_in(orphan.start_ts, ttl_ms, now) }
                }
                TxnStatus::Committed(commit_ts) => Answer::Committed(commit_ts),
                TxnStatus::RolledBack => Answer::RolledBack,
                TxnStatus::NotFound => Answer::NotFound,
            })
        }
    };
    result.unwrap_or_else(|error| {
        tracing::warn!(start_ts = %orphan.start_ts, %error, "TiKV does not tell the outcome of a prewrite now");
        Answer::Unknown
    })
}

/// A lock lives for its time from the transaction's start.
fn lock_ends_in(start_ts: StartTs, ttl_ms: u64, now: Ts) -> Duration {
    let end = start_ts.ts().physical().saturating_add(ttl_ms);
    Duration::from_millis(end.saturating_sub(now.physical()))
}

fn read_versions(info: &MvccInfo, start_ts: StartTs) -> Answer {
    let own = info.writes.iter().find(|write| write.start_ts == start_ts.raw());
    match own {
        Some(write) if write.r#type == Op::Rollback as i32 => Answer::RolledBack,
        Some(write) if write.commit_ts > write.start_ts => Answer::Committed(CommitTs::new(write.commit_ts)),
        Some(_) => Answer::Unknown,
        None if info.lock.as_ref().is_some_and(|lock| lock.start_ts == start_ts.raw()) => {
            Answer::Locked { ends_in: Duration::ZERO }
        }
        None => Answer::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use binlog_proto::kvrpcpb::{MvccLock, MvccWrite};

    use super::*;

    #[test]
    fn versions_tell_the_outcome_of_this_transaction_only() {
        let write = |op: Op, start_ts, commit_ts| MvccWrite {
            r#type: op as i32,
            start_ts,
            commit_ts,
            ..Default::default()
        };
        let info = |writes| MvccInfo { writes, ..Default::default() };
        let ask = |writes| read_versions(&info(writes), StartTs::new(5));
        assert_eq!(
            ask(vec![write(Op::Put, 3, 4), write(Op::Lock, 5, 8)]),
            Answer::Committed(CommitTs::new(8))
        );
        assert_eq!(ask(vec![write(Op::Rollback, 5, 5)]), Answer::RolledBack);
        assert_eq!(ask(vec![write(Op::Put, 6, 7)]), Answer::NotFound);
        let lock = |start_ts| MvccInfo {
            lock: Some(MvccLock { start_ts, ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(read_versions(&lock(5), StartTs::new(5)), Answer::Locked { ends_in: Duration::ZERO });
        assert_eq!(read_versions(&lock(6), StartTs::new(5)), Answer::NotFound);
    }

    #[test]
    fn a_lock_ends_by_the_oracles_time() {
        let start = StartTs::from(Ts::compose(1_000, 7));
        assert_eq!(lock_ends_in(start, 3_000, Ts::compose(1_500, 0)), Duration::from_millis(2_500));
        assert_eq!(lock_ends_in(start, 3_000, Ts::compose(9_000, 0)), Duration::ZERO);
    }
}
