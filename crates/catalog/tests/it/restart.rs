//! A stream taken up again anywhere goes on as if it had never stopped.

use binlog_catalog::{Event, Interpreter, Start, Step};
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

/// Starts a second interpreter behind every DDL and checks the events that follow, up to a few DDLs on.
fn check(name: &str, start: impl Fn(&Record, SchemaVersion) -> Start) {
    let records = records(name);
    let mut first = interpreter(name, Start::Version(SchemaVersion(0)));
    let mut others: Vec<(usize, Interpreter)> = Vec::new();
    let mut compared = 0;
    for (at, record) in records.iter().enumerate() {
        let event = next(&mut first, record);
        for (from, other) in &mut others {
            assert_eq!(next(other, record), event, "{name}: record {at}, taken up behind {from}");
            compared += 1;
        }
        others.retain(|(from, _)| at - from < 40);
        if matches!(event, Some(Event::Ddl(_))) {
            others.push((at, interpreter(name, start(record, first.schema_version()))));
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn from_a_schema_version() {
    check("ddl", |_, version| Start::Version(version));
    check("seed", |_, version| Start::Version(version));
}

#[test]
fn from_a_time() {
    check("ddl", |record, _| Start::At(record.commit_ts));
    check("seed", |record, _| Start::At(record.commit_ts));
}
