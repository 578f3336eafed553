use super::*;
use crate::meta::{JobSpec, database_json, database_object, job_json, job_type, objects_of_job, table_json};
use crate::{ColumnType, TableBuilder};

fn table(id: i64, name: &str, version: i64) -> Table {
    TableBuilder::new(TableId(id), name, SchemaVersion(version))
        .column("id", ColumnType::int())
        .primary_key(&["id"])
        .build()
}

fn object(table: &Table, parent_id: i64) -> SchemaObject {
    SchemaObject {
        kind: ObjectKind::Table as i32,
        id: table.id.0,
        schema_version: table.version.0,
        parent_id,
        json: table_json(table).into(),
        ..SchemaObject::default()
    }
}

#[test]
fn the_newest_version_at_or_below() {
    let mut history = SchemaHistory::default();
    for version in [3, 7] {
        history.insert(object(&table(10, &format!("t{version}"), version), 1)).unwrap();
    }
    let name = |v| history.table_at(TableId(10), SchemaVersion(v)).map(|t| t.name.clone());
    assert_eq!(
        [name(2), name(3), name(6), name(7), name(99)].map(Option::unwrap_or_default),
        ["", "t3", "t3", "t7", "t7"]
    );
    let near = history.table_near(TableId(10), SchemaVersion(1)).unwrap();
    assert_eq!(near.name, "t3");
}

#[test]
fn the_same_twice_is_fine_and_something_else_is_not() {
    let mut history = SchemaHistory::default();
    history.insert(object(&table(10, "t", 3), 1)).unwrap();
    history.insert(object(&table(10, "t", 3), 1)).unwrap();
    assert!(matches!(history.insert(object(&table(10, "u", 3), 1)), Err(Error::Conflict { .. })));
    let dropped = SchemaObject { dropped: true, json: Default::default(), ..object(&table(10, "t", 3), 1) };
    assert!(matches!(history.insert(dropped), Err(Error::Conflict { .. })));
}

#[test]
fn of_two_snapshots_the_older_one_stays_in_whatever_order() {
    let at = |stamp, name| SchemaObject { finished_ts: stamp, ..object(&table(10, name, 0), 1) };
    for objects in
        [[at(5, "old"), at(9, "new")], [at(9, "new"), at(5, "old")], [at(5, "old"), at(5, "young")]]
    {
        let mut history = SchemaHistory::default();
        for object in objects {
            history.insert(object).unwrap();
        }
        let found = history.table_at(TableId(10), SchemaVersion(3)).unwrap();
        assert_eq!(found.name, "old");
    }
}

#[test]
fn a_job_brings_its_objects() {
    let database = Database { id: 1, name: "d".into(), version: SchemaVersion(1), ..Database::default() };
    let t = table(10, "t", 2);
    let spec = JobSpec {
        id: 5,
        job_type: job_type::CREATE_TABLE,
        schema_id: 1,
        schema_name: "d",
        table_id: 10,
        query: "create table t (id int primary key)",
        schema_version: 2,
        table: Some(&t),
        ..JobSpec::default()
    };
    let objects = objects_of_job(&job_json(&spec)).unwrap();
    assert_eq!(
        objects.iter().map(|o| (o.kind(), o.id, o.parent_id)).collect::<Vec<_>>(),
        [(ObjectKind::Table, 10, 1), (ObjectKind::Job, 5, 1)]
    );
    let mut history = SchemaHistory::default();
    history.insert(database_object(&database_json(&database), SchemaVersion(1)).unwrap()).unwrap();
    history.insert(objects.into_iter().next_back().unwrap()).unwrap();
    assert_eq!(*history.table_at(TableId(10), SchemaVersion(2)).unwrap(), t);
}

