//! What became of a transaction.

use binlog_proto::kvrpcpb::{
    Action, CheckTxnStatusRequest, CheckTxnStatusResponse, MvccGetByKeyRequest, MvccInfo,
};
use binlog_types::{CommitTs, StartTs, Ts};

use super::TikvClient;
use crate::Error;
use crate::error::hex;

/// The question that [`TikvClient::check_txn_status`] puts to the primary key's store.
///
/// It is not just a question: a lock whose time is over is rolled back by it.
#[derive(Clone, Debug)]
pub struct CheckTxnStatus {
    /// The transaction's primary key.
    pub primary: Vec<u8>,
    /// The transaction.
    pub start_ts: StartTs,
    /// Now, by the oracle: decides whether the lock's time is over. Never [`Ts::MAX`], which ends every lock.
    pub now: Ts,
    /// Also roll back where there is neither lock nor outcome. It kills a transaction whose lock is yet to come.
    pub rollback_if_not_exist: bool,
}

/// What became of a transaction, as its primary key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnStatus {
    /// Its lock is there, and alive for this long after its start.
    Locked {
        /// Milliseconds.
        ttl_ms: u64,
    },
    /// It committed.
    Committed(CommitTs),
    /// It was rolled back, now or before.
    RolledBack,
    /// There was neither lock nor outcome, and there is a rollback now, as was asked for. It tells nothing where garbage collection may have
    /// taken the outcome: see [`PdClient::gc_safe_point`](crate::PdClient::gc_safe_point).
    RolledBackUnseen,
    /// There is neither lock nor outcome.
    NotFound,
}

impl TikvClient {
    /// All versions of a key, its lock included; changes nothing.
    ///
    /// # Errors
    /// When no store served it in time.
    pub async fn mvcc_get_by_key(&self, key: &[u8]) -> Result<MvccInfo, Error> {
        const WHAT: &str = "MvccGetByKey";
        let (answer, _) = self
            .at_region(
                WHAT,
                key,
                |mut store, region| {
                    let request =
                        MvccGetByKeyRequest { context: Some(region.context()), key: key.to_vec().into() };
                    async move { store.mvcc_get_by_key(request).await }
                },
                |answer| answer.region_error.as_ref(),
            )
            .await?;
        if !answer.error.is_empty() {
            return Err(Error::Key { what: WHAT, key: hex(key), why: answer.error });
        }
        Ok(answer.info.unwrap_or_default())
    }

    /// Asks what became of a transaction; see [`CheckTxnStatus`] for what it may change.
    ///
    /// # Errors
    /// When no store served it in time, or the store refused.
    pub async fn check_txn_status(&self, question: &CheckTxnStatus) -> Result<TxnStatus, Error> {
        const WHAT: &str = "CheckTxnStatus";
        let (answer, _) = self
            .at_region(
                WHAT,
                &question.primary,
                |mut store, region| {
                    let request = CheckTxnStatusRequest {
                        context: Some(region.context()),
                        primary_key: question.primary.clone().into(),
                        lock_ts: question.start_ts.raw(),
                        caller_start_ts: question.start_ts.raw(),
                        current_ts: question.now.raw(),
                        rollback_if_not_exist: question.rollback_if_not_exist,
                        ..Default::default()
                    };
                    async move { store.kv_check_txn_status(request).await }
                },
                |answer| answer.region_error.as_ref(),
            )
            .await?;
        status(&answer).map_err(|why| Error::Key { what: WHAT, key: hex(&question.primary), why })
    }
}

fn status(answer: &CheckTxnStatusResponse) -> Result<TxnStatus, String> {
    if let Some(error) = &answer.error {
        return match (&error.txn_not_found, &error.locked) {
            (Some(_), _) => Ok(TxnStatus::NotFound),
            (None, Some(lock)) => Ok(TxnStatus::Locked { ttl_ms: lock.lock_ttl }),
            (None, None) => Err(format!("{error:?}")),
        };
    }
    if answer.lock_ttl > 0 {
        return Ok(TxnStatus::Locked { ttl_ms: answer.lock_ttl });
    }
    if answer.commit_version > 0 {
        return Ok(TxnStatus::Committed(CommitTs::new(answer.commit_version)));
    }
    Ok(match answer.action() {
        Action::LockNotExistDoNothing => TxnStatus::NotFound,
        Action::LockNotExistRollback => TxnStatus::RolledBackUnseen,
        _ => TxnStatus::RolledBack,
    })
}

#[cfg(test)]
mod tests {
    use binlog_proto::kvrpcpb::{KeyError, TxnNotFound};

    use super::*;

    #[test]
    fn answers_mean_what_tikv_means() {
        let answer = CheckTxnStatusResponse::default;
        assert_eq!(status(&answer()), Ok(TxnStatus::RolledBack));
        assert_eq!(
            status(&CheckTxnStatusResponse { lock_ttl: 7, ..answer() }),
            Ok(TxnStatus::Locked { ttl_ms: 7 })
        );
        assert_eq!(
            status(&CheckTxnStatusResponse { commit_version: 9, ..answer() }),
            Ok(TxnStatus::Committed(CommitTs::new(9)))
        );
        let nothing = Action::LockNotExistDoNothing as i32;
        assert_eq!(status(&CheckTxnStatusResponse { action: nothing, ..answer() }), Ok(TxnStatus::NotFound));
        let unseen = Action::LockNotExistRollback as i32;
        assert_eq!(
            status(&CheckTxnStatusResponse { action: unseen, ..answer() }),
            Ok(TxnStatus::RolledBackUnseen)
        );
        let missing = KeyError { txn_not_found: Some(TxnNotFound::default()), ..KeyError::default() };
        assert_eq!(
            status(&CheckTxnStatusResponse { error: Some(missing), ..answer() }),
            Ok(TxnStatus::NotFound)
        );
        let abort = KeyError { abort: "no".to_owned(), ..KeyError::default() };
        assert!(status(&CheckTxnStatusResponse { error: Some(abort), ..answer() }).is_err());
    }
}
