//! Rows from the bytes of TiDB's binlogs, in memory and on one thread: what a drainer does before it applies them.

use std::hint::black_box;

use anyhow::{Context as _, ensure};
use binlog_catalog::encode::{Mutation, delete_row, insert_row, prewrite_value, update_row};
use binlog_catalog::{
    ColumnType, Event, Interpreter, JsonBinary, Row, Start, Step, Table, TableBuilder, Value, codec,
};
use binlog_proto::Body;
use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_types::{CommitTs, SchemaVersion, StartTs, TableId};
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};

use crate::process::Meter;
use crate::report::Report;
use crate::session::Session;

const VERSION: SchemaVersion = SchemaVersion(1);
const TABLE: TableId = TableId(100);
/// Of each kind in a transaction.
const ROWS: usize = 10;
/// Transactions that are made before the clock runs, and decoded again and again.
const DISTINCT: u64 = 2_000;

/// A table as applications have them: keys, numbers, texts, times, money, a document.
fn table() -> Table {
    TableBuilder::new(TABLE, "orders", VERSION)
        .column("id", ColumnType::bigint())
        .column("customer", ColumnType::bigint().unsigned())
        .column("state", ColumnType::enumeration(["new", "paid", "sent"]))
        .column("price", ColumnType::decimal(12, 2))
        .column("weight", ColumnType::double())
        .column("title", ColumnType::varchar(100))
        .column("note", ColumnType::text())
        .column("made", ColumnType::datetime(3))
        .column("seen", ColumnType::timestamp(0))
        .column("more", ColumnType::json())
        .primary_key(&["id"])
        .build()
}

fn row(rng: &mut SmallRng, id: i64) -> anyhow::Result<Row> {
    let time = |text: &str| -> anyhow::Result<u64> { Ok(codec::PackedTime::parse(text)?.pack()) };
    let (number, second) = (rng.next_u32(), rng.next_u32() % 60);
    let text = |prefix: &str, n: u32| Value::Text(format!("{prefix} {n:0>24}").into());
    let document = serde_json::json!({ "colour": "green", "count": number % 100, "tags": ["a", "b"] });
    let values = [
        Value::Int(id),
        Value::UInt(u64::from(number)),
        Value::Enum(u64::from(number % 3) + 1),
        Value::Decimal(format!("{}.{:02}", number % 1_000_000, number % 100).into()),
        Value::Double(f64::from(number) / 8.0),
        text("title", number),
        text("a note of some length that nobody reads", number),
        Value::Time {
            kind: binlog_catalog::TimeKind::DateTime,
            packed: time(&format!("2024-05-06 07:08:{second:02}.123"))?,
            fsp: 3,
        },
        Value::Time {
            kind: binlog_catalog::TimeKind::Timestamp,
            packed: time(&format!("2024-05-06 07:08:{second:02}"))?,
            fsp: 0,
        },
        Value::Json(JsonBinary::try_from(&document)?),
    ];
    Ok(values.into_iter().map(Some).collect())
}

/// A transaction that inserts, updates and deletes.
fn transaction(table: &Table, rng: &mut SmallRng, first: i64) -> anyhow::Result<Body> {
    let mut mutations: Vec<Mutation> = Vec::with_capacity(3 * ROWS);
    for at in 0..ROWS as i64 {
        let (old, new) = (row(rng, first + at)?, row(rng, first + at)?);
        mutations.push(insert_row(table, 0, &old)?);
        mutations.push(update_row(table, 0, &old, &new)?);
        mutations.push(delete_row(table, 0, &new)?);
    }
    Ok(Body { prewrite_value: Some(prewrite_value(VERSION, vec![(TABLE, mutations)])), ..Body::default() })
}

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let table = table();
    let mut rng = SmallRng::seed_from_u64(session.options.seed);
    let transactions: Vec<Body> = (0..DISTINCT.min(session.options.num.max(1)))
        .map(|n| transaction(&table, &mut rng, n as i64 * 1000))
        .collect::<anyhow::Result<_>>()?;
    let object = SchemaObject {
        kind: ObjectKind::Table as i32,
        id: TABLE.0,
        schema_version: VERSION.0,
        parent_id: 1,
        json: table.json,
        ..SchemaObject::default()
    };
    let mut interpreter = Interpreter::new(Start::Version(VERSION));
    interpreter.extend(vec![object], VERSION)?;
    let meter = Meter::start(None)?;
    let (mut rows, mut bytes) = (0u64, 0u64);
    for number in 0..session.options.num {
        let body = transactions.get((number % DISTINCT) as usize).context("no transaction")?;
        let ts = number * 2 + 2;
        let step = interpreter.step(StartTs::new(ts), CommitTs::new(ts + 1), body)?;
        let Step::Event(Event::Transaction(decoded)) = step else { anyhow::bail!("not decoded: {step:?}") };
        rows += decoded.changes.len() as u64;
        bytes += body.prewrite_value.as_ref().map_or(0, |value| value.len() as u64);
        black_box(decoded);
    }
    let spent = meter.spent()?;
    ensure!(rows > 0, "no rows: --num must be at least 1");
    Ok(Report::new("decode", rows, bytes, &spent).with_note("an operation is a row of 10 columns"))
}
