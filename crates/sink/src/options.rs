//! Where to, and how.

use crate::RecycleBin;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use binlog_types::ClusterId;

use crate::Watch;

/// A MySQL, MariaDB or TiDB server.
#[derive(Clone, Default, PartialEq, Eq)]
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
    /// TLS, with the server's certificate checked against this authority; None: TLS where the server offers it, unchecked.
    pub tls: Option<TlsFiles>,
    /// Modes of the session beside those that this crate relies on.
    pub sql_mode: Vec<String>,
    /// Session variables to set. What the server refuses is an error.
    pub session: Vec<(String, String)>,
    /// The zone in which DDL was typed, for literals of which nothing tells their own; None: the server's. A TiDB is given the text.
    pub ddl_time_zone: Option<String>,
    /// How long the server may take to answer a statement of rows or bookkeeping. DDL, and searching tables without a key, may take as
    /// long as the server says that it is at it.
    pub read_timeout: Option<Duration>,
}

/// Paths of PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority.
    pub ca: String,
    /// Our certificate; empty: none.
    pub cert: String,
    /// Its key.
    pub key: String,
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
#[allow(clippy::large_enum_variant, reason = "there is one of it a process")]
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
    /// Rows a statement where little waits; where more waits, statements grow. Minimum: 1.
    pub batch_rows: usize,
    /// Never show a part of an upstream transaction: what is submitted together is one downstream transaction, and one connection
    /// writes everything in order.
    pub whole_transactions: bool,
    /// Schema of the checkpoint, progress and intent tables (MySQL).
    pub checkpoint_schema: String,
    /// Name of the checkpoint table (MySQL).
    pub checkpoint_table: String,
    /// Another server for the checkpoint table (MySQL). What belongs to the rows, progress and intents, stays with them.
    pub checkpoint_target: Option<MySqlTarget>,
    /// Marks of what this sink writes (MySQL); None: no marks.
    pub marks: Option<Marks>,
    /// The target's tables may lack columns: values for those are left out (MySQL).
    pub partial_columns: bool,
    /// A DDL that changes what the target does not have (a database, table, column or index) is left out with a warning, as the
    /// original does; false: it is an error (MySQL).
    pub lenient_ddl: bool,
    /// Is told how long statements take (MySQL).
    pub watch: Option<Arc<dyn Watch>>,
    /// Keep a checkpoint and apply exactly once. False (one-shot restore): nothing is kept beside the data.
    pub checkpoint: bool,
    /// Dropped and truncated tables that are kept aside.
    pub recycle_bin: RecycleBin,
}

impl Default for SinkOptions {
    fn default() -> Self {
        SinkOptions {
            cluster: ClusterId(0),
            workers: 1,
            batch_rows: 20,
            whole_transactions: false,
            checkpoint_schema: "tidb_binlog".to_owned(),
            checkpoint_table: "checkpoint".to_owned(),
            checkpoint_target: None,
            marks: None,
            partial_columns: false,
            lenient_ddl: false,
            watch: None,
            checkpoint: true,
            recycle_bin: RecycleBin::Off,
        }
    }
}

/// Two clusters that replicate to each other tell their own changes by a row that each transaction of a drainer touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Whose marks: a reader drops transactions with its own.
    pub channel: i64,
}
