//! A capture of a real TiDB as events.

use std::collections::BTreeMap;

use binlog_catalog::meta::{job_history_range, objects_of_job};
use binlog_catalog::{Event, Interpreter, SchemaChange, SkipReason, Start, Step};
use binlog_proto::binlog::{Binlog, BinlogType};
use binlog_proto::store::SchemaObject;
use binlog_proto::{Body, split_prewrite};
use binlog_testkit::fixtures;
use binlog_types::{CommitTs, SchemaVersion, StartTs};
use prost::Message;

const SYSTEM: [&str; 2] = ["mysql", "sys"];

fn schema_of(change: &SchemaChange) -> &str {
    match change {
        SchemaChange::CreateDatabase(d) | SchemaChange::DropDatabase { database: d, .. } => &d.name,
        SchemaChange::AlterDatabase { after, .. } => &after.name,
        SchemaChange::CreateTable(t) | SchemaChange::DropTable(t) | SchemaChange::RecoverTable(t) => {
            &t.schema
        }
        SchemaChange::AlterTable { after, .. }
        | SchemaChange::RenameTable { after, .. }
        | SchemaChange::TruncateTable { after, .. }
        | SchemaChange::DropPartitions { after, .. } => &after.schema,
        SchemaChange::ExchangePartition { plain, .. } => &plain.schema,
    }
}

/// All events of user schemas, in order of commit_ts.
pub(crate) fn events(name: &str) -> Vec<Event> {
    let (start, end) = job_history_range();
    let jobs = fixtures::meta(name).unwrap().into_iter().filter(|(key, _)| (&start..&end).contains(&key));
    let objects: Vec<SchemaObject> = jobs.flat_map(|(_, json)| objects_of_job(&json).unwrap()).collect();
    let complete = objects.iter().map(|o| o.schema_version).max().unwrap_or(0);
    let mut interpreter = Interpreter::new(Start::Version(SchemaVersion(0)));
    interpreter.extend(objects, SchemaVersion(complete)).unwrap();

    let mut prewrites: BTreeMap<i64, Body> = BTreeMap::new();
    let mut records = Vec::new();
    for frame in fixtures::writes(name).unwrap() {
        let binlog = Binlog::decode(frame.payload).unwrap();
        match binlog.tp() {
            BinlogType::Prewrite => {
                prewrites.insert(binlog.start_ts, split_prewrite(&binlog));
            }
            BinlogType::Commit => {
                let body = prewrites.remove(&binlog.start_ts).expect("a commit follows its prewrite");
                records.push((binlog.commit_ts as u64, binlog.start_ts as u64, body));
            }
            _ => {}
        }
    }
    records.sort_by_key(|(commit_ts, start_ts, _)| (*commit_ts, *start_ts));
    let mut events = Vec::new();
    for (commit_ts, start_ts, body) in records {
        match interpreter.step(StartTs::new(start_ts), CommitTs::new(commit_ts), &body).unwrap() {
            Step::Event(Event::Ddl(mut ddl)) => {
                ddl.changes.retain(|change| !SYSTEM.contains(&schema_of(change)));
                events.push(Event::Ddl(ddl));
            }
            Step::Event(Event::Transaction(mut txn)) => {
                txn.changes.retain(|change| !SYSTEM.contains(&&*change.table.schema));
                events.push(Event::Transaction(txn));
            }
            Step::Skipped(SkipReason::NoEffect(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    events
}
