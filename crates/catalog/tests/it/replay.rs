//! A replay of a capture into tables in memory.

use std::collections::BTreeMap;

use binlog_catalog::meta::{job_history_range, objects_of_job};
use binlog_catalog::{
    ChangeKind, Column, Event, Interpreter, Row, RowChange, SchemaChange, SkipReason, Start, Step, Table,
    TableKind, TableRef, Value, tp,
};
use binlog_proto::binlog::{Binlog, BinlogType};
use binlog_proto::kvrpcpb::Op;
use binlog_proto::store::SchemaObject;
use binlog_proto::{Body, split_prewrite};
use binlog_testkit::{Truth, TruthTable, fixtures};
use binlog_types::{CommitTs, SchemaVersion, StartTs, TableId, Ts};
use prost::Message;

/// What one record is, in order of commit_ts.
pub(crate) struct Record {
    pub(crate) start_ts: StartTs,
    pub(crate) commit_ts: CommitTs,
    pub(crate) body: Body,
}

/// All committed transactions of a capture.
pub(crate) fn records(name: &str) -> Vec<Record> {
    let mut prewrites = BTreeMap::new();
    let mut out = Vec::new();
    for frame in fixtures::writes(name).unwrap() {
        let binlog = Binlog::decode(frame.payload).unwrap();
        match binlog.tp() {
            BinlogType::Prewrite => {
                prewrites.insert(binlog.start_ts, split_prewrite(&binlog));
            }
            BinlogType::Commit => out.push(Record {
                start_ts: StartTs::new(binlog.start_ts as u64),
                commit_ts: CommitTs::new(binlog.commit_ts as u64),
                body: prewrites.remove(&binlog.start_ts).expect("a commit follows its prewrite"),
            }),
            _ => {}
        }
    }
    // Transactions whose commit binlog never came: the store knows what became of them.
    let answers = if name == "crash" { fixtures::mvcc(name).unwrap() } else { Vec::new() };
    for answer in answers {
        let writes = answer.response.info.into_iter().flat_map(|info| info.writes);
        let commit =
            writes.into_iter().find(|w| w.start_ts == answer.start_ts.raw() && w.r#type() != Op::Rollback);
        if let (Some(commit), Some(body)) = (commit, prewrites.remove(&answer.start_ts.as_i64())) {
            let commit_ts = CommitTs::new(commit.commit_ts);
            out.push(Record { start_ts: answer.start_ts, commit_ts, body });
        }
    }
    out.sort_by_key(|r| (r.commit_ts, r.start_ts));
    out
}

/// All objects of a capture's DDL history, and the newest version.
pub(crate) fn history(name: &str) -> (Vec<SchemaObject>, SchemaVersion) {
    let (start, end) = job_history_range();
    let jobs = fixtures::meta(name).unwrap().into_iter().filter(|(key, _)| (&start..&end).contains(&key));
    let objects: Vec<SchemaObject> = jobs.flat_map(|(_, json)| objects_of_job(&json).unwrap()).collect();
    let complete = objects.iter().map(|o| o.schema_version).max().unwrap_or(0);
    (objects, SchemaVersion(complete))
}

/// Tables in memory. A row is found by the values of its key, or, without one, by all its values.
#[derive(Default)]
pub(crate) struct Memory {
    tables: BTreeMap<TableId, (TableRef, Vec<Row>)>,
    /// Rows of dropped tables, which RECOVER brings back.
    bin: BTreeMap<TableId, Vec<Row>>,
    index: BTreeMap<TableId, BTreeMap<String, Vec<usize>>>,
    pub(crate) transactions: usize,
    pub(crate) ddls: usize,
    pub(crate) skipped_rows: u64,
}

impl Memory {
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Transaction(transaction) => {
                self.transactions += 1;
                transaction.changes.iter().for_each(|change| self.row(change));
            }
            Event::Ddl(ddl) => {
                self.ddls += 1;
                ddl.changes.iter().for_each(|change| self.schema(change));
            }
        }
    }

    fn row(&mut self, change: &RowChange) {
        let id = change.table.table.id;
        let (at, rows) =
            self.tables.get_mut(&id).unwrap_or_else(|| panic!("no table {} {}", id, change.table.table.name));
        assert_eq!(at.table.name, change.table.table.name);
        let table = &change.table.table;
        let index = self.index.entry(id).or_default();
        let mut take = |rows: &mut Vec<Row>, wanted: &Row| {
            let key = key(table, wanted);
            let found = index.get_mut(&key).and_then(Vec::pop);
            let found = found.unwrap_or_else(|| panic!("{}: no row {wanted:?}", table.name));
            let row = std::mem::take(&mut rows[found]);
            check_old(table, &row, wanted);
            (found, row)
        };
        match &change.kind {
            ChangeKind::Insert(row) => {
                rows.push(row.clone());
                index.entry(key(table, row)).or_default().push(rows.len() - 1);
            }
            ChangeKind::Update { before, after } => {
                let (found, old) = take(rows, before);
                let row: Row = old.into_iter().zip(after).map(|(old, new)| new.clone().or(old)).collect();
                index.entry(key(table, &row)).or_default().push(found);
                rows[found] = row;
            }
            ChangeKind::Delete(row) => {
                take(rows, row);
            }
        }
    }

    fn schema(&mut self, change: &SchemaChange) {
        match change {
            SchemaChange::CreateDatabase(_) | SchemaChange::AlterDatabase { .. } => {}
            SchemaChange::DropDatabase { tables, .. } => tables.iter().for_each(|t| self.drop(t.table.id)),
            SchemaChange::CreateTable(t) => self.put(t.clone(), Vec::new()),
            SchemaChange::DropTable(t) => self.drop(t.table.id),
            SchemaChange::RecoverTable(t) => {
                let rows = self.bin.remove(&t.table.id).expect("what is recovered was there");
                self.put(t.clone(), rows);
            }
            SchemaChange::TruncateTable { before, after } => {
                self.drop(before.table.id);
                self.put(after.clone(), Vec::new());
            }
            SchemaChange::DropPartitions { before, after } => {
                let kept: Vec<i64> = partitions(&after.table).iter().map(|p| p.id).collect();
                let (at, rows) = self.tables.get_mut(&before.table.id).expect("what is altered is there");
                let gone = |row: &Row| {
                    !kept.contains(&partition_of(&before.table, row).expect("a partition holds it"))
                };
                rows.retain(|row| !row.is_empty() && !gone(row));
                *at = after.clone();
                let rows = std::mem::take(rows);
                self.put(after.clone(), rows);
            }
            SchemaChange::AlterTable { before, after } | SchemaChange::RenameTable { before, after } => {
                let (at, rows) = self.tables.remove(&before.table.id).expect("what is altered is there");
                assert_eq!((&at.schema, &at.table.name), (&before.schema, &before.table.name));
                self.index.remove(&before.table.id);
                self.put(after.clone(), project(&at.table, &after.table, rows));
            }
            SchemaChange::ExchangePartition { partitioned, plain } => {
                let old = self
                    .tables
                    .values()
                    .find(|(t, _)| t.schema == plain.schema && t.table.name == plain.table.name);
                let id = old.expect("both are there").0.table.id;
                let (_, mut outer) = self.tables.remove(&id).expect("it was found");
                self.index.remove(&id);
                let (was, mut rows) = self.tables.remove(&partitioned.table.id).expect("both are there");
                // The plain table's new id is the one that the partition had.
                let inner = |row: &Row| partition_of(&was.table, row) == Some(plain.table.id.0);
                let (inner, kept): (Vec<Row>, Vec<Row>) =
                    rows.drain(..).filter(|row| !row.is_empty()).partition(inner);
                outer.extend(kept);
                self.put(partitioned.clone(), outer);
                self.put(plain.clone(), inner);
            }
        }
    }

    fn put(&mut self, table: TableRef, rows: Vec<Row>) {
        let id = table.table.id;
        let index = self.index.entry(id).or_default();
        index.clear();
        for (i, row) in rows.iter().enumerate().filter(|(_, row)| !row.is_empty()) {
            index.entry(key(&table.table, row)).or_default().push(i);
        }
        self.tables.insert(id, (table, rows));
    }

    fn drop(&mut self, id: TableId) {
        let (_, rows) = self.tables.remove(&id).expect("what is dropped is there");
        self.index.remove(&id);
        self.bin.insert(id, rows);
    }

    /// The contents in the form of the captures' truth; generated columns are left out.
    pub(crate) fn contents(&self) -> Truth {
        let mut truth = Truth::default();
        for (table, rows) in self.tables.values().filter(|(t, _)| t.table.kind == TableKind::Table) {
            let shown: Vec<&Column> = shown(&table.table);
            let rows = rows.iter().filter(|row| !row.is_empty()).map(|row| {
                let text = |c: &&Column| row[c.offset].as_ref().and_then(|v| truth_text(v, c));
                shown.iter().map(text).collect()
            });
            let columns = shown.iter().map(|c| c.name.clone()).collect();
            let table = (
                (table.schema.to_string(), table.table.name.clone()),
                TruthTable::new(columns, rows.collect()),
            );
            truth.tables.insert(table.0, table.1);
        }
        truth
    }

    /// The tables and their rows; an empty row was deleted.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&TableRef, &[Row])> {
        self.tables.values().map(|(table, rows)| (table, rows.as_slice()))
    }

    /// The columns that [`Memory::contents`] shows, by table.
    pub(crate) fn columns(&self) -> BTreeMap<(String, String), Vec<String>> {
        let names = |t: &TableRef| shown(&t.table).iter().map(|c| c.name.clone()).collect();
        self.tables.values().map(|(t, _)| ((t.schema.to_string(), t.table.name.clone()), names(t))).collect()
    }
}

