//! A pump with binlogs in it.

use std::collections::HashMap;
use std::path::Path;

use binlog_cluster::{EmbeddedCluster, NodeKind};
use binlog_proto::binlog::pump_client::PumpClient;
use binlog_proto::binlog::{Binlog, WriteBinlogReq};
use binlog_proto::store::PutSchemaRequest;
use binlog_proto::store::store_client::StoreClient;
use binlog_server::Running;
use binlog_testkit::Mariadb;
use binlog_types::{ByteSize, CommitTs};
use bytes::Bytes;
use futures::stream::{StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use super::{Database, Marks, Work};

/// Calls under way at once while the pump is filled.
const WRITES: usize = 128;

/// One pump in an embedded cluster. It lives as long as this.
pub(super) struct Site {
    dir: TempDir,
    cluster: EmbeddedCluster,
    _pump: Running,
}

/// The binlogs between two marks.
#[derive(Default)]
pub(super) struct Phase {
    prewrites: Vec<Bytes>,
    /// And rollbacks.
    commits: Vec<Bytes>,
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

    /// Tells the pump of the schema, and parts the work at its marks.
    pub(super) async fn feed(&self, work: Work) -> anyhow::Result<(Marks, [Phase; 3])> {
        let cluster_id = self.cluster.cluster_id().0;
        let request =
            PutSchemaRequest { cluster_id, objects: work.objects, complete_version: work.version.0 };
        StoreClient::new(self.channel().await?).put_schema(request).await?;
        let (created, small) = (work.marks.created.raw(), work.marks.small.raw());
        let mut phases = [Phase::default(), Phase::default(), Phase::default()];
        let mut ends = [CommitTs::ZERO; 3];
        let mut places = HashMap::new();
        for payload in work.commits {
            let binlog = Binlog::decode(payload.clone())?;
            let at = binlog.commit_ts.max(binlog.start_ts) as u64;
            let place = usize::from(at > created) + usize::from(at > small);
            places.insert(binlog.start_ts, place);
            // The watermark stands at the last commit of a phase until the next one begins.
            if let Some(end) = ends.get_mut(place) {
                *end = CommitTs::new(binlog.commit_ts as u64).max(*end);
            }
            if let Some(phase) = phases.get_mut(place) {
                phase.commits.push(payload);
            }
        }
        for payload in work.prewrites {
            // One whose outcome is not in the capture is left out: the watermark could never pass it.
            let place = places.get(&Binlog::decode(payload.clone())?.start_ts);
            if let Some(phase) = place.and_then(|place| phases.get_mut(*place)) {
                phase.prewrites.push(payload);
            }
        }
        let [created, small, end] = ends;
        Ok((Marks { created, small: small.max(created), end: end.max(small).max(created) }, phases))
    }

    /// Writes a phase. The watermark passes no prewrite that is not settled: so nothing of it is seen before the last commit is there.
    pub(super) async fn begin(&self, phase: Phase) -> anyhow::Result<()> {
        self.write(phase.prewrites).await?;
        self.write(phase.commits).await
    }

    /// Writes binlogs, many at a time.
    async fn write(&self, binlogs: Vec<Bytes>) -> anyhow::Result<()> {
        let (channel, cluster_id) = (self.channel().await?, self.cluster.cluster_id().0);
        let write = |payload: Bytes| {
            let mut client = PumpClient::new(channel.clone()).max_encoding_message_size(usize::MAX);
            async move {
                let answer = client.write_binlog(WriteBinlogReq { cluster_id, payload }).await?.into_inner();
                anyhow::ensure!(answer.errmsg.is_empty(), "{}", answer.errmsg);
                Ok(())
            }
        };
        futures::stream::iter(binlogs.into_iter().map(write))
            .buffered(WRITES)
            .try_for_each(|()| std::future::ready(Ok(())))
            .await
    }

    async fn channel(&self) -> anyhow::Result<Channel> {
        let nodes = self.cluster.registry().list(NodeKind::Pump).await?;
        let host = nodes.into_iter().next().map(|n| n.host).unwrap_or_default();
        Ok(Endpoint::from_shared(format!("http://{host}"))?.connect().await?)
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
