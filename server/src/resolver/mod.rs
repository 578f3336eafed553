//! Outcomes of prewrites whose commit or rollback never came: asked of TiKV, off the write path.
//!
//! First the question that changes nothing, `MvccGetByKey`; only a transaction that stands locked is asked about with
//! `CheckTxnStatus`, which rolls back what is dead by the oracle's time and never what is alive. While orphans exist, a
//! service safe point keeps TiKV from forgetting their outcome ([`protect`]); of one that was forgotten before, while this pump was
//! down say, nobody knows whether it committed: that becomes a gap, never a rollback. In an embedded cluster the writer is the
//! authority: it learns of its open transactions from `Store/Stats`.
//!
//! Each question is a task of its own, so that a region that does not answer delays only its own orphans.

mod protect;
mod schedule;

use std::time::Duration;

use binlog_cluster::{CheckTxnStatus, Error, PdClient, TikvClient, TxnStatus};
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

/// Whom to ask.
#[derive(Clone, Debug)]
struct Authority {
    pd: PdClient,
    tikv: TikvClient,
}

/// Resolves until the pump stops.
pub(crate) async fn run(context: Shared, pd: PdClient) {
    let authority = Authority { tikv: TikvClient::new(pd.clone()), pd };
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
                let ts = if schedule::needs_time(&open) {
                    context.time.now().await.ok()
                } else {
                    None
                };
                for (orphan, question) in schedule.due(&open, context.clock.monotonic(), ts, room) {
                    asking.spawn(resolve(context.clone(), authority.clone(), orphan, question));
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
    authority: Authority,
    orphan: Unresolved,
    question: Question,
) -> (StartTs, Answer) {
    let start_ts = orphan.start_ts;
    let answer = ask(&context, &authority, &orphan, question).await;
    match answer {
        Answer::Committed(commit_ts) => {
            settle(&context, Write::Commit(Commit { start_ts, commit_ts, extra: bytes::Bytes::new() })).await;
        }
        Answer::RolledBack => settle(&context, Write::Rollback(start_ts)).await,
        Answer::Forgotten { through } => {
            tracing::error!(
                %start_ts, %through,
                "TiKV has collected the outcome of a prewrite before it was asked: whether the transaction committed is not known, and readers are told of a gap"
            );
            settle(&context, Write::Lost { start_ts, through }).await;
        }
        Answer::Locked { .. } | Answer::NotFound | Answer::Unknown => {}
    }
    (start_ts, answer)
}

/// Stores the outcome as if TiDB had sent it.
async fn settle(context: &Shared, outcome: Write) {
    let (store, write) = (context.store.clone(), outcome.clone());
    match tokio::task::spawn_blocking(move || store.write(write)).await {
        Ok(Ok(())) => tracing::info!(?outcome, "the outcome of a prewrite was learned from TiKV"),
        Ok(Err(error)) => {
            tracing::error!(?outcome, %error, "the outcome of a prewrite cannot be stored");
        }
        Err(_) => {}
    }
}

async fn ask(context: &Shared, authority: &Authority, orphan: &Unresolved, question: Question) -> Answer {
    if orphan.key.is_empty() {
        tracing::error!(start_ts = %orphan.start_ts, "a prewrite without primary key has no outcome: readers wait behind it");
        return Answer::Unknown;
    }
    let result = match question {
        Question::Versions => {
            let info = authority.tikv.mvcc_get_by_key(&orphan.key).await;
            info.map(|info| read_versions(&info, orphan.start_ts))
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
            let watermark = context.store.watermark();
            check_status(authority, orphan, watermark, now, rollback_if_not_exist).await
        }
    };
    result.unwrap_or_else(|error| {
        tracing::warn!(start_ts = %orphan.start_ts, %error, "TiKV does not tell the outcome of a prewrite now");
        Answer::Unknown
    })
}

async fn check_status(
    Authority { pd, tikv }: &Authority,
    orphan: &Unresolved,
    watermark: CommitTs,
    now: Ts,
    rollback_if_not_exist: bool,
) -> Result<Answer, Error> {
    let start_ts = orphan.start_ts;
    // That nothing is there says that nothing ever was only while no garbage was collected there.
    let forgotten = if rollback_if_not_exist {
        let collected = CommitTs::from(pd.gc_safe_point().await?);
        may_have_gone(start_ts, watermark, collected).then_some(collected)
    } else {
        None
    };
    let question = CheckTxnStatus {
        primary: orphan.key.to_vec(),
        start_ts,
        now,
        rollback_if_not_exist: rollback_if_not_exist && forgotten.is_none(),
    };
    Ok(match (tikv.check_txn_status(&question).await?, forgotten) {
        (TxnStatus::Locked { ttl_ms }, _) => Answer::Locked { ends_in: lock_ends_in(start_ts, ttl_ms, now) },
        (TxnStatus::Committed(commit_ts), _) => Answer::Committed(commit_ts),
        (TxnStatus::RolledBack | TxnStatus::RolledBackUnseen, _) => Answer::RolledBack,
        (TxnStatus::NotFound, Some(through)) => Answer::Forgotten { through },
        (TxnStatus::NotFound, None) => Answer::NotFound,
    })
}

/// Whether TiKV may have collected the outcome of an undecided prewrite. A commit_ts would be above its start and above the watermark, and what
/// has one above the safe point keeps it.
fn may_have_gone(start_ts: StartTs, watermark: CommitTs, collected: CommitTs) -> bool {
    collected.ts() > start_ts.ts() && collected > watermark
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
    use binlog_testkit::{FakeCluster, Outcome};

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
    fn an_outcome_that_cannot_have_been_collected_is_not_forgotten() {
        let gone = |start_ts, watermark, collected| {
            may_have_gone(StartTs::new(start_ts), CommitTs::new(watermark), CommitTs::new(collected))
        };
        assert!(gone(5, 3, 9));
        assert!(!gone(5, 3, 5));
        assert!(!gone(5, 9, 9), "it would have committed above the watermark");
        assert!(!gone(5, 3, 0), "nothing was collected yet");
    }

    /// A prewrite from before an outage that outlasted TiKV's memory.
    #[tokio::test]
    async fn a_collected_outcome_is_no_rollback() {
        let cluster = FakeCluster::without_etcd().unwrap();
        let pd = PdClient::connect(&[cluster.url()], None).await.unwrap();
        let authority = Authority { tikv: TikvClient::new(pd.clone()), pd };
        let at = |seconds: u64| Ts::compose(seconds * 1000, 0);
        let start_ts = StartTs::from(at(1_000));
        let orphan = |key: &'static str| Unresolved {
            start_ts,
            key: key.into(),
            age: Duration::from_secs(600),
            recovered: true,
        };
        let ask = async |key, watermark: Ts| {
            let watermark = CommitTs::from(watermark);
            check_status(&authority, &orphan(key), watermark, at(9_000), true).await.unwrap()
        };
        let through = CommitTs::from(at(5_000));
        cluster.set_gc_safe_point(through.ts());
        assert_eq!(ask("gone", at(900)).await, Answer::Forgotten { through });
        assert_eq!(cluster.txn(b"gone", start_ts), None, "it was not rolled back besides");
        cluster.set_txn("there", start_ts, Outcome::Committed(CommitTs::from(at(1_001))));
        assert_eq!(ask("there", at(900)).await, Answer::Committed(CommitTs::from(at(1_001))));
        // It would have committed above the watermark, where nothing was collected yet.
        assert_eq!(ask("passed", at(5_000)).await, Answer::RolledBack);
        cluster.set_gc_safe_point(at(999));
        assert_eq!(ask("young", at(900)).await, Answer::RolledBack);
        assert_eq!(cluster.txn(b"young", start_ts), Some(Outcome::RolledBack));
    }

    #[test]
    fn a_lock_ends_by_the_oracles_time() {
        let start = StartTs::from(Ts::compose(1_000, 7));
        assert_eq!(lock_ends_in(start, 3_000, Ts::compose(1_500, 0)), Duration::from_millis(2_500));
        assert_eq!(lock_ends_in(start, 3_000, Ts::compose(9_000, 0)), Duration::ZERO);
    }
}
