//! Tables, rows and targets made by hand.

use std::sync::Arc;

use binlog_catalog::{
    ChangeKind, Ddl, Event, Part, Row, RowChange, SchemaChange, Table, TableBuilder, TableRef, Transaction,
    Value,
};
use binlog_sink::{MySqlTarget, Sink, SinkOptions, Target};
use binlog_testkit::{Mariadb, Truth};
use binlog_types::{ClusterId, CommitTs, JobId, SchemaVersion, StartTs, TableId};

use crate::sqlite;

pub(crate) const CLUSTER: ClusterId = ClusterId(7_710_986_823_498_564_611);

pub(crate) fn options() -> SinkOptions {
    SinkOptions { cluster: CLUSTER, workers: 4, batch_rows: 20, ..SinkOptions::default() }
}

pub(crate) fn mariadb_target(server: &Mariadb) -> Target {
    Target::MySql(MySqlTarget {
        host: "127.0.0.1".into(),
        port: server.port(),
        user: "root".into(),
        ..MySqlTarget::default()
    })
}

/// A target of either kind, with its contents.
pub(crate) enum Database {
    Server(Box<Mariadb>),
    File(tempfile::TempDir),
}

impl Database {
    pub(crate) fn both() -> [Database; 2] {
        [Self::server(), Self::file()]
    }

    pub(crate) fn server() -> Self {
        Database::Server(Box::new(Mariadb::start().unwrap()))
    }

    pub(crate) fn file() -> Self {
        Database::File(tempfile::tempdir().unwrap())
    }

    pub(crate) fn target(&self) -> Target {
        match self {
            Database::Server(server) => mariadb_target(server),
            Database::File(folder) => Target::Sqlite(folder.path().join("copy.db")),
        }
    }

    pub(crate) async fn open(&self) -> Sink {
        Sink::open(&self.target(), options()).await.unwrap()
    }

    pub(crate) async fn contents(&self) -> Truth {
        match self {
            Database::Server(server) => server.dump_all().unwrap(),
            Database::File(folder) => sqlite::contents(&folder.path().join("copy.db")).await,
        }
    }

    /// The rows of one table as text, sorted.
    pub(crate) async fn rows(&self, schema: &str, table: &str) -> Vec<String> {
        let truth = self.contents().await;
        let Some(table) = truth.tables.get(&(schema.to_owned(), table.to_owned())) else { return Vec::new() };
        let show = |v: &Option<Vec<u8>>| match v {
            Some(v) => String::from_utf8_lossy(v).into_owned(),
            None => "NULL".to_owned(),
        };
        table.rows.iter().map(|row| row.iter().map(show).collect::<Vec<_>>().join(",")).collect()
    }

    pub(crate) fn is_server(&self) -> bool {
        matches!(self, Database::Server(_))
    }
}

pub(crate) fn builder(id: i64, name: &str) -> TableBuilder {
    TableBuilder::new(TableId(id), name, SchemaVersion(1))
}

pub(crate) fn in_db(table: Table) -> TableRef {
    TableRef { schema: "d".into(), table: Arc::new(table) }
}

pub(crate) fn int(v: i64) -> Option<Value> {
    Some(Value::Int(v))
}

pub(crate) fn text(v: &str) -> Option<Value> {
    Some(Value::Text(bytes::Bytes::copy_from_slice(v.as_bytes())))
}

pub(crate) fn insert(table: &TableRef, row: Row) -> RowChange {
    RowChange { table: table.clone(), kind: ChangeKind::Insert(row) }
}

pub(crate) fn delete(table: &TableRef, row: Row) -> RowChange {
    RowChange { table: table.clone(), kind: ChangeKind::Delete(row) }
}

pub(crate) fn update(table: &TableRef, before: Row, after: Row) -> RowChange {
    RowChange { table: table.clone(), kind: ChangeKind::Update { before, after } }
}

pub(crate) fn txn(commit_ts: u64, changes: Vec<RowChange>) -> Event {
    Event::Transaction(Transaction {
        start_ts: StartTs::new(commit_ts - 1),
        commit_ts: CommitTs::new(commit_ts),
        schema_version: SchemaVersion(1),
        part: Part::WHOLE,
        changes,
    })
}

pub(crate) fn ddl(commit_ts: u64, query: &str, changes: Vec<SchemaChange>) -> Event {
    Event::Ddl(Ddl {
        start_ts: StartTs::new(commit_ts - 1),
        commit_ts: CommitTs::new(commit_ts),
        job_id: JobId(commit_ts as i64),
        job_type: 0,
        schema: "d".into(),
        schema_version: SchemaVersion(1),
        query: query.into(),
        typed: String::new(),
        zone: None,
        changes,
        ahead: false,
    })
}

/// CREATE DATABASE d, and these tables.
pub(crate) fn created(commit_ts: u64, tables: &[&TableRef]) -> Event {
    let database = binlog_catalog::Database {
        id: 1,
        name: "d".into(),
        charset: "utf8mb4".into(),
        collate: "utf8mb4_bin".into(),
        version: SchemaVersion(1),
    };
    let mut changes = vec![SchemaChange::CreateDatabase(Arc::new(database))];
    changes.extend(tables.iter().map(|t| SchemaChange::CreateTable((*t).clone())));
    ddl(commit_ts, "create", changes)
}
