//! Every decoder of bytes from TiDB, as a function of any bytes: none may panic, hang, or allocate what a length merely claims.

use std::cell::RefCell;

use binlog_catalog::codec::{
    Datum, Duration, JsonBinary, PackedTime, Reader, decode_bytes_key, decode_decimal, encode_decimal,
};
use binlog_catalog::encode::{Mutation, prewrite_value};
use binlog_catalog::meta::{
    database_object, is_at_rest, job_of_key, objects_of_job, parse_diff, parse_table, table_json,
    unreadable_job,
};
use binlog_catalog::{
    Column, ColumnType, Event, Interpreter, Start, Step, Table, TableBuilder, TimeKind, flag, sql, tp,
};
use binlog_proto::binlog::{Binlog, BinlogType};
use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_proto::{Body, compose_commit, decode_extra, split_prewrite};
use binlog_types::{CommitTs, SchemaVersion, StartTs, TableId};
use bytes::Bytes;
use prost::Message as _;

/// A function of any bytes.
pub type Target = fn(&[u8]);

/// Name and function of each target.
pub const TARGETS: [(&str, Target); 11] = [
    ("datum", datum),
    ("json", json),
    ("scalars", scalars),
    ("texts", texts),
    ("key", key),
    ("schema", schema),
    ("job", job),
    ("sql", statement),
    ("wire", wire),
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

/// Texts of numbers and times, and defaults: the first byte says of which type.
pub fn texts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for (precision, scale) in [(65, 30), (10, 2), (1, 0)] {
        if let Ok(bytes) = encode_decimal(&text, precision, scale) {
            assert!(decode_decimal(precision, scale, &bytes).is_ok());
        }
    }
    if let Ok(time) = PackedTime::parse(&text) {
        let again = PackedTime::parse(&time.text(TimeKind::DateTime, 6));
        assert!(again.is_ok(), "{time:?}");
    }
    let _ = Duration::parse(&text);
    let Some((kind, default)) = data.split_first() else { return };
    let types = types();
    let Some(ty) = types.get(usize::from(*kind) % types.len()) else { return };
    let id = || TableBuilder::new(TableId(10), "t", SchemaVersion(1)).column("id", ColumnType::bigint());
    let mut wider = id().column("c", ty.clone()).build();
    for column in wider.columns.iter_mut().skip(1) {
        column.default = Some(default.to_vec());
        column.origin_default = Some(default.to_vec());
    }
    let wider = Table { version: SchemaVersion(2), ..wider };
    // A row of before the column, on the table that has it.
    let mut interpreter = Interpreter::new(Start::Version(SchemaVersion(2)));
    let _ = interpreter.extend(vec![object(&id().build()), object(&wider)], SchemaVersion(2));
    let old = prewrite_value(SchemaVersion(1), vec![(TableId(10), vec![Mutation::Insert(Bytes::new())])]);
    let _ = step(&mut interpreter, Body { prewrite_value: Some(old), ..Body::default() });
}

/// A memcomparable key.
pub fn key(data: &[u8]) {
    let _ = decode_bytes_key(&mut Reader::new(Bytes::copy_from_slice(data)));
    let _ = job_of_key(data);
}

/// TiDB's JSON.
pub fn schema(data: &[u8]) {
    let _ = objects_of_job(data);
    let _ = parse_table(&Bytes::copy_from_slice(data), SchemaVersion(1));
    let _ = database_object(data, SchemaVersion(1));
    let _ = parse_diff(data);
    let _ = is_at_rest(data);
}

/// A DDL job: filed in a history, interpreted, and followed by rows of the tables that it leaves.
pub fn job(data: &[u8]) {
    let _ = event_of_job(data);
}

/// What a DDL job does, where it can be read.
pub fn event_of_job(data: &[u8]) -> Option<Event> {
    let objects = objects_of_job(data).unwrap_or_else(|_| vec![unreadable_job(7, data)]);
    let id = objects.iter().rev().find(|o| o.kind == ObjectKind::Job as i32).map_or(7, |job| job.id);
    let mut interpreter = Interpreter::new(Start::Version(SchemaVersion(0)));
    interpreter.extend(objects, SchemaVersion(i64::MAX)).ok()?;
    let ddl = Body {
        ddl_query: Some(Bytes::copy_from_slice(data)),
        ddl_job_id: id,
        ddl_schema_state: 5,
        ..Body::default()
    };
    let done = step(&mut interpreter, ddl);
    for table in interpreter.tables() {
        let rows = vec![Mutation::Insert(Bytes::new()), Mutation::Delete(Bytes::from_static(&[0]))];
        let rows = prewrite_value(table.table.version, vec![(table.table.id, rows)]);
        let _ = step(&mut interpreter, Body { prewrite_value: Some(rows), ..Body::default() });
    }
    match done {
        Some(Step::Event(event)) => Some(event),
        _ => None,
    }
}

