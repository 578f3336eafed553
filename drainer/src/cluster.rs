//! The cluster that a drainer belongs to: PD, or a directory.

use std::sync::Arc;

use binlog_cluster::{EmbeddedCluster, Oracle, PdClient, Registry, TlsFiles};
use binlog_pull::{SchemaSource, TikvSchema};
use binlog_types::{ClusterId, SystemClock};

use crate::Error;
use crate::settings::Settings;

/// The cluster as it was found.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) id: ClusterId,
    pub(crate) registry: Registry,
    pub(crate) oracle: Oracle,
    /// Where there is TiKV: the schema history, in case no pump serves it.
    pub(crate) schema: Option<Arc<dyn SchemaSource>>,
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
                schema: None,
            });
        }
        let security = &settings.security;
        let tls = (!security.ssl_ca.is_empty()).then(|| TlsFiles {
            ca: security.ssl_ca.clone(),
            cert: security.ssl_cert.clone(),
            key: security.ssl_key.clone(),
        });
        let (urls, tls) = (&settings.pd_urls, tls.as_ref());
        let pd = PdClient::connect(urls, tls).await.map_err(Error::cluster("connect to PD"))?;
        let registry = Registry::etcd(urls, tls).await.map_err(Error::cluster("connect to PD's etcd"))?;
        let schema: Arc<dyn SchemaSource> = Arc::new(TikvSchema::new(pd.clone(), SystemClock::handle()));
        Ok(Cluster { id: pd.cluster_id(), registry, oracle: Oracle::pd(pd), schema: Some(schema) })
    }
}