/// `USE d1; RENAME TABLE a TO b, c TO d2.c`, and the like: a name without a database is of the session's.
#[test]
fn a_rename_of_several_tables_finds_each_database() {
    let rename = |query: &str, involved: &str| {
        let mut history = SchemaHistory::default();
        for (id, name) in [(1, "d1"), (2, "d2"), (3, "d3")] {
            let database =
                Database { id, name: name.into(), version: SchemaVersion(1), ..Database::default() };
            history.insert(database_object(&database_json(&database), SchemaVersion(1)).unwrap()).unwrap();
        }
        history.insert(object(&table(10, "a", 2), 1)).unwrap();
        history.insert(object(&table(11, "c", 3), 1)).unwrap();
        let info = |id, name| String::from_utf8(table_json(&table(id, name, 4))).unwrap();
        // The job itself is filed under the database of its last table.
        let json = format!(
            r#"{{"id":7,"type":47,"schema_id":2,"table_id":10,"state":6,"query":"{query}","involving_schema_info":{involved},
                "binlog":{{"SchemaVersion":4,"FinishedTS":9,"MultipleTableInfos":[{},{}]}}}}"#,
            info(10, "b"),
            info(11, "c")
        );
        for object in objects_of_job(json.as_bytes()).unwrap() {
            history.insert(object).unwrap();
        }
        history.complete_to(SchemaVersion(4));
        [10, 11].map(|id| history.table_before(TableId(id), SchemaVersion(5)).unwrap().0)
    };
    assert_eq!(rename("RENAME TABLE a TO b, c TO d2.c", "null"), [1, 2]);
    assert_eq!(rename("RENAME TABLE d1.a TO d3.b, c TO c", "null"), [3, 1]);
    let involved = r#"[{"database":"d1","table":"a"},{"database":"d1","table":"b"},{"database":"d1","table":"c"},{"database":"d3","table":"c"}]"#;
    assert_eq!(rename("RENAME TABLE d1.a TO b, d1.c TO d2.c", involved), [1, 3], "what TiDB says counts");
}

/// Where the history begins behind the exchange's tables, one that was read as it stood then is the other one.
#[test]
fn an_exchange_finds_its_plain_table() {
    let exchange = JobSpec {
        id: 7,
        job_type: job_type::EXCHANGE_TABLE_PARTITION,
        schema_id: 1,
        table_id: 12,
        schema_version: 4,
        table: Some(&table(10, "parts", 4)),
        ..JobSpec::default()
    };
    let mut history = SchemaHistory::default();
    for object in objects_of_job(&job_json(&exchange)).unwrap() {
        history.insert(object).unwrap();
    }
    history.insert(object(&table(11, "plain", 4), 1)).unwrap();
    history.insert(object(&table(20, "other", 3), 1)).unwrap();
    history.complete_to(SchemaVersion(4));
    assert_eq!(history.derived(JobId(7)), [TableId(11)]);
}

/// Read from TiKV before its job was in the history: other stamps, and a job of a rename knows no database.
#[test]
fn two_sources_may_say_the_same_in_other_words() {
    let read = object(&table(10, "t", 3), 1);
    let stamped =
        String::from_utf8(read.json.to_vec()).unwrap().replacen('{', r#"{"update_timestamp":77,"#, 1);
    let carried = SchemaObject { json: stamped.into(), parent_id: 0, finished_ts: 77, ..read };
    assert_ne!(read.json, carried.json);
    assert!(same_object(&read, &carried) && same_object(&carried, &read));
    assert!(!same_object(&read, &object(&table(10, "u", 3), 1)));
    assert!(!same_object(&read, &object(&table(10, "t", 3), 2)));
    assert!(!same_object(&read, &object(&table(10, "t", 4), 1)));
    assert!(!same_object(&read, &SchemaObject { dropped: true, ..read.clone() }));
}

#[test]
fn what_lies_behind_is_let_go_but_for_what_may_come_back() {
    let database = Database { id: 1, name: "d".into(), version: SchemaVersion(1), ..Database::default() };
    let mut history = SchemaHistory::default();
    history.insert(database_object(&database_json(&database), SchemaVersion(1)).unwrap()).unwrap();
    let gone = |id, version| SchemaObject {
        kind: ObjectKind::Table as i32,
        id,
        schema_version: version,
        dropped: true,
        parent_id: 1,
        ..SchemaObject::default()
    };
    for version in [2, 3, 4] {
        history.insert(object(&table(10, &format!("lives{version}"), version), 1)).unwrap();
        history.insert(object(&table(11, &format!("dropped{version}"), version), 1)).unwrap();
        history.insert(object(&table(12, &format!("with{version}"), version), 1)).unwrap();
    }
    history.insert(gone(11, 5)).unwrap();
    history.insert(gone(12, 6)).unwrap();
    let dropped_database = SchemaObject { kind: ObjectKind::Database as i32, id: 1, ..gone(1, 6) };
    history.insert(dropped_database).unwrap();
    history.forget(SchemaVersion(7));
    let before =
        |id, version| history.table_before(TableId(id), SchemaVersion(version)).map(|(_, t)| t.name.clone());
    assert_eq!(before(10, 9).as_deref(), Some("lives4"));
    assert_eq!(before(10, 4), None, "an older version of what lives");
    assert_eq!(before(11, 5), None, "what was dropped");
    assert_eq!(before(12, 6).as_deref(), Some("with4"), "what went with its database");
    assert!(history.database_before(1, SchemaVersion(6)).is_some());
    assert_eq!(history.size(), 1 + 2 + 2);
}
