//! A pump with binlogs in it.

use std::path::Path;

use binlog_cluster::{EmbeddedCluster, NodeKind};
use binlog_proto::binlog::WriteBinlogReq;
use binlog_proto::binlog::pump_client::PumpClient;
use binlog_proto::store::PutSchemaRequest;
use binlog_proto::store::store_client::StoreClient;
use binlog_server::Running;
use binlog_testkit::Mariadb;
use binlog_types::{ByteSize, CommitTs};
use bytes::Bytes;
use futures::stream::{StreamExt as _, TryStreamExt as _};
use tempfile::TempDir;

use super::{Database, Marks, Work};

/// Calls under way at once while the pump is filled.
const WRITES: usize = 128;

/// One pump in an embedded cluster. It lives as long as this.
pub(super) struct Site {
    dir: TempDir,
    cluster: EmbeddedCluster,
    _pump: Running,
}

impl Site {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let cluster = EmbeddedCluster::open_or_create(&dir.path().join("cluster"))?;
        let mut config = binlog_server::Config {
            addr: "127.0.0.1:0".to_owned(),
            node_id: "pump".to_owned(),
            cluster_dir: text(&dir.path().join("cluster")),
            data_dir: dir.path().join("pump"),
            ..binlog_server::Config::default()
        };
        config.storage.stop_write_at_available_space = ByteSize(0);
        let pump = binlog_server::start(config).await?;
        Ok(Site { dir, cluster, _pump: pump })
    }

    /// Writes everything: the schema, all prewrites, then all commits in their order.
    pub(super) async fn feed(&self, work: Work) -> anyhow::Result<Marks> {
        let nodes = self.cluster.registry().list(NodeKind::Pump).await?;
        let host = nodes.into_iter().next().map(|n| n.host).unwrap_or_default();
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{host}"))?.connect().await?;
        let cluster_id = self.cluster.cluster_id().0;
        let request =
            PutSchemaRequest { cluster_id, objects: work.objects, complete_version: work.version.0 };
        StoreClient::new(channel.clone()).put_schema(request).await?;
        let write = |payload: Bytes| {
            let mut client = PumpClient::new(channel.clone()).max_encoding_message_size(usize::MAX);
            async move {
                let answer = client.write_binlog(WriteBinlogReq { cluster_id, payload }).await?.into_inner();
                anyhow::ensure!(answer.errmsg.is_empty(), "{}", answer.errmsg);
                Ok(())
            }
        };
        for calls in [work.prewrites, work.commits] {
            futures::stream::iter(calls.into_iter().map(write))
                .buffered(WRITES)
                .try_for_each(|()| std::future::ready(Ok(())))
                .await?;
        }
        Ok(work.marks)
    }

    /// The configuration of a restore of `(after, through]` into `server`.
    pub(super) fn reparo(
        &self,
        server: &Mariadb,
        batch: usize,
        (after, through): (CommitTs, CommitTs),
    ) -> binlog_reparo::Config {
        binlog_reparo::Config {
            from_pump: "registry".to_owned(),
            cluster_dir: self.dir.path().join("cluster"),
            after_tso: after.as_i64(),
            stop_tso: through.as_i64(),
            dest_type: "mysql".to_owned(),
            dest_db: Some(binlog_reparo::DestDb {
                host: "127.0.0.1".to_owned(),
                port: server.port(),
                user: "root".to_owned(),
                ..binlog_reparo::DestDb::default()
            }),
            worker_count: super::CONNECTIONS as i64,
            txn_batch: batch as i64,
            ..binlog_reparo::Config::default()
        }
    }

    /// The configuration of a drainer from the beginning into `database`.
    pub(super) fn drainer(&self, database: &Database, batch: usize) -> binlog_drainer::Config {
        let mut config = binlog_drainer::Config {
            addr: "127.0.0.1:0".to_owned(),
            node_id: "drainer".to_owned(),
            cluster_dir: text(&self.dir.path().join("cluster")),
            data_dir: text(&self.dir.path().join("drainer")),
            initial_commit_ts: 0,
            ..binlog_drainer::Config::default()
        };
        config.syncer.worker_count = super::CONNECTIONS as i64;
        config.syncer.txn_batch = batch as i64;
        let to = &mut config.syncer.to;
        match database {
            Database::Server(server) => {
                config.syncer.db_type = "mysql".to_owned();
                (to.host, to.port) = ("127.0.0.1".to_owned(), i64::from(server.port()));
                to.user = "root".to_owned();
            }
            Database::File(path) => {
                config.syncer.db_type = "sqlite".to_owned();
                to.path = text(path);
            }
        }
        config
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
