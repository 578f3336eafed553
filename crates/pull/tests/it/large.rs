//! Transactions that are larger than the budget.

use std::collections::BTreeMap;
use std::time::Duration;

use binlog_catalog::encode::{insert_row, prewrite_value};
use binlog_catalog::meta::{JobSpec, database_json, database_object, job_json, job_type, objects_of_job};
use binlog_catalog::{
    ChangeKind, ColumnType, Database, Event, Start, Table, TableBuilder, Transaction, Value,
};
use binlog_proto::Body;
use binlog_proto::binlog::Binlog;
use binlog_proto::store::SchemaObject;
use binlog_pull::{Error, EventBatch, EventStream, Member, Selector, Skips, StreamOptions};
use binlog_testkit::OriginalPump;
use binlog_types::{CommitTs, NodeId, SchemaVersion, TableId};
use bytes::Bytes;
use prost::Message as _;
use tokio::time::timeout;

use crate::fake::Pump;
use crate::stream::options;

const BUDGET: usize = 16 << 20;
/// Rows of 2 KB in a large transaction.
const ROWS: i64 = 5000;

fn table() -> Table {
    TableBuilder::new(TableId(10), "t", SchemaVersion(2))
        .column("id", ColumnType::bigint())
        .column("v", ColumnType::varchar(4000))
        .primary_key(&["id"])
        .build()
}

fn schema() -> Vec<SchemaObject> {
    let database = Database { id: 2, name: "d".into(), version: SchemaVersion(1), ..Database::default() };
    let spec = JobSpec {
        id: 100,
        job_type: job_type::CREATE_TABLE,
        schema_id: 2,
        schema_name: "d",
        table_id: 10,
        schema_version: 2,
        finished_ts: 3,
        table: Some(&table()),
        ..JobSpec::default()
    };
    let mut objects = vec![database_object(&database_json(&database), SchemaVersion(1)).unwrap()];
    objects.extend(objects_of_job(&job_json(&spec)).unwrap());
    objects
}

/// `rows` rows from `first` on.
fn value(first: i64, rows: i64) -> Bytes {
    let text = "x".repeat(2000);
    let row = |id| vec![Some(Value::Int(id)), Some(Value::Text(text.clone().into()))];
    let rows = (first..first + rows).map(|id| insert_row(&table(), 0, &row(id)).unwrap()).collect();
    prewrite_value(SchemaVersion(2), vec![(TableId(10), rows)])
}

fn body(first: i64, rows: i64) -> Vec<u8> {
    Body { prewrite_value: Some(value(first, rows)), ..Body::default() }.encode_to_vec()
}

/// Small, large, small: at 10, 20 and 30.
async fn pump(name: &str, fragment: usize) -> Pump {
    let pump = Pump::start(name).await;
    {
        let mut state = pump.state.lock();
        state.fragment = fragment;
        (state.schema, state.complete) = (schema(), 2);
        state.records =
            BTreeMap::from([(10, (9, body(0, 3))), (20, (19, body(10_000, ROWS))), (30, (29, body(3, 2)))]);
    }
    pump.set_watermark(40);
    pump
}

fn aside() -> StreamOptions {
    StreamOptions { budget: BUDGET, put_aside: Some(std::env::temp_dir()), ..options(0, Some(40)) }
}

async fn open(options: StreamOptions, members: Vec<Member>, select: Selector) -> EventStream {
    EventStream::open_with(options, members, Start::At(CommitTs::ZERO), select).await.unwrap()
}

/// What a batch said.
struct Got {
    events: Vec<Event>,
    complete_through: CommitTs,
    skipped: u64,
    middle: bool,
}

async fn all(stream: &mut EventStream) -> Vec<Got> {
    let mut batches = Vec::new();
    loop {
        let next = timeout(Duration::from_secs(30), stream.next()).await.expect("the stream stands still");
        let batch = next.unwrap();
        assert!(batch.bytes() < 8 << 20, "{} bytes at once", batch.bytes());
        batches.push(got(&batch));
        let end = batch.end;
        if end {
            return batches;
        }
    }
}

/// The batch itself is to go, and with it its bytes of the budget.
fn got(batch: &EventBatch) -> Got {
    let events = batch.events.clone();
    Got { events, complete_through: batch.complete_through, skipped: batch.skipped, middle: batch.middle }
}

fn transactions(batch: &Got) -> impl Iterator<Item = &Transaction> {
    batch.events.iter().map(|event| match event {
        Event::Transaction(txn) => txn,
        Event::Ddl(_) => panic!("a DDL"),
    })
}

