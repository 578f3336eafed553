//! Where to, and how.

use crate::RecycleBin;
use std::fmt;
use std::path::PathBuf;

use binlog_types::ClusterId;

/// A MySQL, MariaDB or TiDB server.
#[derive(Clone, PartialEq, Eq)]
pub struct MySqlTarget {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Account.
    pub user: String,
    /// Its password; empty: none. Never logged.
    pub password: String,
    /// Path of a unix socket, in place of host and port.
    pub socket: Option<String>,
}

impl fmt::Debug for MySqlTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for MySqlTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "{}@{path}", self.user),
            None => write!(f, "{}@{}:{}", self.user, self.host, self.port),
        }
    }
}

/// Where to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A server; whether it is MySQL, MariaDB or TiDB is asked when it is opened.
    MySql(MySqlTarget),
    /// A SQLite file; it is created if it is not there.
    Sqlite(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::MySql(server) => server.fmt(f),
            Target::Sqlite(path) => path.display().fmt(f),
        }
    }
}

/// How.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// The cluster that the events come from: key of the checkpoint row.
    pub cluster: ClusterId,
    /// Connections that write rows in parallel (MySQL). Minimum: 1.
    pub workers: usize,
    /// Rows a downstream transaction. Minimum: 1.
    pub batch_rows: usize,
    /// Schema of the checkpoint, progress and intent tables (MySQL).
    pub checkpoint_schema: String,
    /// Keep a checkpoint and apply exactly once. False (one-shot restore): nothing is kept beside the data.
    pub checkpoint: bool,
    /// Dropped and truncated tables that are kept aside.
    pub recycle_bin: RecycleBin,
}
