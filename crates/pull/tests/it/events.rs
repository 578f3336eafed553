//! A capture of three pumps, through gRPC, merge and decoding, while the schema history lags behind.

use std::time::Duration;

use binlog_catalog::meta::{job_history_range, objects_of_job};
use binlog_catalog::{Event, Start, TableFilter};
use binlog_proto::binlog::{Binlog, PrewriteValue};
use binlog_proto::store::SchemaObject;
use binlog_proto::{Body, split_prewrite};
use binlog_pull::{Error, EventBatch, EventStream, Member};
use binlog_testkit::fixtures;
use binlog_types::CommitTs;
use prost::Message as _;
use tokio::time::timeout;

use crate::fake::Pump;
use crate::stream::options;

fn history(name: &str) -> Vec<SchemaObject> {
    let (start, end) = job_history_range();
    let jobs = fixtures::meta(name).unwrap().into_iter().filter(|(key, _)| (&start..&end).contains(&key));
    jobs.flat_map(|(_, json)| objects_of_job(&json).unwrap()).collect()
}

/// Fake pumps that hold what the original's pumps answered; with the number of records and the last commit_ts.
async fn pumps(name: &str, count: u8) -> (Vec<Pump>, usize, u64) {
    let (mut pumps, mut records, mut last) = (Vec::new(), 0, 0);
    for n in 0..count {
        let pump = Pump::start(&format!("pump-{n}")).await;
        for payload in fixtures::pulled(name, n).unwrap() {
            let binlog = Binlog::decode(payload).unwrap();
            let (start, commit) = (binlog.start_ts as u64, binlog.commit_ts as u64);
            let body = split_prewrite(&binlog).encode_to_vec();
            pump.state.lock().records.insert(commit, (start, body));
            records += 1;
            last = last.max(commit);
        }
        pump.state.lock().fragment = 1 << 16;
        pumps.push(pump);
    }
    pumps.iter().for_each(|pump| pump.set_watermark(last));
    (pumps, records, last)
}

async fn open(pumps: &[Pump], after: u64, last: u64, start: Start, filter: TableFilter) -> EventStream {
    let members: Vec<Member> = pumps.iter().map(Pump::member).collect();
    EventStream::open(options(after, Some(last)), members, start, filter).await.unwrap()
}

async fn next(stream: &mut EventStream) -> EventBatch {
    timeout(Duration::from_secs(30), stream.next()).await.expect("the stream stands still").unwrap()
}

#[tokio::test]
async fn every_record_of_a_capture_becomes_an_event_or_is_counted() {
    let (pumps, records, last) = pumps("txn", 3).await;
    let objects = history("txn");
    let newest = objects.iter().map(|o| o.schema_version).max().unwrap();
    // Only one of the pumps knows the schema, and it is late.
    {
        let mut state = pumps[1].state.lock();
        state.schema = objects;
        state.complete = newest / 2;
    }
    let late = pumps[1].clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        late.state.lock().complete = newest;
    });

    let mut stream = open(&pumps, 0, last, Start::At(CommitTs::ZERO), TableFilter::default()).await;
    let (mut events, mut skipped, mut at, mut middle) = (0, 0, CommitTs::ZERO, None);
    loop {
        let batch = next(&mut stream).await;
        for event in &batch.events {
            assert!(event.commit_ts() > at);
            at = event.commit_ts();
        }
        assert!(batch.complete_through >= at);
        events += batch.events.len();
        skipped += batch.skipped as usize;
        if middle.is_none() && events > records / 2 {
            middle = Some((batch.complete_through, batch.schema_version, events + skipped));
        }
        if batch.end {
            break;
        }
    }
    assert_eq!(events + skipped, records);
    assert!(events > 3000, "{events}");

    // Taken up again in the middle, as from a checkpoint.
    let (from, version, done) = middle.unwrap();
    let mut again = open(&pumps, from.raw(), last, Start::Version(version), TableFilter::default()).await;
    let mut rest = 0;
    loop {
        let batch = next(&mut again).await;
        rest += batch.events.len() + batch.skipped as usize;
        if batch.end {
            break;
        }
    }
    assert_eq!(done + rest, records);
}

