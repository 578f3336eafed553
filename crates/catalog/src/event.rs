//! What one record of the stream means: row changes, or changes to schema objects.

use std::sync::Arc;
use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs};
use crate::{Database, Table, Value};

/// A table under the name of its database, at one position of the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRef { pub schema: Arc<str>, pub table: Arc<Table> }

/// One value per entry of `table.columns`; None: the row does not bind the column (generated, hidden, not yet public, or newer than the
/// version the row was written under: the sink's default applies).
pub type Row = Vec<Option<Value>>;

#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind { Insert(Row), Update { before: Row, after: Row }, Delete(Row) }

#[derive(Clone, Debug, PartialEq)]
pub struct RowChange { pub table: TableRef, pub kind: ChangeKind }

#[derive(Clone, Debug, PartialEq)]
pub struct Transaction { pub start_ts: StartTs, pub commit_ts: CommitTs, pub schema_version: SchemaVersion, pub changes: Vec<RowChange> }

/// One effect of a DDL on the catalog; a DDL has several where one job touches several objects.
#[derive(Clone, Debug, PartialEq)]
pub enum SchemaChange {
    CreateDatabase(Arc<Database>),
    AlterDatabase { before: Option<Arc<Database>>, after: Arc<Database> },
    /// With the tables that go with it.
    DropDatabase { database: Arc<Database>, tables: Vec<TableRef> },
    CreateTable(TableRef),
    AlterTable { before: TableRef, after: TableRef },
    RenameTable { before: TableRef, after: TableRef },
    DropTable(TableRef),
    /// All rows go; the id changes.
    TruncateTable { before: TableRef, after: TableRef },
    /// A dropped or truncated table is back with rows that no binlog carries.
    RecoverTable(TableRef),
    /// `ALTER TABLE … DROP/TRUNCATE PARTITION`: rows vanish without row binlogs; sinks that lack the partitions must stop or run the text.
    DropPartitions { before: TableRef, after: TableRef },
    /// Rows of `partitioned`'s partition and of `plain` change places without row binlogs.
    ExchangePartition { partitioned: TableRef, plain: TableRef },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ddl {
    pub start_ts: StartTs,
    pub commit_ts: CommitTs,
    pub job_id: JobId,
    pub job_type: u8,
    /// The job's own database name: what an unqualified name in `query` means.
    pub schema: String,
    pub schema_version: SchemaVersion,
    /// The statement as the binlog carries it.
    pub query: String,
    /// What it did; empty for jobs that change nothing a sink holds (placement, TiFlash, …).
    pub changes: Vec<SchemaChange>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event { Transaction(Transaction), Ddl(Ddl) }

impl Event {
    pub fn commit_ts(&self) -> CommitTs { match self { Event::Transaction(t) => t.commit_ts, Event::Ddl(d) => d.commit_ts } }
}
