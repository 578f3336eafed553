//! Golden text of the print format.

use std::sync::Arc;

use binlog_catalog::{ColumnType, Part, TableBuilder, TableRef, Transaction};
use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs, TableId};

use super::*;

fn text(value: &'static str) -> Value {
    Value::Text(value.as_bytes().into())
}

fn table() -> TableRef {
    let table = TableBuilder::new(TableId(1), "t1", SchemaVersion(1))
        .column("id", ColumnType::int())
        .column("v", ColumnType::varchar(10))
        .column("t", ColumnType::text())
        .column("n", ColumnType::int())
        .column("e", ColumnType::enumeration(["a", "b"]))
        .column("d", ColumnType::decimal(10, 2))
        .build();
    TableRef { schema: "test".into(), table: Arc::new(table) }
}

fn row(id: i64, v: &'static str) -> Row {
    vec![
        Some(Value::Int(id)),
        Some(text(v)),
        Some(text(v)),
        Some(Value::Null),
        Some(Value::Enum(2)),
        Some(Value::Decimal("1.50".into())),
    ]
}

fn printed(events: &[Event]) -> String {
    let mut out = Vec::new();
    events.iter().for_each(|event| write_event(&mut out, event).unwrap());
    String::from_utf8(out).unwrap()
}

fn transaction(kinds: Vec<ChangeKind>) -> Event {
    let changes = kinds.into_iter().map(|kind| RowChange { table: table(), kind }).collect();
    Event::Transaction(Transaction {
        start_ts: StartTs::new(1),
        commit_ts: CommitTs::new(2),
        schema_version: SchemaVersion(1),
        part: Part::WHOLE,
        changes,
    })
}

#[test]
fn an_insert_prints_as_the_original_prints_it() {
    let expected = "schema: test; table: t1; type: Insert\nid(int): 1\nv(varchar): ab\nt(text): [97 98]\nn(int): <nil>\ne(enum): 2\nd(decimal): 1.50\n";
    assert_eq!(printed(&[transaction(vec![ChangeKind::Insert(row(1, "ab"))])]), expected);
}

#[test]
fn updates_show_both_values_and_unbound_columns_none() {
    let (mut before, mut after) = (row(1, "a"), row(1, "b"));
    (before[5], after[5]) = (None, None);
    let expected = "schema: test; table: t1; type: Update\nid(int): 1 => 1\nv(varchar): a => b\nt(text): [97] => [98]\n\
                    n(int): <nil> => <nil>\ne(enum): 2 => 2\n";
    assert_eq!(printed(&[transaction(vec![ChangeKind::Update { before, after }])]), expected);
    assert!(
        printed(&[transaction(vec![ChangeKind::Delete(row(3, ""))])])
            .contains("type: Delete\nid(int): 3\nv(varchar): \nt(text): []\n")
    );
}

#[test]
fn ddl_stands_after_its_database() {
    let ddl = |schema: &str, job_type, query: &str| {
        Event::Ddl(Ddl {
            start_ts: StartTs::new(1),
            commit_ts: CommitTs::new(2),
            job_id: JobId(3),
            job_type,
            schema: schema.to_owned(),
            schema_version: SchemaVersion(1),
            query: query.to_owned(),
            typed: String::new(),
            zone: None,
            changes: vec![],
            ahead: false,
        })
    };
    let events = [
        ddl("test234", 1, "CREATE DATABASE `test234`;"),
        ddl("test234", 3, "CREATE TABLE `test234`.`t` (`id` INT);"),
        ddl("a`b", 2, "DROP DATABASE `a``b`;"),
        ddl("", 9, "x"),
    ];
    let expected = "DDL query: CREATE DATABASE `test234`;;\n\
                    DDL query: use `test234`; CREATE TABLE `test234`.`t` (`id` INT);;\n\
                    DDL query: use `a``b`; DROP DATABASE `a``b`;;\n\
                    DDL query: x\n";
    assert_eq!(printed(&events), expected);
}

#[test]
fn floats_look_as_go_shows_them() {
    let cases = [
        (1e-5, "1e-05"),
        (1e20, "1e+20"),
        (16_777_216.0, "1.6777216e+07"),
        (999_999.5, "999999.5"),
        (1e21, "1e+21"),
        (123.123, "123.123"),
        (f64::from(1.1f32), "1.100000023841858"),
        (-2.5e-10, "-2.5e-10"),
        (0.0, "0"),
        (-0.0, "-0"),
        (1e100, "1e+100"),
        (0.0001, "0.0001"),
    ];
    for (number, expected) in cases {
        assert_eq!(go_float(number), expected);
    }
}

/// What is printed of the files that the original drainer wrote.
async fn printed_files(name: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    binlog_testkit::fixtures::unpack_drainer_files(name, dir.path()).unwrap();
    let out = dir.path().join("printed.txt");
    let config = crate::Config {
        data_dir: dir.path().display().to_string(),
        dest_path: out.clone(),
        ..crate::Config::default()
    };
    crate::run(&config, std::future::pending()).await.unwrap();
    std::fs::read(out).unwrap()
}

#[tokio::test]
async fn damage_in_a_file_is_passed_over_only_if_told() {
    let dir = tempfile::tempdir().unwrap();
    binlog_testkit::fixtures::unpack_drainer_files("txn", dir.path()).unwrap();
    let file = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).next().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let restore = async |allow_gaps: bool| {
        let config = crate::Config {
            data_dir: dir.path().display().to_string(),
            dest_path: dir.path().join(format!("{allow_gaps}.txt")),
            allow_gaps,
            ..crate::Config::default()
        };
        crate::run(&config, std::future::pending()).await
    };
    let error = format!("{:#}", anyhow::Error::from(restore(false).await.unwrap_err()));
    assert!(error.contains("no record at offset"), "{error}");
    let summary = restore(true).await.unwrap();
    let [hole] = summary.holes.as_slice() else { panic!("{summary}") };
    assert!(hole.range.after < hole.range.through && hole.range.through < summary.range.through, "{hole}");
    assert!(summary.to_string().contains("HOLE: "), "{summary}");
    let whole = binlog_testkit::fixtures::reparo_print("txn").unwrap();
    let printed = std::fs::read(dir.path().join("true.txt")).unwrap();
    assert!(printed.len() < whole.len() && printed.len() > whole.len() / 2, "all but what was hit");
    assert_eq!(printed[printed.len() - 100..], whole[whole.len() - 100..]);
}

#[tokio::test]
async fn files_print_byte_for_byte_as_the_original_prints_them() {
    for name in ["seed", "types", "txn", "crash"] {
        let expected = binlog_testkit::fixtures::reparo_print(name).unwrap();
        let found = printed_files(name).await;
        let at = found.iter().zip(expected.iter()).position(|(a, b)| a != b);
        assert!(found == expected, "{name} differs at byte {at:?} of {} and {}", found.len(), expected.len());
    }
}
