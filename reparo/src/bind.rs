//! Rows of binlog files as rows of the destination's tables.
//!
//! The files name columns and types, but no keys: those are read from the destination, once a table until a DDL. DDL is run as it is written.

use std::collections::HashMap;
use std::sync::Arc;

use binlog_archive::{Statement, Subject};
use binlog_catalog::{ChangeKind, Ddl, Row, Table, TableRef, Transaction};
use binlog_sink::{Outcome, Session, Target};
use binlog_types::{CommitTs, StartTs};

use crate::Error;

/// Shapes of rows that are remembered; more than that means that they change all the time.
const SHAPES: usize = 4096;

/// Where the columns of one shape of rows go.
#[derive(Debug)]
struct Mapping {
    /// The destination's table.
    to: TableRef,
    /// Of each of its columns, the column of the row.
    places: Vec<Option<usize>>,
    /// The table of the files, kept so that its address stays its own.
    _from: Arc<Table>,
}

/// Knows the destination's tables.
#[derive(Debug)]
pub(crate) struct Binder {
    session: Session,
    tables: HashMap<(String, String), TableRef>,
    /// By database, and address of the files' table.
    shapes: HashMap<(Arc<str>, usize), Arc<Mapping>>,
    last: CommitTs,
    sequence: u64,
}

impl Binder {
    pub(crate) async fn open(target: &Target) -> Result<Self, Error> {
        let session = Session::open(target).await;
        let session = session.map_err(|source| Error::Sink { position: CommitTs::ZERO, source })?;
        let (tables, shapes) = (HashMap::new(), HashMap::new());
        Ok(Binder { session, tables, shapes, last: CommitTs::ZERO, sequence: 0 })
    }

    /// The same transaction on the destination's tables.
    pub(crate) async fn transaction(&mut self, mut txn: Transaction) -> Result<Transaction, Error> {
        // Records are told apart by both timestamps; the files have only one.
        self.sequence = if txn.commit_ts == self.last { self.sequence + 1 } else { 0 };
        self.last = txn.commit_ts;
        txn.start_ts = StartTs::new(self.sequence);
        for change in &mut txn.changes {
            let mapping = self.mapping(&change.table, txn.commit_ts).await?;
            change.table = mapping.to.clone();
            match &mut change.kind {
                ChangeKind::Insert(row) | ChangeKind::Delete(row) => mapping.apply(row),
                ChangeKind::Update { before, after } => {
                    mapping.apply(before);
                    mapping.apply(after);
                }
            }
        }
        Ok(txn)
    }

    async fn mapping(&mut self, from: &TableRef, at: CommitTs) -> Result<Arc<Mapping>, Error> {
        let shape = (from.schema.clone(), Arc::as_ptr(&from.table) as usize);
        if let Some(known) = self.shapes.get(&shape) {
            return Ok(Arc::clone(known));
        }
        let to = self.table(from, at).await?;
        let place = |name: &str| from.table.columns.iter().position(|c| c.name.eq_ignore_ascii_case(name));
        let places: Vec<Option<usize>> = to.table.columns.iter().map(|c| place(&c.name)).collect();
        let lost = |name: &&str| to.table.column(name).is_none();
        // Columns of expression indexes are TiDB's own.
        let names =
            from.table.columns.iter().map(|c| c.name.as_str()).filter(|name| !name.starts_with("_V$_"));
        let lost: Vec<&str> = names.filter(lost).collect();
        if !lost.is_empty() {
            tracing::warn!(table = %format!("{}.{}", from.schema, from.table.name), columns = ?lost, commit_ts = at.raw(),
                "the destination lacks columns: their values are left out");
        }
        if self.shapes.len() >= SHAPES {
            self.shapes.clear();
        }
        let mapping = Arc::new(Mapping { to, places, _from: Arc::clone(&from.table) });
        self.shapes.insert(shape, Arc::clone(&mapping));
        Ok(mapping)
    }

