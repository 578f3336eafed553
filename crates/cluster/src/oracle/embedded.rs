//! Timestamps of an embedded cluster: the pump that hosts the oracle is asked.

use std::time::Duration;

use binlog_proto::store::TsoRequest;
use binlog_proto::store::store_client::StoreClient;
use binlog_types::Ts;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;

use super::batch::{Block, Source};
use crate::backoff::Backoff;
use crate::endpoint::{channel, normalize};
use crate::{EmbeddedCluster, Error};

const CALL_LIMIT: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(10);

/// Asks the host that the cluster's directory names; looks there again after every failure.
#[derive(Debug)]
pub(super) struct EmbeddedSource {
    cluster: EmbeddedCluster,
    host: Option<(String, StoreClient<Channel>)>,
}

impl EmbeddedSource {
    pub(super) fn new(cluster: EmbeddedCluster) -> Self {
        EmbeddedSource { cluster, host: None }
    }

    fn host(&mut self) -> Result<&mut (String, StoreClient<Channel>), Error> {
        let host = match self.host.take() {
            Some(host) => host,
            None => {
                let missing = || Error::NoOracle { path: self.cluster.dir().to_owned() };
                let host = self.cluster.oracle_host()?.ok_or_else(missing)?;
                let url = normalize(&host, false)?;
                let client = StoreClient::new(channel(&url, None)?);
                (host, client)
            }
        };
        Ok(self.host.insert(host))
    }

    async fn once(&mut self, count: u32) -> Result<Block, Error> {
        let cluster_id = self.cluster.cluster_id().0;
        let (endpoint, client) = self.host()?;
        let failed = |status| Error::Call {
            what: "Store/Tso",
            endpoint: endpoint.clone(),
            waited: Duration::ZERO,
            status: Box::new(status),
        };
        let answer = timeout(CALL_LIMIT, client.tso(TsoRequest { cluster_id, count }))
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded(format!("no answer within {CALL_LIMIT:?}"))))
            .map_err(failed)?
            .into_inner();
        if answer.count != count || answer.last < u64::from(count) {
            let why = format!("{} timestamps up to {}, {count} wanted", answer.count, answer.last);
            return Err(Error::BadAnswer { what: "Store/Tso", endpoint: endpoint.clone(), why });
        }
        Ok(Block { last: Ts::new(answer.last), count, step: 1 })
    }
}

impl Source for EmbeddedSource {
    async fn take(&mut self, count: u32) -> Result<Block, Error> {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500), LIMIT);
        loop {
            let mut error = match self.once(count).await {
                Ok(block) => return Ok(block),
                Err(error) => error,
            };
            self.host = None;
            if !error.is_retryable() || !backoff.wait(Duration::ZERO).await {
                if let Error::Call { waited, .. } = &mut error {
                    *waited = backoff.elapsed();
                }
                return Err(error);
            }
        }
    }
}
