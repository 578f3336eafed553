//! The sink itself.
use std::path::PathBuf;
use binlog_catalog::{Ddl, Event, Transaction};
use binlog_types::{ClusterId, CommitTs};
use crate::{Checkpoint, Error};
/// A MySQL, MariaDB or TiDB server.
#[derive(Clone, PartialEq, Eq)]
pub struct MySqlTarget { pub host: String, pub port: u16, pub user: String, pub password: String, /** unix socket path instead of host:port */ pub socket: Option<String> }
impl std::fmt::Debug for MySqlTarget { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{}@{}:{}", self.user, self.host, self.port) } }
/// Where to.
#[derive(Clone, Debug)]
pub enum Target { MySql(MySqlTarget), Sqlite(PathBuf) }
/// How.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    pub cluster: ClusterId,
    pub workers: usize,
    /// Rows a downstream transaction.
    pub batch_rows: usize,
    /// Schema of the checkpoint table (MySQL).
    pub checkpoint_schema: String,
    /// Keep a checkpoint and apply exactly once. False (one-shot restore): no checkpoint is kept.
    pub checkpoint: bool,
}
/// An open sink.
#[derive(Debug)]
pub struct Sink { }
impl Sink {
    pub async fn open(target: &Target, options: SinkOptions) -> Result<Self, Error> { todo!() }
    /// Where the sink is; None: never written.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> { todo!() }
    /// Applies events in order; when it returns Ok everything in them is durable. After a crash the same events may come again from the checkpoint
    /// on and are applied exactly once in effect.
    pub async fn apply(&mut self, events: Vec<Event>) -> Result<(), Error> { todo!() }
    /// Saves the checkpoint: everything at or below it was given to `apply` (or filtered out).
    pub async fn save(&mut self, checkpoint: Checkpoint) -> Result<(), Error> { todo!() }
    pub async fn close(self) -> Result<(), Error> { todo!() }
}
/// SQL text (MySQL dialect) of a transaction, one statement a line with `;`: reparo's `sql` destination.
pub fn render_dml_sql(txn: &Transaction) -> Vec<String> { todo!() }
/// SQL text (MySQL dialect) of a DDL.
pub fn render_ddl_sql(ddl: &Ddl) -> Vec<String> { todo!() }
#[allow(unused_imports, reason = "skeleton")] use CommitTs as _;
