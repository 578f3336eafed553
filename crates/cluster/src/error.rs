//! What can go wrong with the cluster.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use binlog_types::{ClusterId, NodeId, StartTs};
use tonic::Status;

/// An error of a cluster call; the text names the endpoint or file, the cause and, where there is something to do, says what.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that is no URL of PD.
    #[error("unusable address {url:?}: {why}; write host:port, http://host:port or https://host:port")]
    BadUrl {
        /// As given.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// TLS settings that cannot be used.
    #[error("TLS: {why} ({path}); check ssl-ca, ssl-cert and ssl-key")]
    Tls {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// No PD member led us to a leader.
    #[error("no PD leader found at {urls}: {last}; check pd-urls and that PD is up")]
    NoPdLeader {
        /// The members that were asked.
        urls: String,
        /// Why the last one did not help.
        last: String,
    },
    /// A URL leads into another cluster than before.
    #[error("{endpoint} belongs to cluster {found}, not to cluster {expected}; check pd-urls")]
    OtherCluster {
        /// Who answered.
        endpoint: String,
        /// The cluster that this client belongs to.
        expected: ClusterId,
        /// The cluster that the endpoint belongs to.
        found: ClusterId,
    },
    /// A gRPC call failed, and so did its repetitions.
    #[error("{what} at {endpoint} failed for {waited:?}: {status}")]
    Call {
        /// The call.
        what: &'static str,
        /// Who was asked last.
        endpoint: String,
        /// How long it was tried.
        waited: Duration,
        /// The last failure.
        status: Box<Status>,
    },
    /// PD understood and refused, to the last.
    #[error("{what}: PD at {endpoint} answers: {message}")]
    PdRefused {
        /// The call.
        what: &'static str,
        /// Who was asked last.
        endpoint: String,
        /// PD's words.
        message: String,
    },
    /// An answer that makes no sense.
    #[error("{what}: {endpoint} sent an answer that makes no sense: {why}")]
    BadAnswer {
        /// The call.
        what: &'static str,
        /// Who answered.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// No region took the request in time.
    #[error("{what}: no region served key {key} for {waited:?}: {last}")]
    Region {
        /// The call.
        what: &'static str,
        /// The key, in hex.
        key: String,
        /// How long it was tried.
        waited: Duration,
        /// The last region error.
        last: String,
    },
    /// A transaction held its lock on a key longer than we wait.
    #[error("key {key} is locked by transaction {start_ts} (since at least {waited:?}); try again")]
    Locked {
        /// The key, in hex.
        key: String,
        /// The transaction that holds it.
        start_ts: StartTs,
        /// How long we waited.
        waited: Duration,
    },
    /// The store refused a key.
    #[error("{what}: the store refuses key {key}: {why}")]
    Key {
        /// The call.
        what: &'static str,
        /// The key, in hex.
        key: String,
        /// The store's words.
        why: String,
    },
    /// etcd failed, and so did the repetitions at all endpoints.
    #[error("etcd at {endpoint}: {what} failed for {waited:?}: {why}")]
    Etcd {
        /// The operation.
        what: &'static str,
        /// Who was asked last.
        endpoint: String,
        /// How long it was tried.
        waited: Duration,
        /// The last failure.
        why: String,
    },
    /// An entry of the registry that cannot be read.
    #[error("{key} holds no node status: {why}")]
    Malformed {
        /// The etcd key or file.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// Somebody else made, changed or removed the entry at the same time, again and again.
    #[error("{key} changes too fast; try again")]
    Contended {
        /// The etcd key.
        key: String,
    },
    /// Another process runs under the same name.
    #[error("node id {node} is taken by a process at {host}: stop that one, or set another node-id")]
    Taken {
        /// The name.
        node: NodeId,
        /// Where the other process is reached.
        host: String,
    },
    /// A file or directory of an embedded cluster.
    #[error("{}: {what}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was being done.
        what: &'static str,
        /// The system's error.
        cause: Arc<io::Error>,
    },
    /// The directory holds no embedded cluster.
    #[error("{} holds no cluster; start a pump with it first", path.display())]
    NoCluster {
        /// The directory.
        path: PathBuf,
    },
    /// No pump hands out timestamps yet.
    #[error("no pump of the cluster in {} hands out timestamps yet; start one", path.display())]
    NoOracle {
        /// The cluster's directory.
        path: PathBuf,
    },
    /// The runtime that worked for this handle is gone.
    #[error("the {0} was shut down")]
    Stopped(&'static str),
}

impl Error {
    /// Whether the same call may succeed later without anyone changing a setting.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::NoPdLeader { .. }
            | Error::Call { .. }
            | Error::PdRefused { .. }
            | Error::Region { .. }
            | Error::Locked { .. }
            | Error::Etcd { .. }
            | Error::Contended { .. }
            | Error::Taken { .. }
            | Error::NoOracle { .. } => true,
            Error::BadUrl { .. }
            | Error::Tls { .. }
            | Error::OtherCluster { .. }
            | Error::BadAnswer { .. }
            | Error::Key { .. }
            | Error::Malformed { .. }
            | Error::File { .. }
            | Error::NoCluster { .. }
            | Error::Stopped(_) => false,
        }
    }

    pub(crate) fn file(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |cause| Error::File { path, what, cause: Arc::new(cause) }
    }
}

/// A key as people can compare it.
pub(crate) fn hex(key: &[u8]) -> String {
    use std::fmt::Write as _;
    key.iter().fold(String::with_capacity(key.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
