use std::sync::Arc;

use binlog_types::{SchemaVersion, TableId};
use bytes::Bytes;
use proptest::prelude::*;

use super::Plan;
use crate::codec::{Datum, put_varint};
use crate::encode::{Mutation, delete_row, insert_row, update_row};
use crate::{ChangeKind, ColumnType, Row, Table, TableBuilder, TimeKind, Value, flag, tp};

fn types() -> Vec<ColumnType> {
    let bit = ColumnType { tp: tp::BIT, flen: 10, charset: "binary".into(), ..ColumnType::default() };
    let set = ColumnType { tp: tp::SET, ..ColumnType::enumeration(["x", "y", "z"]) };
    let duration = ColumnType { tp: tp::DURATION, decimal: 3, ..ColumnType::datetime(3) };
    let year = ColumnType { tp: tp::YEAR, ..ColumnType::int() };
    let float = ColumnType { tp: tp::FLOAT, ..ColumnType::double() };
    vec![
        ColumnType::int(),
        ColumnType::bigint().unsigned(),
        ColumnType::double(),
        float,
        ColumnType::decimal(20, 5),
        ColumnType::datetime(6),
        ColumnType::timestamp(0),
        ColumnType::date(),
        duration,
        year,
        ColumnType::varchar(50),
        ColumnType::blob(),
        ColumnType::enumeration(["a", "b"]),
        set,
        bit,
        ColumnType::json(),
    ]
}

fn value(ty: &ColumnType) -> BoxedStrategy<Value> {
    let fsp = ty.fsp();
    let kind = match ty.tp {
        tp::TIMESTAMP => TimeKind::Timestamp,
        tp::DATETIME => TimeKind::DateTime,
        _ => TimeKind::Date,
    };
    match ty.tp {
        tp::LONG => any::<i32>().prop_map(|v| Value::Int(v.into())).boxed(),
        tp::LONGLONG => any::<u64>().prop_map(Value::UInt).boxed(),
        tp::DOUBLE => (-1e9f64..1e9).prop_map(Value::Double).boxed(),
        tp::FLOAT => (-1e9f32..1e9).prop_map(Value::Float).boxed(),
        tp::NEW_DECIMAL => "-?[1-9][0-9]{0,14}\\.[0-9]{5}".prop_map(|t| Value::Decimal(t.into())).boxed(),
        tp::DATETIME | tp::TIMESTAMP | tp::DATE => (1000u64..9999, 1u64..13, 1u64..29)
            .prop_map(move |(y, m, d)| Value::Time { kind, packed: ((y * 13 + m) << 5 | d) << 41, fsp })
            .boxed(),
        tp::DURATION => {
            any::<i32>().prop_map(move |v| Value::Duration { nanos: i64::from(v) * 1000, fsp }).boxed()
        }
        tp::YEAR => (1901i64..2155).prop_map(Value::Year).boxed(),
        tp::VARCHAR => any::<String>().prop_map(|t| Value::Text(t.into())).boxed(),
        tp::BLOB => any::<Vec<u8>>().prop_map(|t| Value::Bytes(t.into())).boxed(),
        tp::ENUM => (0u64..3).prop_map(Value::Enum).boxed(),
        tp::SET => (0u64..8).prop_map(Value::Set).boxed(),
        tp::BIT => (0u64..1024).prop_map(Value::Bit).boxed(),
        _ => any::<Vec<String>>()
            .prop_map(|v| Value::Json(crate::JsonBinary::try_from(&serde_json::json!(v)).unwrap()))
            .boxed(),
    }
}

fn table(key: &[&str]) -> Table {
    let mut builder = TableBuilder::new(TableId(7), "t", SchemaVersion(1));
    for (i, ty) in types().into_iter().enumerate() {
        builder = builder.column(format!("c{i}"), ty);
    }
    let builder = if key.is_empty() { builder } else { builder.primary_key(key) };
    builder.build()
}