/// A partition of a table that is partitioned by RANGE over an integer column, as those in the captures are.
#[derive(serde::Deserialize)]
struct Partition {
    id: i64,
    less_than: Option<Vec<String>>,
}

fn partitions(table: &Table) -> Vec<Partition> {
    let json: serde_json::Value = serde_json::from_slice(&table.json).unwrap();
    serde_json::from_value(json["partition"]["definitions"].clone()).unwrap()
}

fn partition_of(table: &Table, row: &Row) -> Option<i64> {
    let json: serde_json::Value = serde_json::from_slice(&table.json).unwrap();
    let column = table.column(json["partition"]["expr"].as_str()?.trim_matches('`'))?;
    let Some(Value::Int(value)) = &row[column.offset] else { return None };
    let holds = |p: &Partition| *value < p.less_than.as_ref().unwrap()[0].parse::<i64>().unwrap();
    partitions(table).iter().find(|p| holds(p)).map(|p| p.id)
}

fn shown(table: &Table) -> Vec<&Column> {
    table.columns.iter().filter(|c| c.is_writable()).collect()
}

/// Rows of one version of a table as rows of the next: by column id, or by name where the type changed.
fn project(from: &Table, to: &Table, rows: Vec<Row>) -> Vec<Row> {
    let sources: Vec<Option<usize>> = to
        .columns
        .iter()
        .map(|c| {
            let same_id = from.columns.iter().find(|f| f.id == c.id && f.public);
            same_id.or_else(|| from.columns.iter().find(|f| f.name == c.name && f.public)).map(|f| f.offset)
        })
        .collect();
    let project = |row: Row| -> Row {
        if row.is_empty() {
            return row;
        }
        let cell = |(column, source): (&Column, &Option<usize>)| match source {
            Some(offset) => row[*offset].clone().map(|v| convert(v, &from.columns[*offset], column)),
            None if !column.is_writable() => None,
            None => Some(default_of(column)),
        };
        to.columns.iter().zip(&sources).map(cell).collect()
    };
    rows.into_iter().map(project).collect()
}

