//! Large transactions: their parts, and what is wrong with them.

use binlog_proto::binlog::{PrewriteValue, TableMutation};
use binlog_types::TableId;
use bytes::Bytes;
use prost::Message;

use super::tests::{event, fed, row, table};
use std::sync::Arc;

use super::*;
use crate::encode::{Mutation, delete_row, insert_row, prewrite_value, update_row};
use crate::{RowChange, Transaction};

#[derive(Debug)]
pub(super) struct InMemory(pub(super) Vec<u8>);

impl Blob for InMemory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let from = offset as usize;
        let bytes = self.0.get(from..from + out.len()).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }
}

fn body(value: Bytes) -> Body {
    Body { prewrite_value: Some(value), ..Body::default() }
}

fn begin(interpreter: &mut Interpreter, bytes: Vec<u8>) -> Result<LargeStep, Error> {
    interpreter.begin_large(StartTs::new(30), CommitTs::new(31), Arc::new(InMemory(bytes)))
}

fn parts(interpreter: &mut Interpreter, body: &Body) -> Result<Vec<Transaction>, Error> {
    let LargeStep::Rows(mut large) = begin(interpreter, body.encode_to_vec())? else { panic!("no rows") };
    let mut parts = Vec::new();
    while let Some((part, _)) = interpreter.next_part(&mut large)? {
        parts.push(part);
    }
    Ok(parts)
}

fn mixed(count: i64, width: usize) -> Vec<Mutation> {
    let (t, text) = (table(11, "t", 3), "x".repeat(width));
    let change = |n: i64| match n % 3 {
        0 => insert_row(&t, 0, &row(n, &text)),
        1 => update_row(&t, 0, &row(n - 1, &text), &row(n - 1, "b")),
        _ => delete_row(&t, 0, &row(n - 2, "b")),
    };
    (0..count).map(|n| change(n).unwrap()).collect()
}

#[test]
fn the_parts_of_a_large_transaction_are_the_whole() {
    let gone = insert_row(&table(10, "t", 2), 0, &row(1, "a")).unwrap();
    for (count, width, expected) in [(20_001, 10, 3), (300, 20_000, 4), (1, 300_000, 1)] {
        let tables = vec![
            (TableId(10), vec![gone.clone(); 5]),
            (TableId(11), mixed(count, width)),
            (TableId(10), vec![gone.clone()]),
            (TableId(11), mixed(3, 4)),
        ];
        let body = body(prewrite_value(SchemaVersion(3), tables));
        let mut interpreter = fed(Start::Version(SchemaVersion(3)));
        let Event::Transaction(whole) = event(&mut interpreter, 31, &body) else { panic!() };
        let mut interpreter = fed(Start::Version(SchemaVersion(3)));
        let parts = parts(&mut interpreter, &body).unwrap();
        assert_eq!((parts.len(), interpreter.skipped_rows()), (expected, 6));
        let mut before = 0;
        for (at, part) in parts.iter().enumerate() {
            assert_eq!((part.start_ts, part.commit_ts), (whole.start_ts, whole.commit_ts));
            assert_eq!(part.part.before, before);
            assert_eq!(part.part.through.is_none(), at + 1 == parts.len());
            before = part.part.through.unwrap_or(before);
        }
        let joined: Vec<RowChange> = parts.into_iter().flat_map(|part| part.changes).collect();
        assert_eq!(joined, whole.changes);
    }
}

#[test]
fn the_order_may_be_packed() {
    let mut mutation = TableMutation { table_id: 11, ..TableMutation::default() };
    for change in mixed(3, 4) {
        match change {
            Mutation::Insert(row) => mutation.inserted_rows.push(row),
            Mutation::Update(row) => mutation.updated_rows.push(row),
            Mutation::Delete(row) => mutation.deleted_rows.push(row),
        }
    }
    let mut packed = mutation.encode_to_vec();
    packed.extend([0x3a, 3, 0, 1, 4]);
    let value = [&[0x08, 3, 0x12, packed.len() as u8][..], &packed].concat();
    let body = body(value.into());
    let mut interpreter = fed(Start::Version(SchemaVersion(3)));
    let Event::Transaction(whole) = event(&mut interpreter, 31, &body) else { panic!() };
    assert_eq!(whole.changes.len(), 3);
    let parts = parts(&mut fed(Start::Version(SchemaVersion(3))), &body).unwrap();
    assert_eq!(parts.into_iter().flat_map(|part| part.changes).collect::<Vec<_>>(), whole.changes);
}

#[test]
fn a_large_record_that_is_no_transaction_is_refused_before_its_first_part() {
    let value =
        PrewriteValue::decode(prewrite_value(SchemaVersion(3), vec![(TableId(11), mixed(30, 10))])).unwrap();
    let spoilt = |spoil: &dyn Fn(&mut TableMutation)| {
        let mut value = value.clone();
        spoil(&mut value.mutations[0]);
        let body = body(value.encode_to_vec().into());
        begin(&mut fed(Start::Version(SchemaVersion(3))), body.encode_to_vec()).unwrap_err().to_string()
    };
    let missing = spoilt(&|m| drop(m.updated_rows.pop()));
    assert!(missing.contains("more updated rows than there are"), "{missing}");
    assert!(spoilt(&|m| m.sequence.truncate(29)).contains("in no sequence"));
    assert!(spoilt(&|m| m.sequence.push(2)).contains("no longer written"));
    assert!(spoilt(&|m| m.deleted_ids.push(2)).contains("in no sequence"));
    let mut interpreter = fed(Start::Version(SchemaVersion(3)));
    let bytes = body(value.encode_to_vec().into()).encode_to_vec();
    for cut in [1, 5, 40, bytes.len() - 10] {
        let error = begin(&mut interpreter, bytes[..cut].to_vec()).unwrap_err().to_string();
        assert!(error.contains("commit_ts 31") && error.contains("at byte"), "{error}");
    }
}

#[test]
fn what_a_large_record_needs_is_asked_for() {
    let bytes = body(prewrite_value(SchemaVersion(9), vec![(TableId(11), mixed(3, 4))])).encode_to_vec();
    let mut interpreter = fed(Start::Version(SchemaVersion(3)));
    assert!(matches!(begin(&mut interpreter, bytes), Ok(LargeStep::NeedVersion(SchemaVersion(9)))));
    let ddl = Body { ddl_query: Some("x".repeat(100).into()), ddl_job_id: 7, ..Body::default() };
    assert!(matches!(begin(&mut interpreter, ddl.encode_to_vec()), Ok(LargeStep::Whole)));
}