    async fn table(&mut self, from: &TableRef, at: CommitTs) -> Result<TableRef, Error> {
        let name = (from.schema.to_string(), from.table.name.clone());
        if let Some(known) = self.tables.get(&name) {
            return Ok(known.clone());
        }
        let described = self.session.describe(&name.0, &name.1).await;
        let described =
            described.map_err(|source| Error::Sink { position: at.ts().prev().into(), source })?;
        let Some(table) = described else {
            return Err(Error::NoTable { table: format!("{}.{}", name.0, name.1), commit_ts: at });
        };
        if binlog_sink::key_columns(&table).is_none() {
            tracing::warn!(table = %format!("{}.{}", name.0, name.1), "the table has no key: its rows go one after the other");
        }
        let table = TableRef { schema: from.schema.clone(), table: Arc::new(table) };
        self.tables.insert(name, table.clone());
        Ok(table)
    }

    /// Runs a DDL. With `in_doubt` it may have been run before.
    pub(crate) async fn ddl(&mut self, ddl: &Ddl, in_doubt: bool) -> Result<(), Error> {
        self.tables.clear();
        self.shapes.clear();
        let statement = Statement::parse(&ddl.query);
        let position = ddl.commit_ts.ts().prev().into();
        let database = match &statement.subject {
            // It need not be there.
            Subject::Database { .. } => None,
            Subject::Tables(_) | Subject::Other => statement.database.as_deref(),
        };
        let text = with_default_collation(&statement);
        let outcome = self.session.ddl(database, &text, in_doubt).await;
        let outcome = match outcome {
            Err(error) if self.is_dispensable(&statement) && !error.retryable() => {
                Outcome::NotUnderstood(error.to_string())
            }
            other => other.map_err(|source| Error::Sink { position, source })?,
        };
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::Already(why) => {
                tracing::warn!(
                    commit_ts = ddl.commit_ts.raw(),
                    statement = statement.text,
                    why,
                    "the change is there already"
                );
                Ok(())
            }
            Outcome::NotUnderstood(why) if self.is_dispensable(&statement) => {
                tracing::warn!(
                    commit_ts = ddl.commit_ts.raw(),
                    statement = statement.text,
                    why,
                    "left out: the server does not take it"
                );
                Ok(())
            }
            Outcome::NotUnderstood(why) => {
                Err(Error::Statement { commit_ts: ddl.commit_ts, statement: ddl.query.clone(), why })
            }
        }
    }

    fn is_dispensable(&self, statement: &Statement<'_>) -> bool {
        !self.session.is_tidb() && touches_no_rows(statement.text)
    }

    pub(crate) async fn close(self) {
        self.session.close().await;
    }
}

/// What changes no row and no column, and not every server has: placement, TiFlash, sequences, resource groups, caching, attributes, the
/// visibility of indexes, views over TiDB's functions. Only where the whole statement is that: a table or column that is left out would take its rows along.
fn touches_no_rows(text: &str) -> bool {
    let upper = without_strings(&text.to_ascii_uppercase());
    let words: Vec<&str> = upper.split_whitespace().take(16).collect();
    // Several changes in one statement are not looked at one by one.
    let single = !upper.contains(',');
    match words.as_slice() {
        ["CREATE" | "ALTER" | "DROP", "PLACEMENT" | "SEQUENCE", ..]
        | ["CREATE" | "ALTER" | "DROP", "RESOURCE", "GROUP", ..] => true,
        // Its list is one of labels.
        ["ALTER", "TABLE" | "DATABASE" | "SCHEMA", _, "SET", "TIFLASH", ..] => true,
        ["ALTER", "TABLE" | "DATABASE" | "SCHEMA", _, "PLACEMENT", ..]
        | ["ALTER", "TABLE", _, "ALTER", "INDEX", _, "VISIBLE" | "INVISIBLE"]
        | ["ALTER", "TABLE", _, "REMOVE", "TTL"] => single,
        ["ALTER", "TABLE", _, "PARTITION", _, option, ..] | ["ALTER", "TABLE", _, option, ..]
            if TIDB_OPTIONS.contains(&option.split('=').next().unwrap_or_default()) =>
        {
            single
        }
        ["CREATE", "OR", "REPLACE", rest @ ..] | ["CREATE", rest @ ..] => {
            let view = |word: &&str| *word == "VIEW";
            let clause = |word: &&str| ["ALGORITHM", "DEFINER", "SQL"].iter().any(|c| word.starts_with(c));
            rest.first().is_some_and(view) || (rest.first().is_some_and(clause) && rest.iter().any(view))
        }
        _ => false,
    }
}