/// What a database does to values when a column's type changes, as far as the captures need it: numbers become text.
fn convert(value: Value, from: &Column, to: &Column) -> Value {
    match value {
        Value::Int(_) if to.ty.is_text() => Value::Text(value.to_text(from).unwrap().into()),
        other => other,
    }
}

/// What a database fills a new column with.
fn default_of(column: &Column) -> Value {
    let Some(default) = &column.origin_default else { return Value::Null };
    let text = String::from_utf8(default.clone()).unwrap();
    match column.ty.tp {
        tp::LONG => Value::Int(text.parse().unwrap()),
        tp::VARCHAR => Value::Text(text.into()),
        tp::DATETIME => {
            let packed = binlog_catalog::codec::PackedTime::parse(&text).unwrap().pack();
            Value::Time { kind: binlog_catalog::TimeKind::DateTime, packed, fsp: column.ty.fsp() }
        }
        other => panic!("a default of type {other}"),
    }
}

fn key(table: &Table, row: &Row) -> String {
    match table.row_key() {
        Some(index) => format!("{:?}", index.columns.iter().map(|c| &row[c.offset]).collect::<Vec<_>>()),
        None => format!("{:?}", shown(table).iter().map(|c| &row[c.offset]).collect::<Vec<_>>()),
    }
}

/// The old values of an update or delete are what was there.
fn check_old(table: &Table, row: &Row, wanted: &Row) {
    for column in shown(table) {
        if let (Some(have), Some(want)) = (&row[column.offset], &wanted[column.offset]) {
            assert_eq!(have, want, "{}.{}", table.name, column.name);
        }
    }
}

/// A value as the captures show it.
fn truth_text(value: &Value, column: &Column) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => {
            let mut hex = String::from("0x");
            bytes.iter().for_each(|b| hex.push_str(&format!("{b:02X}")));
            Some(hex.into_bytes())
        }
        Value::Bit(v) => Some(v.to_string().into_bytes()),
        other => other.to_text(column),
    }
}

/// Replays a capture; stops behind each mark and at the end.
pub(crate) fn replay(name: &str, marks: &[(String, Ts)], mut at: impl FnMut(&str, &Memory)) -> Memory {
    let (objects, complete) = history(name);
    let mut interpreter = Interpreter::new(Start::Version(SchemaVersion(0)));
    interpreter.extend(objects, complete).unwrap();
    let mut memory = Memory::default();
    let mut marks = marks.iter().peekable();
    for record in records(name) {
        while let Some((mark, _)) = marks.next_if(|(_, ts)| record.commit_ts.ts() > *ts) {
            at(mark, &memory);
        }
        match interpreter.step(record.start_ts, record.commit_ts, &record.body).unwrap() {
            Step::Event(event) => memory.apply(&event),
            Step::Skipped(SkipReason::NoEffect(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    marks.for_each(|(mark, _)| at(mark, &memory));
    memory.skipped_rows = interpreter.skipped_rows();
    memory
}
