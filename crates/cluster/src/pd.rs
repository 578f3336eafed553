//! PD over gRPC: finds the leader, follows it, fails over.

mod core;
mod tso;

use std::sync::Arc;
use std::time::Duration;

use binlog_proto::metapb::{Peer, Region, Store};
use binlog_proto::pdpb::{
    GetGcSafePointRequest, GetRegionRequest, GetStoreRequest, UpdateServiceGcSafePointRequest,
};
use binlog_types::{ClusterId, Ts};

use self::core::Core;
use crate::endpoint::{Tls, TlsFiles};
use crate::oracle::batch::Batcher;
use crate::{Error, Oracle};

/// A client of PD; finds the leader, fails over; cheap to clone.
#[derive(Clone, Debug)]
pub struct PdClient {
    core: Arc<Core>,
    timestamps: Batcher,
}

impl PdClient {
    /// Connects by way of any of `urls` (`host:port` or with a scheme); from then on it knows all members.
    ///
    /// # Errors
    /// When no leader was found within ten seconds, or the addresses or TLS files cannot be used.
    pub async fn connect(urls: &[String], tls: Option<&TlsFiles>) -> Result<Self, Error> {
        let core = Arc::new(Core::connect(urls, tls).await?);
        let shared = Arc::clone(&core);
        let timestamps = Batcher::new(move || tso::PdSource::new(Arc::clone(&shared)));
        Ok(PdClient { core, timestamps })
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> ClusterId {
        self.core.cluster_id()
    }

    /// A new timestamp.
    ///
    /// # Errors
    /// When PD handed out none for ten seconds.
    pub async fn ts(&self) -> Result<Ts, Error> {
        Ok(self.timestamps.take(1).await?.last)
    }

    /// This client as an oracle.
    pub fn oracle(&self) -> Oracle {
        Oracle::pd(self.clone())
    }

    /// The client URLs of all members that are known by now.
    pub fn member_urls(&self) -> Vec<String> {
        self.core.member_urls()
    }

    /// Keeps the cluster's garbage collection from passing `safe_point`, for `ttl`; to be renewed before it ends, and ended by
    /// a `ttl` of zero. Returns the smallest safe point of all services: where it is above `safe_point`, the request came too
    /// late and was not granted.
    ///
    /// # Errors
    /// When PD did not answer for ten seconds.
    pub async fn update_service_safe_point(
        &self,
        service: &str,
        ttl: Duration,
        safe_point: Ts,
    ) -> Result<Ts, Error> {
        let request = UpdateServiceGcSafePointRequest {
            header: Some(self.core.header()),
            service_id: service.as_bytes().to_vec().into(),
            ttl: i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX),
            safe_point: safe_point.raw(),
        };
        let answer = self
            .core
            .call(
                "UpdateServiceGCSafePoint",
                |mut pd| {
                    let request = request.clone();
                    async move { pd.update_service_gc_safe_point(request).await }
                },
                |answer| answer.header.as_ref(),
            )
            .await?;
        Ok(Ts::new(answer.min_safe_point))
    }

    /// Up to where TiKV may have collected garbage: of a transaction that ended at or below it there may be no trace left.
    ///
    /// # Errors
    /// When PD did not answer for ten seconds.
    pub async fn gc_safe_point(&self) -> Result<Ts, Error> {
        let request = GetGcSafePointRequest { header: Some(self.core.header()) };
        let answer = self
            .core
            .call(
                "GetGCSafePoint",
                |mut pd| async move { pd.get_gc_safe_point(request).await },
                |answer| answer.header.as_ref(),
            )
            .await?;
        Ok(Ts::new(answer.safe_point))
    }

    /// The region that holds `key` (as PD orders keys: memcomparable), and its leader where PD knows one.
    pub(crate) async fn region(&self, key: &[u8]) -> Result<Option<(Region, Option<Peer>)>, Error> {
        let request = GetRegionRequest { header: Some(self.core.header()), region_key: key.to_vec().into() };
        let answer = self
            .core
            .call(
                "GetRegion",
                |mut pd| {
                    let request = request.clone();
                    async move { pd.get_region(request).await }
                },
                |answer| answer.header.as_ref(),
            )
            .await?;
        Ok(answer.region.map(|region| (region, answer.leader)))
    }

    /// A store by its id.
    pub(crate) async fn store(&self, store_id: u64) -> Result<Option<Store>, Error> {
        let request = GetStoreRequest { header: Some(self.core.header()), store_id };
        let answer = self
            .core
            .call(
                "GetStore",
                |mut pd| async move { pd.get_store(request).await },
                |answer| answer.header.as_ref(),
            )
            .await?;
        Ok(answer.store)
    }

    pub(crate) fn batcher(&self) -> &Batcher {
        &self.timestamps
    }

    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.core.tls()
    }
}