/// Options of a table or partition that say where and how TiDB keeps rows, not which.
const TIDB_OPTIONS: [&str; 12] = [
    "PLACEMENT",
    "ATTRIBUTES",
    "STATS_OPTIONS",
    "TTL",
    "TTL_ENABLE",
    "TTL_JOB_INTERVAL",
    "SHARD_ROW_ID_BITS",
    "PRE_SPLIT_REGIONS",
    "AUTO_ID_CACHE",
    "AUTO_RANDOM_BASE",
    "CACHE",
    "NOCACHE",
];

/// The text with `''` for each of its strings.
fn without_strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match open {
            Some(_) if c == '\\' => {
                chars.next();
            }
            Some(quote) if c == quote => {
                open = None;
                out.push(c);
            }
            Some(_) => {}
            None => {
                open = matches!(c, '\'' | '"').then_some(c);
                out.push(c);
            }
        }
    }
    out
}

/// A database that names no character set has TiDB's own: other servers have others, under which keys that differ may be equal.
fn with_default_collation(statement: &Statement<'_>) -> String {
    let upper = statement.text.to_ascii_uppercase();
    let creates =
        matches!(statement.subject, Subject::Database { drop: false, .. }) && upper.starts_with("CREATE");
    if creates && !["CHARSET", "CHARACTER SET", "COLLATE"].iter().any(|word| upper.contains(word)) {
        return format!("{} DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", statement.text);
    }
    statement.text.to_owned()
}

impl Mapping {
    fn apply(&self, row: &mut Row) {
        let take = |place: &Option<usize>| place.and_then(|at| row.get_mut(at).and_then(Option::take));
        let bound: Row = self.places.iter().map(take).collect();
        *row = bound;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_touches_no_rows_may_be_left_out() {
        for text in [
            "CREATE PLACEMENT POLICY p FOLLOWERS=2",
            "drop sequence s",
            "ALTER TABLE d.t SET TIFLASH REPLICA 1 LOCATION LABELS 'a', 'b'",
            "ALTER TABLE t PARTITION p0 PLACEMENT POLICY = p",
            "alter database d placement policy = p",
            "CREATE RESOURCE GROUP rg RU_PER_SEC = 100, PRIORITY = HIGH",
            "DROP RESOURCE GROUP IF EXISTS rg",
            "ALTER TABLE d.t CACHE",
            "alter table t nocache",
            "ALTER TABLE t ATTRIBUTES = 'merge_option=allow, key=value'",
            "ALTER TABLE t PARTITION p0 ATTRIBUTES='merge_option=allow'",
            "ALTER TABLE t TTL=`c` + INTERVAL 1 DAY TTL_ENABLE = 'ON'",
            "ALTER TABLE t REMOVE TTL",
            "ALTER TABLE `a` ALTER INDEX `i1r` INVISIBLE",
            "ALTER TABLE t SHARD_ROW_ID_BITS = 4",
            "CREATE ALGORITHM = UNDEFINED DEFINER = `root`@`%` SQL SECURITY DEFINER VIEW v (a) AS SELECT 1",
            "CREATE OR REPLACE VIEW v AS SELECT tidb_version()",
        ] {
            assert!(touches_no_rows(text), "{text}");
        }
        for text in [
            "CREATE TABLE t (a INT) PLACEMENT POLICY = p",
            "ALTER TABLE t PLACEMENT POLICY = p, ADD COLUMN c INT",
            "ALTER TABLE t ADD COLUMN c INT COMMENT 'tiflash replica'",
            "ALTER TABLE t CACHE, ADD COLUMN c INT",
            "ALTER TABLE t ATTRIBUTES = 'x', DROP COLUMN c",
            "ALTER TABLE t PARTITION BY HASH (a) PARTITIONS 4",
            "ALTER TABLE t ADD COLUMN cache INT",
            "CREATE TABLE view (a VARCHAR(20) DEFAULT ' VIEW x AS ')",
            "DROP TABLE t",
            "",
        ] {
            assert!(!touches_no_rows(text), "{text}");
        }
    }
}