/// A binlog as it comes from TiDB, cut into what the store keeps and put together again.
pub fn wire(data: &[u8]) {
    if let Ok(binlog) = Binlog::decode(data) {
        let body = split_prewrite(&binlog);
        let _ = body.schema_version();
        let stored = body.encode_to_vec();
        assert_eq!(Body::decode(&stored[..]).as_ref(), Ok(&body));
        if let Ok(kind) = BinlogType::try_from(binlog.tp) {
            let key = binlog.prewrite_key.as_deref();
            let sent = compose_commit(kind, binlog.start_ts, binlog.commit_ts, key, [&stored[..]]);
            assert_eq!(Binlog::decode(sent).as_ref(), Ok(&binlog));
        }
    }
    let _ = decode_extra(data);
    let _ = Body::decode(data);
    let _ = SchemaObject::decode(data);
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
    interpret(prewrite_value(SchemaVersion(1), vec![(TableId(10 + i64::from(kind >> 6)), vec![mutation])]));
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
    let _ = INTERPRETER.with_borrow_mut(|interpreter| step(interpreter, body).map(drop));
}

fn step(interpreter: &mut Interpreter, body: Body) -> Option<Step> {
    interpreter.step(StartTs::new(1), CommitTs::new(2), &body).ok()
}

fn of(tp: u8, flen: i64, decimal: i64) -> ColumnType {
    let charset = "binary".to_owned();
    ColumnType { tp, flen, decimal, collate: charset.clone(), charset, ..ColumnType::default() }
}

/// One of every type that a column may have.
fn types() -> Vec<ColumnType> {
    let names = || ColumnType::enumeration(["x", "y", "z"]);
    let collated = |collate: &str| ColumnType { collate: collate.to_owned(), ..ColumnType::varchar(20) };
    let gbk =
        ColumnType { charset: "gbk".to_owned(), collate: "gbk_chinese_ci".to_owned(), ..ColumnType::char(9) };
    vec![
        ColumnType::bigint().unsigned(),
        ColumnType::varchar(20),
        ColumnType::decimal(65, 30),
        ColumnType::datetime(6),
        names(),
        ColumnType::json(),
        ColumnType::double(),
        ColumnType::blob(),
        ColumnType::timestamp(3),
        ColumnType::date(),
        of(tp::TINY, 4, 0),
        of(tp::SHORT, 6, 0).unsigned(),
        of(tp::INT24, 9, 0),
        ColumnType::int(),
        of(tp::FLOAT, 12, -1),
        of(tp::BIT, 64, 0),
        of(tp::BIT, 1, 0),
        of(tp::YEAR, 4, 0),
        of(tp::DURATION, 17, 6),
        ColumnType { tp: tp::SET, ..names() },
        of(tp::VECTOR_FLOAT32, 3, 0),
        of(tp::STRING, 9, 0),
        ColumnType::varbinary(20),
        ColumnType::text(),
        collated("utf8mb4_general_ci"),
        collated("utf8mb4_unicode_ci"),
        gbk,
    ]
}

/// With a column of every type, and hidden, generated and not yet public ones.
fn table(id: i64, clustered: &[usize], prefix: Option<u32>) -> Table {
    let mut builder = TableBuilder::new(TableId(id), "t", SchemaVersion(1));
    for (at, ty) in types().into_iter().enumerate() {
        builder = builder.column(format!("c{at}"), ty);
    }
    let names: Vec<String> = clustered.iter().map(|at| format!("c{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut table = builder.unique("u", &["c24"]).index("i", &["c1"]).primary_key(&names).build();
    let computed = |stored| Column {
        generated_expr: "`c0` + 1".to_owned(),
        generated_stored: stored,
        ty: ColumnType::bigint(),
        public: true,
        ..Column::default()
    };
    let array = ColumnType { array: true, ..ColumnType::bigint() };
    let odd = [
        computed(true),
        computed(false),
        Column { hidden: true, ty: array, ..computed(false) },
        Column { public: false, ty: ColumnType::int().not_null(), ..Column::default() },
    ];
    for column in odd {
        let offset = table.columns.len();
        let (id, name) = (offset as i64 + 1, format!("c{offset}"));
        table.columns.push(Column { id, name, offset, ..column });
    }
    for part in table.indexes.iter_mut().flat_map(|index| &mut index.columns) {
        part.prefix = prefix.filter(|_| table.columns.get(part.offset).is_some_and(|c| c.ty.is_string()));
    }
    if let Some(key) = table.columns.first_mut() {
        key.ty.flag |= flag::AUTO_INCREMENT;
    }
    table.json = table_json(&table).into();
    table
}

fn object(table: &Table) -> SchemaObject {
    SchemaObject {
        kind: ObjectKind::Table as i32,
        id: table.id.0,
        schema_version: table.version.0,
        parent_id: 1,
        json: table_json(table).into(),
        ..SchemaObject::default()
    }
}

/// With a table that has an integer handle, and some that have a common one: of text and time, of prefixes, of texts that are compared
/// without case.
fn interpreter() -> Interpreter {
    let tables = [
        table(10, &[0], None),
        table(11, &[1, 3], None),
        table(12, &[1, 22], Some(3)),
        table(13, &[24, 26, 2, 18], None),
    ];
    let mut interpreter = Interpreter::new(Start::Version(SchemaVersion(1)));
    let objects = tables.iter().map(object).collect();
    assert!(interpreter.extend(objects, SchemaVersion(i64::MAX)).is_ok());
    interpreter
}
