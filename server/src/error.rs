//! Why a pump does not start, or stops.

use std::path::PathBuf;

use binlog_types::{ClusterId, NodeId};

/// An error of the pump as a process. Each text holds its cause, which is therefore not a source besides. Errors of single requests are gRPC statuses, made in `grpc::status`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be.
    #[error("{0}")]
    Config(String),
    /// A file of the data directory.
    #[error("{action} {path:?}: {cause}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        cause: std::io::Error,
    },
    /// The data directory cannot be had for oneself.
    #[error(transparent)]
    DataDir(#[from] binlog_cli::DirError),
    /// The data directory holds binlogs of the original pump that somebody needs.
    #[error(
        "{dir:?} holds binlogs of the original pump that are not read to the end: {found}. This program does not read its files. Either start the \
         original once more until every drainer has caught up (or take drainers offline that are gone for good), or set another data-dir; then start again"
    )]
    ForeignDirectory {
        /// The data directory.
        dir: PathBuf,
        /// What would be lost.
        found: String,
    },
    /// The store was made in another cluster.
    #[error(
        "the store in {dir:?} belongs to cluster {stored}, but this cluster is {own}: set another data-dir, or the right cluster"
    )]
    OtherCluster {
        /// The data directory.
        dir: PathBuf,
        /// The cluster in the store.
        stored: ClusterId,
        /// The cluster that was found.
        own: ClusterId,
    },
    /// The listening address.
    #[error("cannot listen on {addr}: {cause}")]
    Listen {
        /// The address.
        addr: String,
        /// Why.
        cause: std::io::Error,
    },
    /// PD, etcd, TiKV or the embedded cluster.
    #[error("{action}: {cause}")]
    Cluster {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        cause: binlog_cluster::Error,
    },
    /// The store.
    #[error("{action}: {cause}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        cause: binlog_storage::Error,
    },
    /// Threads or runtimes could not be made.
    #[error("{action}: {cause}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        cause: std::io::Error,
    },
    /// TLS settings.
    #[error(transparent)]
    Tls(#[from] binlog_cli::tls::TlsError),
    /// A signal came before the pump was up.
    #[error("stopped before the pump was up")]
    Interrupted,
    /// The node's own name cannot be used.
    #[error("node {node}: {why}")]
    Node {
        /// The name.
        node: NodeId,
        /// Why.
        why: String,
    },
}

impl Error {
    /// Whether the pump failed after it was made, while starting: the original's exit code is then 2, not 1.
    pub fn is_start_failure(&self) -> bool {
        matches!(self, Error::Listen { .. } | Error::Cluster { action: START_REGISTER | START_TSO, .. })
    }

    /// Wraps an error of a cluster call.
    pub(crate) fn cluster(action: &'static str) -> impl FnOnce(binlog_cluster::Error) -> Self {
        move |cause| Error::Cluster { action, cause }
    }

    /// Wraps an error of the store.
    pub(crate) fn store(action: &'static str) -> impl FnOnce(binlog_storage::Error) -> Self {
        move |cause| Error::Store { action, cause }
    }

    /// Wraps an error of a file.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Error::File { action, path, cause }
    }

    /// Wraps an error of the operating system.
    pub(crate) fn system(action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |cause| Error::System { action, cause }
    }
}

/// The first timestamp; the original's text.
pub(crate) const START_TSO: &str = "fail to get tso from pd";
/// The first registration; the original's text.
pub(crate) const START_REGISTER: &str = "fail to register node to etcd";
