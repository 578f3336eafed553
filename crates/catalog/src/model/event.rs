//! What one record of the stream means: row changes, or changes to schema objects.

use std::sync::Arc;

use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs, Zone};

use super::{Database, Table};
use crate::Value;

/// A table under the name of its database, at one position of the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRef {
    /// The database's name.
    pub schema: Arc<str>,
    /// The table as it stands.
    pub table: Arc<Table>,
}

/// One value per entry of `table.columns`; None: the row does not bind the column (virtual, hidden, not yet public, or newer
/// than the version the row was written under: the sink's default applies). A stored generated column is bound where the row has it,
/// for keys and readers; sinks write only columns that [`Column::is_writable`](crate::Column::is_writable) allows.
pub type Row = Vec<Option<Value>>;

/// What happened to a row.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ChangeKind {
    Insert(Row),
    Update { before: Row, after: Row },
    Delete(Row),
}

/// A change of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange {
    /// The table as it stands when the transaction commits.
    pub table: TableRef,
    /// What happened.
    pub kind: ChangeKind,
}

/// A transaction's rows, in the order of the binlog: tables one after the other, inside a table as they were written.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// Its identity.
    pub start_ts: StartTs,
    /// Its place in the stream.
    pub commit_ts: CommitTs,
    /// What the writer knew.
    pub schema_version: SchemaVersion,
    /// Which of its rows these are.
    pub part: Part,
    /// The rows.
    pub changes: Vec<RowChange>,
}

/// A part of a transaction. One that is too large to be in memory at once comes in several, in order and with nothing between them;
/// they are cut in the same places each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Row changes of the transaction that came in earlier parts, before any filter.
    pub before: u64,
    /// Row changes of the transaction up to the end of this part, where another one follows; None: it is the last.
    pub through: Option<u64>,
}

impl Part {
    /// All of a transaction.
    pub const WHOLE: Part = Part { before: 0, through: None };
}

/// One effect of a DDL on the catalog; a DDL has several where one job touches several objects.
#[derive(Clone, Debug, PartialEq)]
pub enum SchemaChange {
    /// CREATE DATABASE; also a database that FLASHBACK DATABASE brings back (its tables follow as `RecoverTable`).
    CreateDatabase(Arc<Database>),
    /// Charset or collation.
    AlterDatabase {
        /// As it was; None: not known.
        before: Option<Arc<Database>>,
        /// As it is.
        after: Arc<Database>,
    },
    /// With the tables that go with it.
    DropDatabase {
        /// The database.
        database: Arc<Database>,
        /// Its tables, views and sequences.
        tables: Vec<TableRef>,
    },
    /// A new table, view or sequence.
    CreateTable(TableRef),
    /// Columns, indexes, attributes, partitions: everything under the same id and name.
    AlterTable {
        /// As it was.
        before: TableRef,
        /// As it is.
        after: TableRef,
    },
    /// Another name or database. Several in one DDL happen at once: names may be swapped.
    RenameTable {
        /// Under its old name.
        before: TableRef,
        /// Under its new one.
        after: TableRef,
    },
    /// A table, view or sequence goes.
    DropTable(TableRef),
    /// All rows go; the id changes.
    TruncateTable {
        /// Under its old id.
        before: TableRef,
        /// Under its new one.
        after: TableRef,
    },
    /// A dropped or truncated table is back with rows that no binlog carries.
    RecoverTable(TableRef),
    /// `ALTER TABLE … DROP/TRUNCATE PARTITION`: rows vanish without row binlogs; sinks that lack the partitions must stop or run the text.
    DropPartitions {
        /// As it was.
        before: TableRef,
        /// As it is.
        after: TableRef,
    },
    /// Rows of `partitioned`'s partition and of `plain` change places without row binlogs.
    ExchangePartition {
        /// The partitioned table.
        partitioned: TableRef,
        /// The other table, as it is after the exchange (its id is the partition's old one).
        plain: TableRef,
    },
}

/// A statement that changed the schema, and what it did.
#[derive(Clone, Debug, PartialEq)]
pub struct Ddl {
    /// Its identity.
    pub start_ts: StartTs,
    /// Its place in the stream.
    pub commit_ts: CommitTs,
    /// TiDB's job.
    pub job_id: JobId,
    /// TiDB's number of the kind of job.
    pub job_type: u8,
    /// The job's own database name: what an unqualified name in `query` means.
    pub schema: String,
    /// The version that the job made.
    pub schema_version: SchemaVersion,
    /// The statement as the binlog carries it: in TiDB's normal form.
    pub query: String,
    /// The statement as it was typed; empty where that is not known.
    pub typed: String,
    /// The time zone of its session, where the job says it and it is not UTC: in it, changed types show and read TIMESTAMPs.
    pub zone: Option<Zone>,
    /// What it did; empty for jobs that change nothing a sink holds (placement, caching, …).
    pub changes: Vec<SchemaChange>,
    /// It is no record of the stream, but goes ahead of one: what a DDL whose binlog is still to come has done already. It has that
    /// record's commit_ts, a start_ts that is one less, no job, and a statement that says what it does.
    pub ahead: bool,
}

/// What one record means.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the types say it")]
pub enum Event {
    Transaction(Transaction),
    Ddl(Ddl),
}

impl Event {
    /// Its place in the stream.
    pub fn commit_ts(&self) -> CommitTs {
        match self {
            Event::Transaction(t) => t.commit_ts,
            Event::Ddl(d) => d.commit_ts,
        }
    }
}
