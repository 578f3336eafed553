//! The service `tikvpb.Tikv`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use binlog_proto::errorpb;
use binlog_proto::kvrpcpb::{
    CheckTxnStatusRequest, CheckTxnStatusResponse, Context, GetRequest, GetResponse, KeyError, KvPair,
    LockInfo, MvccGetByKeyRequest, MvccGetByKeyResponse, ScanRequest, ScanResponse,
};
use binlog_proto::tikvpb::tikv_server::Tikv;
use binlog_types::Ts;
use bytes::Bytes;
use tonic::{Request, Response, Status};

use super::State;
use super::regions::RegionFault;

pub(super) struct TikvService {
    pub(super) state: Arc<State>,
}

impl TikvService {
    /// Counts the call, plays the next fault, and checks the region; its end, or the error to answer.
    async fn enter(
        &self,
        method: &'static str,
        context: Option<&Context>,
        key: &[u8],
    ) -> Result<Result<Vec<u8>, errorpb::Error>, Status> {
        self.state.count(method);
        let (fault, delay) = self.state.faults.lock().take_region();
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        let regions = self.state.regions.lock();
        match fault {
            Some(RegionFault::Unavailable) => Err(Status::unavailable("test")),
            Some(fault) => Ok(Err(*regions.fault(fault, key))),
            None => Ok(regions.check(context, key).map_err(|error| *error)),
        }
    }

    fn locked(&self, start: &[u8], end: &[u8], version: u64) -> Option<(Bytes, KeyError)> {
        let mut locks = self.state.locks.lock();
        let inside = |key: &[u8]| key >= start && (end.is_empty() || key < end);
        let (key, lock) =
            locks.iter_mut().find(|(key, lock)| inside(key) && lock.start_ts.raw() <= version)?;
        let error = KeyError {
            locked: Some(LockInfo {
                primary_lock: key.clone(),
                lock_version: lock.start_ts.raw(),
                key: key.clone(),
                lock_ttl: 3000,
                txn_size: 1,
            }),
            ..Default::default()
        };
        let key = key.clone();
        if let Some(left) = &mut lock.reads {
            *left = left.saturating_sub(1);
            if *left == 0 {
                locks.remove(&key);
            }
        }
        Some((key, error))
    }
}

/// The first key behind `key`.
fn next_key(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

#[tonic::async_trait]
impl Tikv for TikvService {
    async fn kv_get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let request = request.into_inner();
        let mut answer = GetResponse::default();
        match self.enter("KvGet", request.context.as_ref(), &request.key).await? {
            Err(error) => answer.region_error = Some(error),
            Ok(_) => match self.locked(&request.key, &next_key(&request.key), request.version) {
                Some((_, error)) => answer.error = Some(error),
                None => match self.state.map.lock().get(&request.key, Ts::new(request.version)) {
                    Some(value) => answer.value = value,
                    None => answer.not_found = !self.state.unistore.load(Ordering::Relaxed),
                },
            },
        }
        Ok(Response::new(answer))
    }

    async fn kv_scan(&self, request: Request<ScanRequest>) -> Result<Response<ScanResponse>, Status> {
        let request = request.into_inner();
        let region_end = match self.enter("KvScan", request.context.as_ref(), &request.start_key).await? {
            Err(error) => {
                return Ok(Response::new(ScanResponse { region_error: Some(error), ..Default::default() }));
            }
            Ok(end) => end,
        };
        // A store serves no more than the region, whatever was asked for.
        let within = !request.end_key.is_empty() && (region_end.is_empty() || request.end_key < region_end);
        let end = if within { request.end_key.to_vec() } else { region_end };
        let limit = request.limit as usize;
        let lock = self.locked(&request.start_key, &end, request.version);
        let stop = lock.as_ref().map_or(end.as_slice(), |(key, _)| key);
        let found = self.state.map.lock().scan(&request.start_key, stop, limit, Ts::new(request.version));
        let mut pairs: Vec<KvPair> =
            found.into_iter().map(|(key, value)| KvPair { error: None, key, value }).collect();
        if let Some((key, error)) = lock
            && pairs.len() < limit
        {
            pairs.push(KvPair { error: Some(error), key, value: Bytes::new() });
        }
        Ok(Response::new(ScanResponse { region_error: None, pairs, error: None }))
    }

    async fn kv_check_txn_status(
        &self,
        request: Request<CheckTxnStatusRequest>,
    ) -> Result<Response<CheckTxnStatusResponse>, Status> {
        let request = request.into_inner();
        let answer =
            match self.enter("KvCheckTxnStatus", request.context.as_ref(), &request.primary_key).await? {
                Err(error) => CheckTxnStatusResponse { region_error: Some(error), ..Default::default() },
                Ok(_) => self.state.txns.lock().check(&request),
            };
        Ok(Response::new(answer))
    }

    async fn mvcc_get_by_key(
        &self,
        request: Request<MvccGetByKeyRequest>,
    ) -> Result<Response<MvccGetByKeyResponse>, Status> {
        let request = request.into_inner();
        let mut answer = MvccGetByKeyResponse::default();
        match self.enter("MvccGetByKey", request.context.as_ref(), &request.key).await? {
            Err(error) => answer.region_error = Some(error),
            Ok(_) => answer.info = Some(self.state.txns.lock().mvcc(&request.key)),
        }
        Ok(Response::new(answer))
    }
}
