//! Archives as the original drainer writes them: captured files, and files that are damaged in the ways in which they get damaged.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fuzz;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use binlog_archive::{Archive, Damage, Decoder, Error, MAGIC};
use binlog_catalog::{ChangeKind, Event};
use binlog_proto::pb_binlog;
use binlog_testkit::fixtures;
use binlog_types::{CommitTs, Range};
use jiff::tz::TimeZone;
use prost::Message as _;

fn all() -> Range {
    Range { after: CommitTs::ZERO, through: CommitTs::MAX }
}

fn ddl(commit_ts: i64) -> Vec<u8> {
    let binlog = pb_binlog::Binlog {
        tp: pb_binlog::BinlogType::Ddl as i32,
        commit_ts,
        dml_data: None,
        ddl_query: Some(format!("create database d{commit_ts}").into_bytes().into()),
    };
    let payload = binlog.encode_to_vec();
    let mut out = MAGIC.to_le_bytes().to_vec();
    out.extend((payload.len() as u64).to_le_bytes());
    out.extend(&payload);
    out.extend(crc32c::crc32c(&payload).to_le_bytes());
    out
}

fn file(dir: &Path, index: u64, bytes: &[Vec<u8>]) {
    fs::write(dir.join(format!("binlog-{index:016}-20190101010101")), bytes.concat()).unwrap();
}

/// The commit_ts of all records of a range, and the error that ended them.
fn read(dir: &Path, range: Range) -> (Vec<u64>, Option<Error>) {
    let mut records = match Archive::open(dir) {
        Ok(archive) => archive.records(range),
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut out = Vec::new();
    loop {
        match records.next() {
            Ok(Some((_, _, binlog))) => out.push(binlog.commit_ts as u64),
            Ok(None) => return (out, None),
            Err(error) => return (out, Some(error)),
        }
    }
}

/// DDL statements and rows of a capture's files.
fn count(name: &str) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    fixtures::unpack_drainer_files(name, dir.path()).unwrap();
    let mut records = Archive::open(dir.path()).unwrap().records(all());
    let mut decoder = Decoder::typed(TimeZone::UTC);
    let (mut ddls, mut rows) = (0, 0);
    while let Some((path, record, binlog)) = records.next().unwrap() {
        match decoder.event(&path, &record, binlog).unwrap() {
            Event::Ddl(_) => ddls += 1,
            Event::Transaction(txn) => rows += txn.changes.len(),
        }
    }
    assert_eq!((records.copies(), records.stop().unwrap().torn), (0, None), "{name}");
    (ddls, rows)
}

#[test]
fn captured_files_hold_what_the_original_printed_of_them() {
    for name in ["seed", "types", "txn", "crash"] {
        let printed = fixtures::reparo_print(name).unwrap();
        let lines = |prefix: &[u8]| printed.split(|b| *b == b'\n').filter(|l| l.starts_with(prefix)).count();
        assert_eq!(count(name), (lines(b"DDL query: "), lines(b"schema: ")), "{name}");
    }
    assert!(count("ddl").0 > 20);
}

#[test]
fn rows_have_columns_types_and_values() {
    let dir = tempfile::tempdir().unwrap();
    // The golden record of the original: an insert into test.t1.
    let hex = "04051b1c96000000000000000800108480f0c6fba2b894061a87010a84010a047465737412027431180022100a0269641201031a03696e742202080222150a017612010f1a0776\
               61726368617222040204616222120a01741201fc1a0474657874220402046162220e0a016e1201031a03696e7422010022100a01651201f71a04656e756d2202090222170a01\
               641201f61a07646563696d616c22060208312e35307d9476dc";
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    file(dir.path(), 0, &[bytes]);
    let mut records = Archive::open(dir.path()).unwrap().records(all());
    let (path, record, binlog) = records.next().unwrap().unwrap();
    let Event::Transaction(txn) = Decoder::as_written().event(&path, &record, binlog).unwrap() else {
        panic!("rows")
    };
    assert_eq!(txn.commit_ts.raw(), 443_852_055_297_916_932);
    let change = &txn.changes[0];
    let names: Vec<&str> = change.table.table.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!((&*change.table.schema, names), ("test", vec!["id", "v", "t", "n", "e", "d"]));
    assert!(matches!(&change.kind, ChangeKind::Insert(row) if row.len() == 6));
}

