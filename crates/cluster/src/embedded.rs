//! A cluster without PD: one directory that all nodes of one machine share.
//!
//! ```text
//! DIR/cluster.json    {"clusterId": …}         made once
//! DIR/oracle.json     {"nodeId": …, "host": …, "ceiling": …} the pump that hands out timestamps, and what it stays below
//! DIR/oracle.lock     held (flock) by that pump as long as it lives; then the next one takes it
//! DIR/pumps/ID.json   DIR/drainers/ID.json     the registry
//! DIR/lock                                     held (flock) by whoever changes something
//! ```

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use binlog_types::{ClusterId, NodeId, Ts};
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use crate::registry::files;
use crate::{Error, Registry};

/// The embedded cluster of a directory; cheap to clone.
#[derive(Clone, Debug)]
pub struct EmbeddedCluster {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    id: ClusterId,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClusterFile {
    cluster_id: ClusterId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OracleFile {
    node_id: NodeId,
    host: String,
    /// No timestamp above it was handed out.
    #[serde(default)]
    ceiling: u64,
}

/// The right to hand out timestamps: only one process has it. It ends with the process, or when this is dropped.
#[derive(Debug)]
pub struct OracleSeat {
    path: PathBuf,
    file: OracleFile,
    /// Held for its lock.
    _lock: File,
}

impl OracleSeat {
    /// Nothing above it was handed out, by anyone.
    pub fn ceiling(&self) -> Ts {
        Ts::new(self.file.ceiling)
    }

    /// Makes a higher ceiling durable. Blocks on the disk.
    ///
    /// # Errors
    /// When the file cannot be written; the ceiling is then what it was.
    pub fn raise(&mut self, ceiling: Ts) -> Result<(), Error> {
        let raised = OracleFile { ceiling: ceiling.raw(), ..self.file.clone() };
        files::write_json(&self.path, &raised)?;
        self.file = raised;
        Ok(())
    }
}

impl EmbeddedCluster {
    /// Opens the directory, or makes it with a new random cluster id. Of several that race, one makes it.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open_or_create(dir: &Path) -> Result<Self, Error> {
        files::make_dir(dir)?;
        let _lock = files::lock(dir)?;
        match Self::read(dir)? {
            Some(cluster) => Ok(cluster),
            None => {
                // Go programs and protobuf's int64 hold cluster ids too.
                let id = ClusterId(rand::rng().random_range(1..=i64::MAX as u64));
                files::write_json(&dir.join("cluster.json"), &ClusterFile { cluster_id: id })?;
                Ok(Self::at(dir, id))
            }
        }
    }

    /// Opens an existing one.
    ///
    /// # Errors
    /// [`Error::NoCluster`] where there is none; else when it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::read(dir)?.ok_or_else(|| Error::NoCluster { path: dir.to_owned() })
    }

    fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let file: Option<ClusterFile> = files::read_json(&dir.join("cluster.json"))?;
        Ok(file.map(|file| Self::at(dir, file.cluster_id)))
    }

    fn at(dir: &Path, id: ClusterId) -> Self {
        EmbeddedCluster { shared: Arc::new(Shared { dir: dir.to_owned(), id }) }
    }

    /// Its id.
    pub fn cluster_id(&self) -> ClusterId {
        self.shared.id
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Its nodes.
    pub fn registry(&self) -> Registry {
        Registry::of_files(&self.shared.dir)
    }

    /// Makes `node` the host of the oracle, unless a living process is it: None then.
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub fn claim_oracle(&self, node: &NodeId, host: &str) -> Result<Option<OracleSeat>, Error> {
        let lock_path = self.shared.dir.join("oracle.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(Error::file(&lock_path, "cannot open"))?;
        if !files::try_lock(&lock).map_err(Error::file(&lock_path, "cannot lock"))? {
            return Ok(None);
        }
        let path = self.oracle_path();
        let before = files::read_json::<OracleFile>(&path)?.map_or(0, |file| file.ceiling);
        let file = OracleFile { node_id: node.clone(), host: host.to_owned(), ceiling: before };
        files::write_json(&path, &file)?;
        Ok(Some(OracleSeat { path, file, _lock: lock }))
    }

    /// Where the oracle is, as `host:port`.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn oracle_host(&self) -> Result<Option<String>, Error> {
        Ok(files::read_json::<OracleFile>(&self.oracle_path())?.map(|file| file.host))
    }

    fn oracle_path(&self) -> PathBuf {
        self.shared.dir.join("oracle.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    #[test]
    fn those_who_race_get_one_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/cluster");
        assert!(matches!(EmbeddedCluster::open(&path), Err(Error::NoCluster { .. })));
        let ids: Vec<ClusterId> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| EmbeddedCluster::open_or_create(&path).unwrap().cluster_id()))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0] && id.0 != 0), "{ids:?}");
        assert_eq!(EmbeddedCluster::open(&path).unwrap().cluster_id(), ids[0]);
    }

    #[test]
    fn one_living_pump_at_a_time_hosts_the_oracle() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = EmbeddedCluster::open_or_create(dir.path()).unwrap();
        assert_eq!(cluster.oracle_host().unwrap(), None);
        let mut first = cluster.claim_oracle(&id("a"), "h:1").unwrap().unwrap();
        assert_eq!(first.ceiling(), Ts::ZERO);
        assert!(cluster.claim_oracle(&id("b"), "h:2").unwrap().is_none());
        first.raise(Ts::new(70)).unwrap();
        drop(first);
        let second = cluster.claim_oracle(&id("b"), "h:3").unwrap().unwrap();
        assert_eq!(second.ceiling(), Ts::new(70), "it goes on above what the first one may have handed out");
        assert_eq!(cluster.oracle_host().unwrap().as_deref(), Some("h:3"));
    }

    #[test]
    fn a_damaged_file_is_an_error_not_a_new_cluster() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cluster.json"), "{").unwrap();
        assert!(matches!(EmbeddedCluster::open_or_create(dir.path()), Err(Error::Malformed { .. })));
    }
}
