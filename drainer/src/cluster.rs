//! The cluster that a drainer belongs to: PD, or a directory.

use binlog_cluster::{EmbeddedCluster, Oracle, PdClient, Registry};
use binlog_types::ClusterId;

use crate::Error;
use crate::settings::Settings;

/// The cluster as it was found.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) id: ClusterId,
    pub(crate) registry: Registry,
    pub(crate) oracle: Oracle,
}

impl Cluster {
    pub(crate) async fn find(settings: &Settings) -> Result<Self, Error> {
        if let Some(dir) = &settings.cluster_dir {
            let cluster =
                EmbeddedCluster::open_or_create(dir).map_err(Error::cluster("open the cluster directory"))?;
            return Ok(Cluster {
                id: cluster.cluster_id(),
                registry: cluster.registry(),
                oracle: Oracle::embedded(&cluster),
            });
        }
        let pd = PdClient::connect(&settings.pd_urls, None).await.map_err(Error::cluster("connect to PD"))?;
        let registry =
            Registry::etcd(&settings.pd_urls, None).await.map_err(Error::cluster("connect to PD's etcd"))?;
        Ok(Cluster { id: pd.cluster_id(), registry, oracle: Oracle::pd(pd) })
    }
}
