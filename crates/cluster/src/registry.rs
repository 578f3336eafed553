//! The registry of nodes: etcd under `/tidb-binlog/v1/`, or a directory.

mod directory;
mod etcd;
pub(crate) mod files;
mod life;

use std::path::Path;
use std::sync::Arc;

use binlog_types::NodeId;
use tracing::warn;

pub use self::life::{Life, LifeMark};
use crate::{Error, NodeKind, NodeStatus, TlsFiles};

/// A handle to the registry; cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    backend: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    Etcd(Arc<etcd::Etcd>),
    Directory(Arc<directory::Directory>),
}

/// All nodes of a kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Those that could be read, by name.
    pub nodes: Vec<NodeStatus>,
    /// Keys (or files) that hold something else, and what is wrong with them.
    pub malformed: Vec<(String, String)>,
}

impl Registry {
    /// etcd at PD's client URLs. Does not connect yet.
    ///
    /// # Errors
    /// When a URL or the TLS files cannot be used.
    pub async fn etcd(urls: &[String], tls: Option<&TlsFiles>) -> Result<Self, Error> {
        Ok(Registry { backend: Backend::Etcd(Arc::new(etcd::Etcd::new(urls, tls)?)) })
    }

    /// The embedded registry in a directory: one JSON file a node, changed under flock.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn directory(path: &Path) -> Result<Self, Error> {
        files::make_dir(path)?;
        Ok(Self::of_files(path))
    }

    /// Of a directory that is there.
    pub(crate) fn of_files(path: &Path) -> Self {
        Registry { backend: Backend::Directory(Arc::new(directory::Directory::at(path))) }
    }

    /// All nodes of a kind, by name. An entry that cannot be read is left out with a warning that names it: one bad value must
    /// not stop the cluster, as it does the original. Where a missing node would mean missing data, use [`Self::all`].
    ///
    /// # Errors
    /// When the registry cannot be reached.
    pub async fn list(&self, kind: NodeKind) -> Result<Vec<NodeStatus>, Error> {
        let listing = self.listing(kind).await?;
        for (key, why) in &listing.malformed {
            warn!(%key, %why, "left out an entry of the registry that is no node status");
        }
        Ok(listing.nodes)
    }

    /// All nodes of a kind, by name, and none left out.
    ///
    /// # Errors
    /// When the registry cannot be reached, or an entry is no node status: its key is named.
    pub async fn all(&self, kind: NodeKind) -> Result<Vec<NodeStatus>, Error> {
        let listing = self.listing(kind).await?;
        match listing.malformed.into_iter().next() {
            Some((key, why)) => Err(Error::Malformed { key, why }),
            None => Ok(listing.nodes),
        }
    }

    /// All nodes of a kind, with the entries that cannot be read.
    ///
    /// # Errors
    /// When the registry cannot be reached.
    pub async fn listing(&self, kind: NodeKind) -> Result<Listing, Error> {
        match &self.backend {
            Backend::Etcd(etcd) => etcd.list(kind).await,
            Backend::Directory(directory) => blocking(directory, move |d| d.list(kind)).await,
        }
    }

    /// One node.
    ///
    /// # Errors
    /// When the registry cannot be reached, or the entry is no node status.
    pub async fn get(&self, kind: NodeKind, id: &NodeId) -> Result<Option<NodeStatus>, Error> {
        match &self.backend {
            Backend::Etcd(etcd) => etcd.get(kind, id).await,
            Backend::Directory(directory) => {
                let id = id.clone();
                blocking(directory, move |d| d.get(kind, &id)).await
            }
        }
    }

    /// Writes one node.
    ///
    /// # Errors
    /// When the registry cannot be reached.
    pub async fn put(&self, kind: NodeKind, status: &NodeStatus) -> Result<(), Error> {
        match &self.backend {
            Backend::Etcd(etcd) => etcd.put(kind, status).await,
            Backend::Directory(directory) => {
                let status = status.clone();
                blocking(directory, move |d| d.put(kind, &status)).await
            }
        }
    }
}

/// Files and their locks wait for the disk and for other processes, so not on the runtime's threads.
async fn blocking<T: Send + 'static>(
    directory: &Arc<directory::Directory>,
    work: impl FnOnce(&directory::Directory) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let directory = Arc::clone(directory);
    tokio::task::spawn_blocking(move || work(&directory)).await.map_err(|_| Error::Stopped("registry"))?
}
