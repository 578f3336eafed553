//! Every decoder of bytes from TiDB, as a function of any bytes: none may panic, hang, or allocate what a length merely claims.

use std::cell::RefCell;

use binlog_catalog::codec::{Datum, JsonBinary, PackedTime, Reader, decode_bytes_key, decode_decimal};
use binlog_catalog::encode::{Mutation, prewrite_value};
use binlog_catalog::meta::{database_object, objects_of_job, parse_diff, parse_table};
use binlog_catalog::{ColumnType, Interpreter, Start, Table, TableBuilder, TimeKind, sql};
use binlog_proto::Body;
use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_types::{CommitTs, SchemaVersion, StartTs, TableId};
use bytes::Bytes;

/// A function of any bytes.
pub type Target = fn(&[u8]);

/// Name and function of each target.
pub const TARGETS: [(&str, Target); 8] = [
    ("datum", datum),
    ("json", json),
    ("scalars", scalars),
    ("key", key),
    ("schema", schema),
    ("sql", statement),
    ("row", row),
    ("prewrite", prewrite),
];

/// A run of datums.
pub fn datum(data: &[u8]) {
    let mut reader = Reader::new(Bytes::copy_from_slice(data));
    while !reader.is_empty() {
        let Ok(datum) = Datum::decode(&mut reader) else { return };
        let mut out = Vec::new();
        datum.encode(&mut out);
        let mut again = Reader::new(out.into());
        // NaN is not itself; all else comes back.
        let back = Datum::decode(&mut again);
        assert!(matches!(datum, Datum::Float(_)) || back.as_ref() == Ok(&datum), "{datum:?} {back:?}");
    }
}

/// Binary JSON. What is valid has a text.
pub fn json(data: &[u8]) {
    if let Ok(json) = JsonBinary::decode(&mut Reader::new(Bytes::copy_from_slice(data)))
        && json.validate().is_ok()
    {
        assert!(json.text().is_ok());
    }
}

/// Decimals and packed times.
pub fn scalars(data: &[u8]) {
    if let [precision, scale, digits @ ..] = data {
        let _ = decode_decimal(*precision, *scale, digits);
    }
    if let Some(packed) = data.first_chunk::<8>()
        && let Ok(time) = PackedTime::unpack(u64::from_be_bytes(*packed))
    {
        assert!(PackedTime::parse(&time.text(TimeKind::DateTime, 6)).is_ok());
    }
}

/// A memcomparable key.
pub fn key(data: &[u8]) {
    let _ = decode_bytes_key(&mut Reader::new(Bytes::copy_from_slice(data)));
}

/// TiDB's JSON.
pub fn schema(data: &[u8]) {
    let _ = objects_of_job(data);
    let _ = parse_table(&Bytes::copy_from_slice(data), SchemaVersion(1));
    let _ = database_object(data, SchemaVersion(1));
    let _ = parse_diff(data);
}

/// The tokens of a statement.
pub fn statement(data: &[u8]) {
    let _ = sql::tokens(&String::from_utf8_lossy(data));
}

/// A row of a table of many types, in either format: inserted, updated or deleted, by the first byte.
pub fn row(data: &[u8]) {
    let Some((kind, row)) = data.split_first() else { return };
    let row = Bytes::copy_from_slice(row);
    let mutation = match kind % 3 {
        0 => Mutation::Insert(row),
        1 => Mutation::Update(row),
        _ => Mutation::Delete(row),
    };
    interpret(prewrite_value(SchemaVersion(1), vec![(TableId(10 + i64::from(kind >> 7)), vec![mutation])]));
}

/// The rows of a transaction as they come from TiDB.
pub fn prewrite(data: &[u8]) {
    interpret(Bytes::copy_from_slice(data));
}

thread_local! {
    static INTERPRETER: RefCell<Interpreter> = RefCell::new(interpreter());
}

fn interpret(value: Bytes) {
    let body = Body { prewrite_value: Some(value), ..Body::default() };
    let _ = INTERPRETER
        .with_borrow_mut(|interpreter| interpreter.step(StartTs::new(1), CommitTs::new(2), &body).map(drop));
}

fn table(id: i64, clustered: &[&str]) -> Table {
    TableBuilder::new(TableId(id), "t", SchemaVersion(1))
        .column("a", ColumnType::bigint().unsigned())
        .column("b", ColumnType::varchar(20))
        .column("c", ColumnType::decimal(65, 30))
        .column("d", ColumnType::datetime(6))
        .column("e", ColumnType::enumeration(["x", "y"]))
        .column("f", ColumnType::json())
        .column("g", ColumnType::double())
        .column("h", ColumnType::blob())
        .column("i", ColumnType::timestamp(3))
        .column("j", ColumnType::date())
        .primary_key(clustered)
        .build()
}

/// With a table that has an integer handle and one that has a common one.
fn interpreter() -> Interpreter {
    let object = |table: Table| SchemaObject {
        kind: ObjectKind::Table as i32,
        id: table.id.0,
        schema_version: 1,
        parent_id: 1,
        json: table.json,
        ..SchemaObject::default()
    };
    let mut interpreter = Interpreter::new(Start::Version(SchemaVersion(1)));
    let objects = vec![object(table(10, &["a"])), object(table(11, &["b", "d"]))];
    assert!(interpreter.extend(objects, SchemaVersion(i64::MAX)).is_ok());
    interpreter
}
