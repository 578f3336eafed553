//! TiKV, region by region: snapshot reads, and the outcome of transactions.

mod codec;
mod outcome;
mod regions;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use binlog_proto::errorpb;
use binlog_proto::kvrpcpb::{GetRequest, KeyError, ScanRequest};
use binlog_proto::tikvpb::tikv_client::TikvClient as Grpc;
use binlog_types::{StartTs, Ts};
use bytes::Bytes;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use tracing::debug;

pub use self::outcome::{CheckTxnStatus, TxnStatus};
use self::regions::{Connection, Located, Regions};
use crate::backoff::Backoff;
use crate::error::hex;
use crate::{Error, PdClient};

/// For one call at one store.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// For one call with all its repetitions.
const LIMIT: Duration = Duration::from_secs(20);
/// How long a read waits for somebody else's lock.
const LOCK_LIMIT: Duration = Duration::from_secs(20);
/// Pairs a request, whatever the caller's limit: an answer stays small.
const SCAN_BATCH: u32 = 256;

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The plain key.
    pub key: Bytes,
    /// Its value at the timestamp of the read.
    pub value: Bytes,
}

/// Reads raw transactional keys (TiDB's `m…`) at a timestamp; cheap to clone.
#[derive(Clone, Debug)]
pub struct TikvClient {
    regions: Arc<Regions>,
}

impl TikvClient {
    /// A client that finds its stores through `pd`.
    pub fn new(pd: PdClient) -> Self {
        TikvClient { regions: Arc::new(Regions::new(pd)) }
    }

    /// The value of a key at `at`.
    ///
    /// # Errors
    /// When no store served it in time, or a transaction held the key's lock for too long.
    pub async fn get(&self, key: &[u8], at: Ts) -> Result<Option<Bytes>, Error> {
        const WHAT: &str = "KvGet";
        let mut locks = lock_backoff();
        loop {
            let (answer, _) = self
                .at_region(
                    WHAT,
                    key,
                    |mut store, region| {
                        let request = GetRequest {
                            context: Some(region.context()),
                            key: key.to_vec().into(),
                            version: at.raw(),
                        };
                        async move { store.kv_get(request).await }
                    },
                    |answer| answer.region_error.as_ref(),
                )
                .await?;
            match &answer.error {
                // A transaction stores no empty value. TiDB's own storage node does not say that a key is not there: it answers
                // with an empty one.
                None => {
                    return Ok((!answer.not_found && !answer.value.is_empty()).then_some(answer.value));
                }
                Some(error) => wait_for(WHAT, key, error, &mut locks).await?,
            }
        }
    }