fn keys(batches: &[Got], commit_ts: u64) -> Vec<i64> {
    let parts = batches.iter().flat_map(transactions).filter(|txn| txn.commit_ts.raw() == commit_ts);
    parts
        .flat_map(|txn| &txn.changes)
        .map(|change| match &change.kind {
            ChangeKind::Insert(row) => match row[0] {
                Some(Value::Int(id)) => id,
                _ => panic!("{row:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect()
}

/// The large transaction of 20 in parts, and complete with the last of them.
fn check(batches: &[Got]) {
    assert_eq!(keys(batches, 20), (10_000..10_000 + ROWS).collect::<Vec<_>>());
    let (mut before, mut parts) = (0, 0);
    for batch in batches {
        for txn in transactions(batch).filter(|txn| txn.commit_ts.raw() == 20) {
            assert_eq!(txn.part.before, before);
            before += txn.changes.len() as u64;
            let last = before == ROWS as u64;
            assert_eq!(txn.part.through, (!last).then_some(before));
            assert_eq!((batch.complete_through.raw() >= 20, batch.middle), (last, !last));
            parts += 1;
        }
    }
    assert!(parts >= 9, "{parts}");
    assert!(batches.is_sorted_by_key(|batch| batch.complete_through));
}

#[tokio::test]
async fn a_large_transaction_comes_in_parts() {
    // Both pumps have it, in other pieces.
    let (one, two) = (pump("one", 1 << 20).await, pump("two", 300_000).await);
    let members = vec![one.member(), two.member()];
    let mut stream = open(aside(), members, Selector::new(Some)).await;
    let batches = all(&mut stream).await;
    check(&batches);
    assert_eq!((keys(&batches, 10), keys(&batches, 30)), (vec![0, 1, 2], vec![3, 4]));
    // A reader that has no place for it gets it whole.
    let mut stream =
        open(StreamOptions { put_aside: None, ..aside() }, vec![one.member()], Selector::new(Some)).await;
    let whole = loop {
        let batch = timeout(Duration::from_secs(30), stream.next()).await.unwrap().unwrap();
        if batch.complete_through.raw() >= 20 {
            break got(&batch);
        }
    };
    assert_eq!(keys(&[whole], 20).len(), ROWS as usize);
}

#[tokio::test]
async fn pumps_that_disagree_about_a_large_transaction_are_found_out() {
    let (one, two) = (pump("one", 1 << 20).await, pump("two", 1 << 20).await);
    if let Some((_, payload)) = two.state.lock().records.get_mut(&20) {
        let at = payload.len() - 100;
        payload[at] ^= 1;
    }
    let mut stream = open(aside(), vec![one.member(), two.member()], Selector::new(Some)).await;
    let error = loop {
        match timeout(Duration::from_secs(30), stream.next()).await.unwrap() {
            Ok(batch) => assert!(!batch.end && batch.complete_through.raw() < 20),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Conflict { commit_ts, .. } if commit_ts.raw() == 20), "{error}");
}

#[tokio::test]
async fn a_large_transaction_may_be_left_out() {
    let one = pump("one", 1 << 20).await;
    // Its last row keeps all of it out.
    let veto = |txn: &Transaction| {
        txn.changes.iter().any(|change| matches!(&change.kind, ChangeKind::Insert(row) if row[0] == Some(Value::Int(10_000 + ROWS - 1))))
    };
    let mut stream = open(aside(), vec![one.member()], Selector::new(Some).with_veto(veto)).await;
    let batches = all(&mut stream).await;
    assert_eq!((keys(&batches, 20).len(), keys(&batches, 10).len(), keys(&batches, 30).len()), (0, 3, 2));
    assert_eq!(batches.iter().map(|batch| batch.skipped).sum::<u64>(), 1);
    let mut stream = open(aside(), vec![one.member()], Selector::new(Some).with_veto(|_| false)).await;
    check(&all(&mut stream).await);
    // What is skipped is not even read: it need not be readable.
    for (commit_ts, left) in [(20, 3), (10, 0)] {
        if let Some((_, payload)) = one.state.lock().records.get_mut(&commit_ts) {
            payload[0] = 0xff;
        }
        let list = if commit_ts == 20 { vec![20] } else { vec![10, 20] };
        let skips = Skips::new(list.into_iter().map(CommitTs::new));
        let mut stream =
            open(StreamOptions { skips, ..aside() }, vec![one.member()], Selector::new(Some)).await;
        let batches = all(&mut stream).await;
        assert_eq!(
            (keys(&batches, 10).len(), keys(&batches, 20).len(), keys(&batches, 30).len()),
            (left, 0, 2)
        );
    }
}

/// An original pump with these records: whole messages.
async fn original(name: &str, records: Vec<(i64, Option<Bytes>)>) -> Member {
    let binlog = |(ts, value): (i64, Option<Bytes>)| {
        let (tp, start_ts) = if value.is_some() { (1, ts - 1) } else { (2, ts) };
        Binlog { tp, start_ts, commit_ts: ts, prewrite_value: value, ..Binlog::default() }
    };
    let host = OriginalPump::new(records.into_iter().map(binlog)).serve().await.unwrap();
    Member { id: NodeId::new(name).unwrap(), host }
}

#[tokio::test]
async fn large_messages_of_original_pumps_are_put_aside() {
    // One that tells the schema; the large ones of the two others wait for one another in the merge.
    let ours = Pump::start("ours").await;
    (ours.state.lock().schema, ours.state.lock().complete) = (schema(), 2);
    ours.set_watermark(40);
    let one = vec![
        (10, Some(value(0, 3))),
        (20, Some(value(10_000, ROWS))),
        (25, Some(value(50_000, ROWS))),
        (40, None),
    ];
    let two = vec![
        (15, Some(value(30_000, ROWS))),
        (22, Some(value(70_000, ROWS))),
        (30, Some(value(3, 2))),
        (40, None),
    ];
    let members = vec![ours.member(), original("one", one).await, original("two", two).await];
    for gzip in [false, true] {
        let mut options = aside();
        options.dial.gzip = gzip;
        let mut stream = open(options, members.clone(), Selector::new(Some)).await;
        let batches = all(&mut stream).await;
        check(&batches);
        for (commit_ts, first, rows) in
            [(10, 0, 3), (15, 30_000, ROWS), (22, 70_000, ROWS), (25, 50_000, ROWS), (30, 3, 2)]
        {
            assert_eq!(keys(&batches, commit_ts), (first..first + rows).collect::<Vec<_>>(), "{commit_ts}");
        }
    }
}
