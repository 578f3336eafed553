//! A stream taken up again anywhere goes on as if it had never stopped.

use binlog_catalog::{Event, Interpreter, SchemaChange, Start, Step, TableRef};
use binlog_types::SchemaVersion;

use crate::replay::{Record, history, records};

fn interpreter(name: &str, start: Start) -> Interpreter {
    let (objects, complete) = history(name);
    let mut interpreter = Interpreter::new(start);
    interpreter.extend(objects, complete).unwrap();
    interpreter
}

fn next(interpreter: &mut Interpreter, record: &Record) -> Option<Event> {
    match interpreter.step(record.start_ts, record.commit_ts, &record.body).unwrap() {
        Step::Event(event) => Some(event),
        Step::Skipped(_) => None,
        other => panic!("{other:?}"),
    }
}

/// An event without the versions of its tables: a start at a time may hold an older version of a table that the last job did not
/// stamp, which differs in nothing that rows or names show.
fn essence(event: Option<Event>) -> String {
    let name = |t: &TableRef| format!("{}.{}", t.schema, t.table.name);
    match event {
        None => String::new(),
        Some(Event::Transaction(t)) => {
            let changes: Vec<String> =
                t.changes.iter().map(|c| format!("{} {:?}", name(&c.table), c.kind)).collect();
            format!("{} {changes:?}", t.commit_ts)
        }
        Some(Event::Ddl(ddl)) => {
            let changes: Vec<String> = ddl
                .changes
                .iter()
                .map(|change| match change {
                    SchemaChange::CreateDatabase(d) => format!("create {}", d.name),
                    SchemaChange::AlterDatabase { after, .. } => format!("alter {}", after.name),
                    SchemaChange::DropDatabase { database, .. } => format!("drop {}", database.name),
                    SchemaChange::CreateTable(t) => format!("create {}", name(t)),
                    SchemaChange::DropTable(t) => format!("drop {}", name(t)),
                    SchemaChange::RecoverTable(t) => format!("recover {}", name(t)),
                    SchemaChange::AlterTable { before, after } => {
                        format!("alter {} {}", name(before), name(after))
                    }
                    SchemaChange::RenameTable { before, after } => {
                        format!("rename {} {}", name(before), name(after))
                    }
                    SchemaChange::TruncateTable { before, after } => {
                        format!("truncate {} {}", name(before), name(after))
                    }
                    SchemaChange::DropPartitions { before, after } => {
                        format!("drop partition {} {}", name(before), name(after))
                    }
                    SchemaChange::ExchangePartition { partitioned, plain } => {
                        format!("exchange {} {}", name(partitioned), name(plain))
                    }
                })
                .collect();
            format!("{} {} {changes:?}", ddl.commit_ts, ddl.query)
        }
    }
}

/// Starts a second interpreter behind every `stride`-th record that is a DDL and checks the events that follow, for some records on.
fn check<T: PartialEq + std::fmt::Debug>(
    name: &str,
    stride: usize,
    start: impl Fn(&Record, SchemaVersion) -> Start,
    seen: impl Fn(Option<Event>) -> T,
) {
    let records = records(name);
    let mut first = interpreter(name, Start::Version(SchemaVersion(0)));
    let mut others: Vec<(usize, Interpreter)> = Vec::new();
    let mut compared = 0;
    for (at, record) in records.iter().enumerate() {
        let event = next(&mut first, record);
        for (from, other) in &mut others {
            assert_eq!(
                seen(next(other, record)),
                seen(event.clone()),
                "{name}: record {at}, taken up behind {from}"
            );
            compared += 1;
        }
        others.retain(|(from, _)| at - from < 20);
        if at % stride == 0 && matches!(event, Some(Event::Ddl(_))) {
            others.push((at, interpreter(name, start(record, first.schema_version()))));
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn from_a_schema_version() {
    check("ddl", 5, |_, version| Start::Version(version), |event| event);
    check("seed", 20, |_, version| Start::Version(version), |event| event);
}

#[test]
fn from_a_time() {
    check("ddl", 5, |record, _| Start::At(record.commit_ts), essence);
    check("seed", 20, |record, _| Start::At(record.commit_ts), essence);
}
