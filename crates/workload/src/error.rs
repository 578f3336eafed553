//! What can go wrong while playing TiDB.

use binlog_types::StartTs;

/// An error of the workload.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry lists no pump that takes binlogs.
    #[error("no pump is online in the cluster's registry; start one first")]
    NoPump,
    /// The registry or the oracle failed.
    #[error("cannot ask the cluster")]
    Cluster(#[from] binlog_cluster::Error),
    /// A pump cannot be reached.
    #[error("cannot connect to pump {host}")]
    Connect {
        /// `host:port`.
        host: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// A pump refused a call, or did not answer in time.
    #[error("pump {host} failed {call}: {message}")]
    Call {
        /// `host:port`.
        host: String,
        /// Which call.
        call: &'static str,
        /// What it said.
        message: String,
    },
    /// The outcome of a transaction could not be told to its pump, so that the stream stands still before it.
    #[error("transaction {start_ts} was written to pump {host}, which then took no outcome: {message}")]
    Outcome {
        /// The transaction.
        start_ts: StartTs,
        /// `host:port`.
        host: String,
        /// What it said.
        message: String,
    },
    /// The catalog does not take what the workload made.
    #[error("the catalog refuses a schema object of the workload")]
    Catalog(#[from] binlog_catalog::Error),
    /// A call that makes no sense now.
    #[error("{0}")]
    Usage(String),
    /// A session's task ended abnormally.
    #[error("a session ended abnormally: {0}")]
    Session(String),
}