fn row() -> impl Strategy<Value = Row> {
    // The first two and the eleventh column are keys in some tables: never NULL.
    let nullable = |(i, ty): (usize, &ColumnType)| {
        let value = value(ty);
        if [0, 1, 10].contains(&i) {
            value.boxed()
        } else {
            prop_oneof![1 => Just(Value::Null), 5 => value].boxed()
        }
    };
    types()
        .iter()
        .enumerate()
        .map(nullable)
        .collect::<Vec<_>>()
        .prop_map(|r| r.into_iter().map(Some).collect())
}

fn plan(table: &Table) -> Plan {
    let table = Arc::new(table.clone());
    Plan::new(Arc::clone(&table), table).unwrap()
}

fn keys() -> impl Strategy<Value = Table> {
    prop::sample::select(vec![table(&[]), table(&["c0"]), table(&["c1"]), table(&["c10", "c0"])])
}

proptest! {
    #[test]
    fn rows_come_back(table in keys(), before in row(), after in row()) {
        let plan = plan(&table);
        let Mutation::Insert(bytes) = insert_row(&table, 1, &before).unwrap() else { panic!() };
        prop_assert_eq!(plan.insert(&bytes).unwrap(), ChangeKind::Insert(before.clone()));
        let Mutation::Delete(bytes) = delete_row(&table, 1, &before).unwrap() else { panic!() };
        prop_assert_eq!(plan.delete(&bytes).unwrap(), ChangeKind::Delete(before.clone()));
        let Mutation::Update(bytes) = update_row(&table, 1, &before, &after).unwrap() else { panic!() };
        prop_assert_eq!(plan.update(&bytes).unwrap(), ChangeKind::Update { before, after });
    }

    #[test]
    fn damaged_rows_do_not_panic(table in keys(), row in row(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let plan = plan(&table);
        let Mutation::Insert(bytes) = insert_row(&table, 1, &row).unwrap() else { panic!() };
        let mut damaged = bytes.to_vec();
        *at.get_mut(&mut damaged) = byte;
        damaged.truncate(cut.index(damaged.len() + 1));
        let damaged = Bytes::from(damaged);
        let _ = (plan.insert(&damaged), plan.update(&damaged), plan.delete(&damaged));
    }
}

#[test]
fn a_common_handle_fills_what_the_row_lacks() {
    let table = TableBuilder::new(TableId(7), "t", SchemaVersion(1))
        .column("a", ColumnType::varbinary(16))
        .column("b", ColumnType::datetime(0))
        .column("v", ColumnType::int())
        .primary_key(&["a", "b"])
        .build();
    let packed = crate::codec::PackedTime::parse("2024-02-29 12:00:00").unwrap().pack();
    let row = vec![
        Some(Value::Bytes(Bytes::from_static(b"k"))),
        Some(Value::Time { kind: TimeKind::DateTime, packed, fsp: 0 }),
        Some(Value::Null),
    ];
    let Mutation::Insert(bytes) = insert_row(&table, 0, &row).unwrap() else { panic!() };
    // Two handle datums, and a row without columns.
    assert_eq!(bytes.last(), Some(&0));
    assert_eq!(plan(&table).insert(&bytes).unwrap(), ChangeKind::Insert(row));
}

#[test]
fn a_row_of_an_older_version_takes_the_origin_default() {
    let old = TableBuilder::new(TableId(7), "t", SchemaVersion(1))
        .column("id", ColumnType::int())
        .primary_key(&["id"])
        .build();
    let mut new = TableBuilder::new(TableId(7), "t", SchemaVersion(2))
        .column("id", ColumnType::int())
        .column("d", ColumnType::int().not_null())
        .primary_key(&["id"])
        .build();
    new.columns[1].origin_default = Some(b"4".to_vec());
    let Mutation::Insert(bytes) = insert_row(&old, 0, &vec![Some(Value::Int(1))]).unwrap() else { panic!() };
    // The writer did not know the column: the sink's default applies. Had it known it, the origin default would.
    let unbound = Plan::new(Arc::new(old), Arc::new(new.clone())).unwrap();
    assert_eq!(unbound.insert(&bytes).unwrap(), ChangeKind::Insert(vec![Some(Value::Int(1)), None]));
    assert_eq!(
        plan(&new).insert(&bytes).unwrap(),
        ChangeKind::Insert(vec![Some(Value::Int(1)), Some(Value::Int(4))])
    );
}

#[test]
fn a_dropped_column_is_passed_over_and_a_changed_one_is_found_by_its_new_id() {
    let old = TableBuilder::new(TableId(7), "t", SchemaVersion(1))
        .column("id", ColumnType::int())
        .column("x", ColumnType::int())
        .primary_key(&["id"])
        .build();
    let mut new = old.clone();
    new.columns[1] = crate::Column { id: 9, ty: ColumnType::varchar(10), ..new.columns[1].clone() };
    // In the middle of the change, TiDB writes the column twice: as it was, and as it will be.
    let mut middle = old.clone();
    middle.columns.push(crate::Column {
        id: 9,
        name: "_Col$_x_0".into(),
        offset: 2,
        ty: ColumnType::varchar(10),
        ..old.columns[1].clone()
    });
    let text = Value::Text(Bytes::from_static(b"5"));
    let row = vec![Some(Value::Int(1)), Some(Value::Int(5)), Some(text.clone())];
    let Mutation::Update(bytes) = update_row(&middle, 0, &row, &row).unwrap() else { panic!() };
    let plan = Plan::new(Arc::new(old), Arc::new(new)).unwrap();
    let projected = vec![Some(Value::Int(1)), Some(text)];
    assert_eq!(
        plan.update(&bytes).unwrap(),
        ChangeKind::Update { before: projected.clone(), after: projected }
    );
}

#[test]
fn a_format_2_row_is_read() {
    let mut table = table(&["c0"]);
    table.columns.truncate(2);
    let mut bytes = Vec::new();
    Datum::Int(5).encode(&mut bytes);
    bytes.extend([0x80, 0, 1, 0, 0, 0, 2, 1, 0, 200]);
    let row = vec![Some(Value::Int(5)), Some(Value::UInt(200))];
    assert_eq!(plan(&table).insert(&bytes.into()).unwrap(), ChangeKind::Insert(row));
}

#[test]
fn wrong_rows_are_refused() {
    let table = table(&["c0"]);
    let plan = plan(&table);
    let datums = |list: &[Datum]| {
        let mut out = Vec::new();
        list.iter().for_each(|d| d.encode(&mut out));
        Bytes::from(out)
    };
    let once = datums(&[Datum::Int(1), Datum::Int(5)]);
    assert!(plan.update(&once).is_err(), "no new value");
    let text = datums(&[Datum::Int(1), Datum::Bytes(Bytes::from_static(b"x"))]);
    assert!(plan.delete(&text).is_err(), "bytes in an INT");
    let twice = datums(&[Datum::Int(1), Datum::Int(5), Datum::Int(1), Datum::Int(5)]);
    assert!(plan.delete(&twice).is_err(), "a column twice");
    let no_id = datums(&[Datum::UInt(1), Datum::Int(5)]);
    assert!(plan.delete(&no_id).is_err(), "an id that is no signed number");
    let mut huge = vec![8, 2, 2];
    put_varint(&mut huge, i64::MAX);
    assert!(plan.delete(&huge.into()).is_err(), "a length beyond the end");
    let enumeration = datums(&[Datum::Int(13), Datum::UInt(3)]);
    assert!(plan.delete(&enumeration).is_err(), "a name that the ENUM lacks");
    assert!(insert_row(&table, 0, &vec![None; 16]).is_err(), "no key");
    assert!(insert_row(&table, 0, &vec![None]).is_err(), "too few values");
    assert_eq!(table.columns[0].ty.flag & flag::PRI_KEY, flag::PRI_KEY);
}