    /// Up to `limit` pairs of `[start, end)` in order; fewer means the range is done. An empty `end` is no end.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn scan(&self, start: &[u8], end: &[u8], limit: u32, at: Ts) -> Result<Vec<KeyValue>, Error> {
        let mut found: Vec<KeyValue> = Vec::new();
        let mut from = start.to_vec();
        let mut locks = lock_backoff();
        while (found.len() as u64) < u64::from(limit) && (end.is_empty() || from.as_slice() < end) {
            let wanted = SCAN_BATCH.min(limit - found.len() as u32);
            let (pairs, region_end) = self.scan_region(&from, end, wanted, at).await?;
            let mut locked = None;
            let count = pairs.len();
            for pair in pairs {
                match pair {
                    Ok(pair) => found.push(pair),
                    Err(error) => {
                        locked = Some(error);
                        break;
                    }
                }
            }
            if let Some(error) = locked {
                // What lies below the lock is read; go on behind it once it is gone.
                from = found.last().map_or(from, |last| after(&last.key));
                wait_for("KvScan", &from, &error, &mut locks).await?;
            } else if count as u64 >= u64::from(wanted) {
                from = found.last().map_or(from, |last| after(&last.key));
            } else if region_end.is_empty() {
                break;
            } else {
                from = region_end;
            }
        }
        Ok(found)
    }

    /// What one region has of the range; its end.
    async fn scan_region(
        &self,
        start: &[u8],
        end: &[u8],
        limit: u32,
        at: Ts,
    ) -> Result<(Vec<Result<KeyValue, KeyError>>, Vec<u8>), Error> {
        const WHAT: &str = "KvScan";
        let (answer, region) = self
            .at_region(
                WHAT,
                start,
                |mut store, region| {
                    let inside = !end.is_empty() && (region.end.is_empty() || end < region.end.as_slice());
                    let end_key = if inside { end.to_vec() } else { region.end.clone() };
                    let request = ScanRequest {
                        context: Some(region.context()),
                        start_key: start.to_vec().into(),
                        end_key: end_key.into(),
                        limit,
                        version: at.raw(),
                        ..Default::default()
                    };
                    async move { store.kv_scan(request).await }
                },
                |answer| answer.region_error.as_ref(),
            )
            .await?;
        if let Some(error) = answer.error {
            return Ok((vec![Err(error)], region.end));
        }
        let mut pairs = Vec::with_capacity(answer.pairs.len());
        let mut last = start.to_vec();
        for pair in answer.pairs {
            if let Some(error) = pair.error {
                pairs.push(Err(error));
                break;
            }
            // A store that does not move on would keep us here for ever.
            if pair.key.as_ref() < last.as_slice()
                || (!pairs.is_empty() && pair.key.as_ref() == last.as_slice())
            {
                let why = format!("key {} after {}", hex(&pair.key), hex(&last));
                return Err(Error::Key { what: WHAT, key: hex(start), why });
            }
            last = pair.key.to_vec();
            pairs.push(Ok(KeyValue { key: pair.key, value: pair.value }));
        }
        Ok((pairs, region.end))
    }

    /// Sends a request to the region of `key`, wherever that is by then, until it is served or time is up.
    async fn at_region<R, Fut>(
        &self,
        what: &'static str,
        key: &[u8],
        send: impl Fn(Grpc<Channel>, &Located) -> Fut,
        region_error: fn(&R) -> Option<&errorpb::Error>,
    ) -> Result<(R, Located), Error>
    where
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), LIMIT);
        loop {
            let (last, at_least) = match self.attempt(what, key, &send, region_error).await? {
                Attempt::Served(answer, region) => return Ok((answer, region)),
                Attempt::Failed { why, pause } => (why, pause),
            };
            debug!(what, key = %hex(key), %last, "trying the region again");
            if !backoff.wait(at_least).await {
                return Err(Error::Region { what, key: hex(key), waited: backoff.elapsed(), last });
            }
        }
    }

    async fn attempt<R, Fut>(
        &self,
        what: &'static str,
        key: &[u8],
        send: impl Fn(Grpc<Channel>, &Located) -> Fut,
        region_error: fn(&R) -> Option<&errorpb::Error>,
    ) -> Result<Attempt<R>, Error>
    where
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let failed = |why| Ok(Attempt::Failed { why, pause: Duration::ZERO });
        let region = match self.regions.locate(key).await? {
            Ok(region) => region,
            Err(why) => return failed(why),
        };
        let Connection { url, grpc } = match self.regions.connection(&region).await? {
            Ok(connection) => connection,
            Err(why) => {
                self.regions.forget(&region);
                return failed(why);
            }
        };
        let sent = timeout(CALL_LIMIT, send(grpc, &region)).await;
        match sent
            .unwrap_or_else(|_| Err(Status::deadline_exceeded(format!("no answer within {CALL_LIMIT:?}"))))
        {
            Ok(answer) => {
                let answer = answer.into_inner();
                match region_error(&answer) {
                    None => Ok(Attempt::Served(answer, region)),
                    Some(error) => {
                        let pause = self.learn(&region, error);
                        Ok(Attempt::Failed { why: format!("{url}: {}", describe(error)), pause })
                    }
                }
            }
            Err(status) if status.code() == Code::Unimplemented => {
                Err(Error::Call { what, endpoint: url, waited: Duration::ZERO, status: Box::new(status) })
            }
            Err(status) => {
                self.regions.forget_store(&region);
                failed(format!("{url}: {status}"))
            }
        }
    }

    /// Corrects what is known about a region; returns how long its store wants to be left alone.
    fn learn(&self, region: &Located, error: &errorpb::Error) -> Duration {
        if let Some(busy) = &error.server_is_busy {
            return Duration::from_millis(busy.backoff_ms.min(5_000));
        }
        match error.not_leader.as_ref().map(|e| e.leader) {
            Some(Some(leader)) if leader.store_id != 0 => self.regions.set_leader(region, leader),
            Some(_) => self.regions.forget(region),
            None if error.epoch_not_match.is_some()
                || error.region_not_found.is_some()
                || error.key_not_in_region.is_some() =>
            {
                self.regions.forget(region);
            }
            // What this version does not know may mean that the store at this address is another one.
            None => self.regions.forget_store(region),
        }
        Duration::ZERO
    }
}

enum Attempt<R> {
    Served(R, Located),
    Failed { why: String, pause: Duration },
}

fn describe(error: &errorpb::Error) -> String {
    let kind = if error.not_leader.is_some() {
        "not leader"
    } else if error.epoch_not_match.is_some() {
        "epoch not match"
    } else if error.region_not_found.is_some() {
        "region not found"
    } else if error.key_not_in_region.is_some() {
        "key not in region"
    } else if error.server_is_busy.is_some() {
        "server is busy"
    } else {
        "region error"
    };
    format!("{kind}: {}", error.message)
}

/// The first key behind `key`.
fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

fn lock_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(20), Duration::from_millis(500), LOCK_LIMIT)
}

/// Waits for a lock to go; other errors of a key end the read.
async fn wait_for(
    what: &'static str,
    key: &[u8],
    error: &KeyError,
    backoff: &mut Backoff,
) -> Result<(), Error> {
    match &error.locked {
        Some(lock) if backoff.wait(Duration::ZERO).await => {
            debug!(what, key = %hex(&lock.key), start_ts = lock.lock_version, "waiting for a lock");
            Ok(())
        }
        Some(lock) => Err(Error::Locked {
            key: hex(if lock.key.is_empty() { key } else { &lock.key }),
            start_ts: StartTs::new(lock.lock_version),
            waited: backoff.elapsed(),
        }),
        None => Err(Error::Key { what, key: hex(key), why: format!("{error:?}") }),
    }
}
