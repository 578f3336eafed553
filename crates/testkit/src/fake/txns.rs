//! Transactions that the fake TiKV is asked about.

use std::collections::BTreeMap;

use binlog_proto::kvrpcpb::{
    Action, CheckTxnStatusRequest, CheckTxnStatusResponse, KeyError, MvccInfo, MvccLock, MvccWrite, Op,
    TxnNotFound,
};
use binlog_types::{CommitTs, StartTs, Ts};
use bytes::Bytes;

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its primary lock is there, alive for so many milliseconds after its start.
    Locked {
        /// Milliseconds.
        ttl_ms: u64,
    },
    /// It committed.
    Committed(CommitTs),
    /// It was rolled back.
    RolledBack,
}

/// By primary key and start_ts; what is not here, TiKV has never heard of.
#[derive(Debug, Default)]
pub(super) struct Txns {
    outcomes: BTreeMap<Bytes, BTreeMap<StartTs, Outcome>>,
    answers: BTreeMap<Bytes, MvccInfo>,
}

impl Txns {
    pub(super) fn set(&mut self, primary: Bytes, start_ts: StartTs, outcome: Outcome) {
        self.outcomes.entry(primary).or_default().insert(start_ts, outcome);
    }

    pub(super) fn get(&self, primary: &[u8], start_ts: StartTs) -> Option<Outcome> {
        self.outcomes.get(primary)?.get(&start_ts).copied()
    }

    /// A whole answer to `MvccGetByKey`, as a store gave it once.
    pub(super) fn set_answer(&mut self, key: Bytes, info: MvccInfo) {
        self.answers.insert(key, info);
    }

    pub(super) fn mvcc(&self, key: &[u8]) -> MvccInfo {
        let mut info = self.answers.get(key).cloned().unwrap_or_default();
        for (start_ts, outcome) in self.outcomes.get(key).into_iter().flatten() {
            let start_ts = start_ts.raw();
            match outcome {
                Outcome::Locked { .. } => {
                    let primary = Bytes::copy_from_slice(key);
                    info.lock = Some(MvccLock {
                        r#type: Op::Put as i32,
                        start_ts,
                        primary,
                        short_value: Bytes::new(),
                    });
                }
                Outcome::Committed(commit_ts) => info.writes.push(MvccWrite {
                    r#type: Op::Put as i32,
                    start_ts,
                    commit_ts: commit_ts.raw(),
                    short_value: Bytes::new(),
                }),
                Outcome::RolledBack => info.writes.push(MvccWrite {
                    r#type: Op::Rollback as i32,
                    start_ts,
                    commit_ts: start_ts,
                    short_value: Bytes::new(),
                }),
            }
        }
        // Newest first, as a store lists them.
        info.writes.sort_by_key(|write| std::cmp::Reverse(write.commit_ts));
        info
    }

    /// Answers, and changes what the question changes: an expired lock is rolled back, and a missing transaction if asked to.
    pub(super) fn check(&mut self, request: &CheckTxnStatusRequest) -> CheckTxnStatusResponse {
        let start_ts = StartTs::new(request.lock_ts);
        let mut answer = CheckTxnStatusResponse::default();
        match self.get(&request.primary_key, start_ts) {
            Some(Outcome::Committed(commit_ts)) => answer.commit_version = commit_ts.raw(),
            Some(Outcome::RolledBack) => {}
            Some(Outcome::Locked { ttl_ms }) => {
                let expired = Ts::new(request.current_ts).physical() >= start_ts.ts().physical() + ttl_ms;
                if expired {
                    self.set(request.primary_key.clone(), start_ts, Outcome::RolledBack);
                    answer.action = Action::TtlExpireRollback as i32;
                } else {
                    answer.lock_ttl = ttl_ms;
                }
            }
            None => match self.committed_in_answers(&request.primary_key, start_ts) {
                Some(commit_version) => answer.commit_version = commit_version,
                None if request.rollback_if_not_exist => {
                    self.set(request.primary_key.clone(), start_ts, Outcome::RolledBack);
                    answer.action = Action::LockNotExistRollback as i32;
                }
                None => {
                    let not_found =
                        TxnNotFound { start_ts: start_ts.raw(), primary_key: request.primary_key.clone() };
                    answer.error = Some(KeyError { txn_not_found: Some(not_found), ..Default::default() });
                }
            },
        }
        answer
    }

    fn committed_in_answers(&self, key: &[u8], start_ts: StartTs) -> Option<u64> {
        let writes = &self.answers.get(key)?.writes;
        writes
            .iter()
            .find(|w| w.start_ts == start_ts.raw() && w.r#type() != Op::Rollback)
            .map(|w| w.commit_ts)
    }
}