#[tokio::test]
async fn what_the_filter_leaves_out_still_moves_the_stream() {
    let (pumps, records, last) = pumps("txn", 3).await;
    let objects = history("txn");
    pumps[0].state.lock().complete = objects.iter().map(|o| o.schema_version).max().unwrap();
    pumps[0].state.lock().schema = objects;
    let only = [("bank".to_owned(), "accounts".to_owned())];
    let filter = TableFilter::new(&[], &only, &[], &[]).unwrap();
    let mut stream = open(&pumps, 0, last, Start::At(CommitTs::ZERO), filter).await;
    let (mut seen, mut skipped) = (0, 0);
    loop {
        let batch = next(&mut stream).await;
        for event in &batch.events {
            let Event::Transaction(txn) = event else { continue };
            assert!(
                txn.changes.iter().all(|c| &*c.table.schema == "bank" && c.table.table.name == "accounts")
            );
        }
        seen += batch.events.len();
        skipped += batch.skipped as usize;
        if batch.end {
            assert_eq!(batch.complete_through.raw(), last);
            break;
        }
    }
    assert!(
        seen > 0 && skipped > 0 && seen + skipped == records,
        "{seen} seen, {skipped} skipped of {records}"
    );
}

#[tokio::test]
async fn pumps_without_a_schema_history_are_named() {
    let (pumps, _, last) = pumps("txn", 1).await;
    let mut stream = open(&pumps, 0, last, Start::At(CommitTs::ZERO), TableFilter::default()).await;
    // The history is empty: the stream waits, and says for what.
    assert!(timeout(Duration::from_secs(3), stream.next()).await.is_err());
    let waits = stream.progress().waits_for();
    assert!(waits.contains("no pump knows"), "{waits}");
}

#[tokio::test]
async fn an_undecodable_record_is_an_error_with_its_place() {
    let pump = Pump::start("p").await;
    pump.state.lock().records.insert(10, (9, vec![0xff, 0xff]));
    pump.set_watermark(20);
    let mut stream = open(&[pump], 0, 20, Start::At(CommitTs::ZERO), TableFilter::default()).await;
    let error = timeout(Duration::from_secs(10), stream.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Payload { commit_ts, .. } if commit_ts.raw() == 10), "{error}");
}

/// A row that cannot be read stops only who wants its table.
#[tokio::test]
async fn rows_of_tables_that_do_not_take_part_are_not_decoded() {
    let (pumps, records, last) = pumps("txn", 3).await;
    let objects = history("txn");
    {
        let mut state = pumps[0].state.lock();
        state.complete = objects.iter().map(|o| o.schema_version).max().unwrap();
        state.schema = objects;
        let torn = state.records.values_mut().any(|(_, stored)| {
            let mut body = Body::decode(&stored[..]).unwrap();
            let Some(value) = body.prewrite_value.take() else { return false };
            let mut value = PrewriteValue::decode(value).unwrap();
            let Some(row) = value.mutations.iter_mut().find_map(|m| m.inserted_rows.first_mut()) else {
                return false;
            };
            *row = vec![8].into();
            body.prewrite_value = Some(value.encode_to_vec().into());
            *stored = body.encode_to_vec();
            true
        });
        assert!(torn);
    }
    let none = TableFilter::new(&["none".to_owned()], &[], &[], &[]).unwrap();
    let start = Start::At(CommitTs::ZERO);
    let mut stream = open(&pumps, 0, last, start, none).await;
    let mut skipped = 0;
    loop {
        let batch = next(&mut stream).await;
        assert!(batch.events.is_empty());
        skipped += batch.skipped;
        if batch.end {
            break;
        }
    }
    assert_eq!(skipped, records as u64);

    let mut stream = open(&pumps, 0, last, start, TableFilter::default()).await;
    let error = loop {
        match timeout(Duration::from_secs(30), stream.next()).await.expect("the stream stands still") {
            Ok(batch) => assert!(!batch.end),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Interpret { .. }), "{error}");
}
