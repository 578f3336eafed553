use binlog_proto::store::ObjectKind;
use binlog_types::TableId;
use bytes::Bytes;

use super::*;
use crate::encode::{Mutation, delete_row, insert_row, prewrite_value};
use crate::meta::{JobSpec, MAX_GLOBAL_ID, database_json, database_object, job_json, objects_of_job};
use crate::{ChangeKind, ColumnType, Database, Row, SchemaChange, Table, TableBuilder, Value};

pub(super) const DB: i64 = 2;

pub(super) fn table(id: i64, name: &str, version: i64) -> Table {
    TableBuilder::new(TableId(id), name, SchemaVersion(version))
        .column("id", ColumnType::bigint())
        .column("v", ColumnType::varchar(20))
        .primary_key(&["id"])
        .build()
}

pub(super) fn job(
    id: i64,
    kind: u8,
    table_id: i64,
    version: i64,
    table: Option<&Table>,
) -> Vec<SchemaObject> {
    let spec = JobSpec {
        id,
        job_type: kind,
        schema_id: DB,
        schema_name: "d",
        table_id,
        query: "…",
        schema_version: version,
        finished_ts: version as u64 * 10,
        table,
        ..JobSpec::default()
    };
    objects_of_job(&job_json(&spec)).unwrap()
}

pub(super) fn database() -> SchemaObject {
    let database = Database { id: DB, name: "d".into(), version: SchemaVersion(1), ..Database::default() };
    database_object(&database_json(&database), SchemaVersion(1)).unwrap()
}

pub(super) fn row(id: i64, v: &str) -> Row {
    vec![Some(Value::Int(id)), Some(Value::Text(v.to_owned().into()))]
}

pub(super) fn dml(version: i64, id: i64, mutations: Vec<Mutation>) -> Body {
    let value = prewrite_value(SchemaVersion(version), vec![(TableId(id), mutations)]);
    Body { prewrite_value: Some(value), ..Body::default() }
}

pub(super) fn ddl(job: i64) -> Body {
    Body { ddl_query: Some("alter …".into()), ddl_job_id: job, ddl_schema_state: 5, ..Body::default() }
}

pub(super) fn step(interpreter: &mut Interpreter, ts: u64, body: &Body) -> Result<Step, Error> {
    interpreter.step(StartTs::new(ts - 1), CommitTs::new(ts), body)
}