#[test]
fn only_files_that_can_hold_the_range_are_opened() {
    let dir = tempfile::tempdir().unwrap();
    file(dir.path(), 0, &[b"junk that no record begins with".to_vec()]);
    fs::rename(
        dir.path().join("binlog-0000000000000000-20190101010101"),
        dir.path().join("binlog-0000000000000000-20190101010101-5"),
    )
    .unwrap();
    file(dir.path(), 1, &[ddl(10), ddl(20)]);
    file(dir.path(), 2, &[ddl(30), ddl(40)]);
    // What the drainer leaves right after a rotation: it must not take the place of the file before it.
    file(dir.path(), 3, &[]);
    let range = |after, through| Range { after: CommitTs::new(after), through: CommitTs::new(through) };
    assert_eq!(read(dir.path(), range(10, 30)).0, [20, 30]);
    assert_eq!(read(dir.path(), range(35, 99)).0, [40]);
    assert_eq!(read(dir.path(), range(40, 99)).0, Vec::<u64>::new());
    let (found, error) = read(dir.path(), range(0, 99));
    assert!(found.is_empty() && matches!(error, Some(Error::Damaged { offset: 0, .. })), "{error:?}");
}

#[test]
fn what_a_killed_drainer_wrote_again_comes_once() {
    let dir = tempfile::tempdir().unwrap();
    let torn = ddl(30)[..20].to_vec();
    file(dir.path(), 0, &[ddl(10), ddl(20), torn, ddl(20), ddl(30), ddl(40)]);
    let (found, error) = read(dir.path(), all());
    assert_eq!(found, [10, 20]);
    let offset = (ddl(10).len() + ddl(20).len()) as u64;
    assert!(matches!(&error, Some(Error::Damaged { offset: at, .. }) if *at == offset), "{error:?}");

    let mut records = Archive::open(dir.path()).unwrap().records(all());
    while let Ok(Some(_)) = records.next() {}
    assert_eq!(records.skip_damage().unwrap(), 20);
    let rest: Vec<i64> =
        std::iter::from_fn(|| records.next().unwrap().map(|(_, _, binlog)| binlog.commit_ts)).collect();
    assert_eq!((rest, records.copies()), (vec![30, 40], 1));
}

#[test]
fn a_torn_record_is_the_end_only_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    file(dir.path(), 0, &[ddl(10), ddl(20)[..15].to_vec()]);
    assert!(matches!(read(dir.path(), all()), (found, None) if found == [10]));
    let mut records = Archive::open(dir.path()).unwrap().records(all());
    while records.next().unwrap().is_some() {}
    assert_eq!(records.stop().unwrap().torn, Some(ddl(10).len() as u64));
    file(dir.path(), 1, &[ddl(20)]);
    let (_, error) = read(dir.path(), all());
    assert!(matches!(error, Some(Error::Damaged { damage: Damage::Torn { have: 15 }, .. })), "{error:?}");
}

#[test]
fn missing_files_and_disorder_are_known() {
    let dir = tempfile::tempdir().unwrap();
    file(dir.path(), 2, &[ddl(10)]);
    file(dir.path(), 4, &[ddl(30)]);
    let gaps = Archive::open(dir.path()).unwrap().gaps();
    let ranges: Vec<(u64, u64)> = gaps.iter().map(|(r, _)| (r.after.raw(), r.through.raw())).collect();
    assert_eq!(ranges, [(0, 9), (10, 29)]);
    file(dir.path(), 5, &[ddl(25)]);
    assert!(matches!(read(dir.path(), all()).1, Some(Error::Disorder { .. })));
    fs::copy(
        dir.path().join("binlog-0000000000000004-20190101010101"),
        dir.path().join("binlog-0000000000000004-20200101010101"),
    )
    .unwrap();
    assert!(matches!(Archive::open(dir.path()), Err(Error::SameIndex { .. })));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Archive::open(empty.path()), Err(Error::NoFile { .. })));
}

#[test]
fn packed_files_are_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&[ddl(10), ddl(20)].concat()).unwrap();
    let packed = packer.finish().unwrap();
    let path = dir.path().join("binlog-0000000000000000-20190101010101.gz");
    fs::write(&path, &packed).unwrap();
    assert!(matches!(read(dir.path(), all()), (found, None) if found == [10, 20]));
    fs::write(&path, &packed[..packed.len() - 12]).unwrap();
    file(dir.path(), 1, &[ddl(30)]);
    let (_, error) = read(dir.path(), all());
    assert!(matches!(error, Some(Error::Damaged { damage: Damage::Unpack(_), .. })), "{error:?}");
}
