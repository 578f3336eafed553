//! What ends a drainer.

use std::path::PathBuf;

use binlog_types::CommitTs;

/// Errors of a drainer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot be.
    #[error("{0}")]
    Config(String),
    /// A file or directory cannot be used.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The data directory cannot be had for oneself.
    #[error(transparent)]
    DataDir(#[from] binlog_cli::DirError),
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: String,
        /// Why.
        source: std::io::Error,
    },
    /// The cluster cannot be reached at the start.
    #[error("{what}: {source}")]
    Cluster {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: binlog_cluster::Error,
    },
    /// The registry could not be written any more.
    #[error("the registry could not be written {failures} times in a row: {source}")]
    Heartbeat {
        /// How often.
        failures: u32,
        /// The last failure.
        source: binlog_cluster::Error,
    },
    /// The downstream cannot be opened.
    #[error("open the downstream: {0}")]
    OpenSink(binlog_sink::Error),
    /// The downstream refuses.
    #[error("apply after commit_ts {after}: {source}")]
    Sink {
        /// Everything at or below it is applied.
        after: CommitTs,
        /// Why.
        source: binlog_sink::Error,
    },
    /// The stream stopped.
    #[error(transparent)]
    Pull(#[from] binlog_pull::Error),
    /// A metric could not be made: a defect.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The TLS files cannot be used.
    #[error(transparent)]
    Tls(#[from] binlog_cli::tls::TlsError),
    /// Serving ended by itself.
    #[error("serve HTTP and gRPC: {0}")]
    Serve(#[from] tonic::transport::Error),
    /// A task ended by itself: a defect.
    #[error("the {0} task died")]
    TaskDied(&'static str),
}

impl Error {
    /// The process's exit code: 1 for what is wrong with the configuration or the start, 2 for what happens later.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_)
            | Error::File { .. }
            | Error::DataDir(_)
            | Error::Tls(_)
            | Error::Cluster { .. }
            | Error::OpenSink(_)
            | Error::Metrics(_) => 1,
            Error::Listen { .. }
            | Error::Heartbeat { .. }
            | Error::Sink { .. }
            | Error::Pull(_)
            | Error::Serve(_)
            | Error::TaskDied(_) => 2,
        }
    }

    pub(crate) fn cluster(what: &'static str) -> impl FnOnce(binlog_cluster::Error) -> Error {
        move |source| Error::Cluster { what, source }
    }

    pub(crate) fn file(what: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File { what, path, source }
    }
}