pub(super) fn event(interpreter: &mut Interpreter, ts: u64, body: &Body) -> Event {
    match step(interpreter, ts, body).unwrap() {
        Step::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

/// Version 2 creates t (10), 3 truncates it (11), 4 renames it.
pub(super) fn fed(start: Start) -> Interpreter {
    let mut objects = vec![database()];
    objects.extend(job(100, job_type::CREATE_TABLE, 10, 2, Some(&table(10, "t", 2))));
    objects.extend(job(101, job_type::TRUNCATE_TABLE, 10, 3, Some(&table(11, "t", 3))));
    objects.extend(job(102, job_type::RENAME_TABLE, 11, 4, Some(&table(11, "u", 4))));
    let mut interpreter = Interpreter::new(start);
    interpreter.extend(objects, SchemaVersion(4)).unwrap();
    interpreter
}

#[test]
fn the_schema_moves_with_the_ddls_of_the_stream() {
    let mut interpreter = fed(Start::Version(SchemaVersion(1)));
    let insert = |id, v: &str| insert_row(&table(id, "t", 2), 0, &row(1, v)).unwrap();
    let Event::Ddl(create) = event(&mut interpreter, 20, &ddl(100)) else { panic!() };
    assert!(
        matches!(&create.changes[..], [SchemaChange::CreateTable(t)] if &*t.schema == "d" && t.table.name == "t")
    );
    // The writer knew a later version: the name is still the one of this position.
    let Event::Transaction(rows) = event(&mut interpreter, 21, &dml(2, 10, vec![insert(10, "a")])) else {
        panic!()
    };
    assert_eq!(
        (rows.changes[0].table.table.name.as_str(), &rows.changes[0].kind),
        ("t", &ChangeKind::Insert(row(1, "a")))
    );
    let Event::Ddl(truncate) = event(&mut interpreter, 30, &ddl(101)) else { panic!() };
    assert!(
        matches!(&truncate.changes[..], [SchemaChange::TruncateTable { before, after }] if before.table.id.0 == 10 && after.table.id.0 == 11)
    );
    // Rows of the truncated id are left out, and counted.
    let Event::Transaction(rows) = event(&mut interpreter, 31, &dml(2, 10, vec![insert(10, "b")])) else {
        panic!()
    };
    assert_eq!((rows.changes.len(), interpreter.skipped_rows()), (0, 1));
    let Event::Ddl(rename) = event(&mut interpreter, 40, &ddl(102)) else { panic!() };
    assert!(
        matches!(&rename.changes[..], [SchemaChange::RenameTable { before, after }] if before.table.name == "t" && after.table.name == "u")
    );
    assert_eq!(interpreter.schema_version(), SchemaVersion(4));
    assert_eq!(interpreter.tables().iter().map(|t| t.table.name.as_str()).collect::<Vec<_>>(), ["u"]);
}

#[test]
fn it_asks_for_what_it_needs() {
    let mut interpreter = Interpreter::new(Start::Version(SchemaVersion(1)));
    let body = dml(2, 10, vec![]);
    assert!(matches!(step(&mut interpreter, 20, &body), Ok(Step::NeedVersion(SchemaVersion(1)))));
    interpreter.extend(vec![database()], SchemaVersion(1)).unwrap();
    assert!(matches!(step(&mut interpreter, 20, &body), Ok(Step::NeedVersion(SchemaVersion(2)))));
    assert!(matches!(step(&mut interpreter, 20, &ddl(100)), Ok(Step::NeedJob(JobId(100)))));
    interpreter
        .extend(job(100, job_type::CREATE_TABLE, 10, 2, Some(&table(10, "t", 2))), SchemaVersion(1))
        .unwrap();
    assert!(matches!(step(&mut interpreter, 20, &ddl(100)), Ok(Step::NeedVersion(SchemaVersion(2)))));
    interpreter.extend(vec![], SchemaVersion(2)).unwrap();
    assert!(matches!(step(&mut interpreter, 20, &ddl(100)), Ok(Step::Event(Event::Ddl(_)))));
}

#[test]
fn what_has_no_effect_says_why() {
    let mut interpreter = fed(Start::Version(SchemaVersion(4)));
    let fake = interpreter.step(StartTs::new(5), CommitTs::new(5), &Body::default()).unwrap();
    assert!(matches!(fake, Step::Skipped(SkipReason::Fake)));
    let setval = Body { ddl_query: Some("SELECT SETVAL(`d`.`s`, 1);".into()), ..ddl(999) };
    let early = Body { ddl_schema_state: DELETE_ONLY, ..ddl(102) };
    let known = ddl(102);
    let mut rolled_back = JobSpec { id: 103, job_type: job_type::ADD_INDEX, ..JobSpec::default() };
    rolled_back.schema_version = 0;
    interpreter.extend(objects_of_job(&job_json(&rolled_back)).unwrap(), SchemaVersion(4)).unwrap();
    let system =
        job(104, job_type::CREATE_TABLE, MAX_GLOBAL_ID + 1, 5, Some(&table(MAX_GLOBAL_ID + 1, "s", 5)));
    interpreter.extend(system, SchemaVersion(5)).unwrap();
    for body in [setval, early, known, ddl(103), ddl(104)] {
        let step = step(&mut interpreter, 50, &body).unwrap();
        assert!(matches!(step, Step::Skipped(SkipReason::NoEffect(_))), "{step:?}");
    }
}

/// It makes no version; only one that was done stops the stream.
#[test]
fn a_flashback_of_the_cluster_stops_unless_it_was_cancelled() {
    let mut interpreter = fed(Start::Version(SchemaVersion(4)));
    for (id, state) in [(110, 6), (111, 5), (112, 3)] {
        let json = format!(
            r#"{{"id":{id},"type":62,"state":{state},"query":"flashback cluster …","binlog":{{"SchemaVersion":0,"FinishedTS":50}}}}"#
        );
        interpreter.extend(objects_of_job(json.as_bytes()).unwrap(), SchemaVersion(4)).unwrap();
    }
    let error = step(&mut interpreter, 50, &ddl(110)).unwrap_err().to_string();
    assert!(error.contains("commit_ts 50") && error.contains("FLASHBACK CLUSTER"), "{error}");
    for id in [111, 112] {
        assert!(matches!(step(&mut interpreter, 51, &ddl(id)), Ok(Step::Skipped(_))), "{id}");
    }
}

/// A pump that starts while a table is created sees it in its first snapshot, maybe half done; the job says that it is new.
#[test]
fn a_table_that_a_snapshot_showed_too_early_is_still_created() {
    let mut early = table(30, "n", 0);
    early.indexes.iter_mut().for_each(|index| index.public = false);
    let snapshot = SchemaObject {
        kind: ObjectKind::Table as i32,
        id: 30,
        parent_id: DB,
        json: crate::meta::table_json(&early).into(),
        ..SchemaObject::default()
    };
    let mut interpreter = fed(Start::Version(SchemaVersion(4)));
    let mut objects = vec![snapshot];
    objects.extend(job(120, job_type::CREATE_TABLE, 30, 5, Some(&table(30, "n", 5))));
    interpreter.extend(objects, SchemaVersion(5)).unwrap();
    let Event::Ddl(ddl) = event(&mut interpreter, 50, &ddl(120)) else { panic!() };
    assert!(
        matches!(&ddl.changes[..], [SchemaChange::CreateTable(t)] if t.table.id.0 == 30),
        "{:?}",
        ddl.changes
    );
}

/// Rows change places without a binlog: whoever has one of the tables must not go on as if nothing had happened.
#[test]
fn an_exchange_with_a_table_that_is_not_known_is_an_error() {
    let exchange = || job(130, job_type::EXCHANGE_TABLE_PARTITION, 99, 5, Some(&table(11, "u", 5)));
    let mut interpreter = fed(Start::Version(SchemaVersion(4)));
    interpreter.extend(exchange(), SchemaVersion(5)).unwrap();
    let error = step(&mut interpreter, 50, &ddl(130)).unwrap_err().to_string();
    assert!(error.contains("commit_ts 50") && error.contains("job 130") && error.contains("d.u"), "{error}");
    assert_eq!(interpreter.schema_version(), SchemaVersion(4), "the state is as before");

    let mut others = fed(Start::Version(SchemaVersion(4)));
    others.set_wanted(|_, name| name != "u");
    others.extend(exchange(), SchemaVersion(5)).unwrap();
    let Event::Ddl(ddl) = event(&mut others, 50, &ddl(130)) else { panic!() };
    assert_eq!((ddl.changes.len(), others.schema_version()), (0, SchemaVersion(5)));
}

/// What is not wanted is not decoded, under whatever name the table has by then.
#[test]
fn rows_that_are_not_wanted_are_not_looked_at() {
    let mut interpreter = fed(Start::Version(SchemaVersion(3)));
    interpreter.set_wanted(|schema, name| schema == "d" && name != "t");
    let torn = || dml(3, 11, vec![Mutation::Insert(vec![8].into())]);
    let Event::Transaction(rows) = event(&mut interpreter, 35, &torn()) else { panic!() };
    assert_eq!((rows.changes.len(), interpreter.skipped_rows()), (0, 0));
    assert!(matches!(event(&mut interpreter, 40, &ddl(102)), Event::Ddl(d) if d.changes.len() == 1));
    let error = step(&mut interpreter, 50, &torn()).unwrap_err();
    assert!(matches!(error, Error::Record { .. }), "renamed to a name that is wanted: {error}");
}

#[test]
fn errors_name_the_record() {
    let mut interpreter = fed(Start::Version(SchemaVersion(4)));
    let unknown = step(&mut interpreter, 50, &dml(4, 99, vec![])).unwrap_err();
    assert!(matches!(unknown, Error::UnknownTable { table: TableId(99), .. }), "{unknown}");
    let torn = dml(4, 11, vec![Mutation::Insert(vec![8].into())]);
    let torn = step(&mut interpreter, 50, &torn).unwrap_err().to_string();
    assert!(torn.contains("commit_ts 50") && torn.contains("11 (d.u)"), "{torn}");
    let garbage = Body { prewrite_value: Some(vec![0x08, 4, 0xff].into()), ..Body::default() };
    assert!(matches!(step(&mut interpreter, 50, &garbage), Err(Error::Undecodable { .. })));
}

#[test]
fn the_sequence_must_fit_the_rows() {
    use binlog_proto::binlog::{PrewriteValue, TableMutation};
    use prost::Message;
    let mut interpreter = fed(Start::Version(SchemaVersion(4)));
    let t = table(11, "u", 4);
    let Mutation::Insert(inserted) = insert_row(&t, 0, &row(1, "a")).unwrap() else { panic!() };
    let Mutation::Delete(deleted) = delete_row(&t, 0, &row(1, "a")).unwrap() else { panic!() };
    for (sequence, valid) in [
        (vec![4, 0], true),
        (vec![0], false),
        (vec![0, 0], false),
        (vec![0, 4, 4], false),
        (vec![0, 4, 2], false),
        (vec![0, 4, 77], false),
    ] {
        let mutation = TableMutation {
            table_id: 11,
            inserted_rows: vec![inserted.clone()],
            deleted_rows: vec![deleted.clone()],
            sequence: sequence.clone(),
            ..TableMutation::default()
        };
        let value = PrewriteValue { schema_version: 4, mutations: vec![mutation] }.encode_to_vec();
        let body = Body { prewrite_value: Some(value.into()), ..Body::default() };
        assert_eq!(step(&mut interpreter, 50, &body).is_ok(), valid, "{sequence:?}");
    }
}

#[test]
fn a_start_between_a_version_and_its_record_still_sees_the_change() {
    // At 25 the truncation (stamp 30) is not there; at 35 it is, though its record comes at 36.
    for (start, ids) in [(25, [10]), (35, [11])] {
        let mut interpreter = fed(Start::At(CommitTs::new(start)));
        let _ = step(&mut interpreter, 36, &Body::default()).unwrap();
        assert_eq!(interpreter.tables().iter().map(|t| t.table.id.0).collect::<Vec<_>>(), ids);
        let Event::Ddl(truncate) = event(&mut interpreter, 36, &ddl(101)) else { panic!() };
        assert!(
            matches!(&truncate.changes[..], [SchemaChange::TruncateTable { before, after }] if before.table.id.0 == 10 && after.table.id.0 == 11)
        );
    }
}

#[test]
fn a_table_that_no_ddl_made_is_taken_from_the_history() {
    let mut interpreter = fed(Start::Version(SchemaVersion(4)));
    let json = crate::meta::table_json(&table(20, "restored", 5));
    let object = SchemaObject {
        kind: ObjectKind::Table as i32,
        id: 20,
        schema_version: 5,
        parent_id: DB,
        json: json.into(),
        ..SchemaObject::default()
    };
    interpreter.extend(vec![object], SchemaVersion(5)).unwrap();
    let insert = insert_row(&table(20, "restored", 5), 0, &row(1, "a")).unwrap();
    let Event::Transaction(rows) = event(&mut interpreter, 60, &dml(5, 20, vec![insert])) else { panic!() };
    assert_eq!(rows.changes[0].table.table.name, "restored");
}

/// A job of a kind that no TiDB has yet, and one that is no job at all.
fn fed_with_the_unknown(policy: UnknownDdl) -> Interpreter {
    let mut interpreter = fed(Start::Version(SchemaVersion(4)));
    interpreter.set_unknown_ddl(policy);
    let mut wider = table(11, "u", 5);
    wider.comment = "new".into();
    wider.json = crate::meta::table_json(&wider).into();
    interpreter.extend(job(105, 200, 11, 5, Some(&wider)), SchemaVersion(5)).unwrap();
    let torn = SchemaObject {
        kind: ObjectKind::Job as i32,
        id: 106,
        json: Bytes::from_static(b"{\"id\":106}"),
        ..SchemaObject::default()
    };
    interpreter.extend(vec![torn], SchemaVersion(5)).unwrap();
    interpreter
}

#[test]
fn ddls_of_unknown_kinds_follow_the_policy() {
    let mut stored = fed_with_the_unknown(UnknownDdl::Store);
    let Event::Ddl(ddl) = event(&mut stored, 50, &ddl(105)) else { panic!() };
    assert!(matches!(&ddl.changes[..], [SchemaChange::AlterTable { .. }]));
    assert!(matches!(step(&mut stored, 51, &self::ddl(106)), Err(Error::UnreadableJob { .. })));

    let mut skipped = fed_with_the_unknown(UnknownDdl::Skip);
    let Event::Ddl(ddl) = event(&mut skipped, 50, &self::ddl(105)) else { panic!() };
    assert!(ddl.changes.is_empty());
    assert_eq!(skipped.tables()[0].table.comment, "new", "the schema follows all the same");
    assert!(matches!(step(&mut skipped, 51, &self::ddl(106)), Ok(Step::Skipped(_))));

    let mut stopped = fed_with_the_unknown(UnknownDdl::Stop);
    let error = step(&mut stopped, 50, &self::ddl(105)).unwrap_err();
    assert!(matches!(error, Error::UnknownDdl { kind: 200, .. }), "{error}");
}

/// A stream of very many DDLs holds as much history as one of few: tables that live on, and what lies near the stream's position.
#[test]
fn many_ddls_need_no_more_memory_than_few() {
    let jobs: i64 = if cfg!(debug_assertions) { 5_000 } else { 100_000 };
    let mut interpreter = Interpreter::new(Start::Version(SchemaVersion(1)));
    interpreter.extend(vec![database()], SchemaVersion(1)).unwrap();
    let (mut peak, mut version, mut page) = (0, 1, Vec::new());
    let kinds =
        [job_type::CREATE_TABLE, job_type::RENAME_TABLE, job_type::TRUNCATE_TABLE, job_type::DROP_TABLE];
    for number in 0..jobs {
        let kind = kinds[(number % 4) as usize];
        let id = 1000 + number / 4 * 2;
        version += 1;
        // TRUNCATE leaves the table under the next id.
        let (old, new) = if number % 4 < 2 { (id, id) } else { (id + number % 4 - 2, id + 1) };
        let name = if number % 4 == 0 { "t" } else { "renamed" };
        let after = table(new, name, version);
        page.extend(job(number + 1, kind, old, version, Some(&after)));
        if page.len() < 500 && number + 1 < jobs {
            continue;
        }
        interpreter.extend(std::mem::take(&mut page), SchemaVersion(version)).unwrap();
        let done = interpreter.schema_version().0;
        for version in done + 1..=version {
            let body = ddl(version - 1);
            assert!(
                matches!(event(&mut interpreter, version as u64 * 10, &body), Event::Ddl(d) if d.changes.len() == 1)
            );
        }
        peak = peak.max(interpreter.history().size());
    }
    assert!(interpreter.tables().is_empty());
    // Every DDL makes a job and at most two versions of tables.
    let bound = 3 * (HISTORY_BEHIND as usize + FORGET_EVERY + 250) + 2;
    println!("{jobs} DDLs: at most {peak} objects held at a time");
    assert!(peak <= bound, "{peak} objects, {bound} expected");
}
