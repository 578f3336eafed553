//! What becomes of rows that are there when their table changes.

use std::sync::Arc;

use binlog_catalog::{Column, ColumnType, Event, Projection, Row, SchemaChange, Table, TableRef, Value, tp};
use binlog_types::Zone;

use crate::support::{Database, builder, created, ddl, delete, in_db, insert, int, txn, update};

fn number(tp: u8, flen: i64, decimal: i64) -> ColumnType {
    ColumnType { tp, flen, decimal, ..ColumnType::int() }
}

fn of_names(tp: u8, names: &[&str]) -> ColumnType {
    ColumnType { tp, ..ColumnType::enumeration(names.iter().copied()) }
}

fn binary(length: u32) -> ColumnType {
    ColumnType { tp: tp::STRING, ..ColumnType::varbinary(length) }
}

/// `c` in this type, beside a key.
fn table(ty: ColumnType) -> TableRef {
    in_db(
        builder(1, "t")
            .column("id", ColumnType::int())
            .column("c", ty)
            .primary_key(&["id"])
            .index("ic", &["c"])
            .build(),
    )
}

fn changed(table: &TableRef, change: impl FnOnce(&mut Table)) -> TableRef {
    let mut next = (*table.table).clone();
    change(&mut next);
    for (offset, column) in next.columns.iter_mut().enumerate() {
        column.offset = offset;
    }
    TableRef { schema: table.schema.clone(), table: Arc::new(next) }
}

fn alter(before: &TableRef, after: &TableRef, zone: Option<Zone>) -> Event {
    let change = SchemaChange::AlterTable { before: before.clone(), after: after.clone() };
    match ddl(1 << 50, "alter", vec![change]) {
        Event::Ddl(ddl) => Event::Ddl(binlog_catalog::Ddl { zone, ..ddl }),
        other => other,
    }
}

/// A value as the helpers show what stands in a SQLite file.
fn shown(value: &Value, column: &Column) -> String {
    match (value, value.to_text(column)) {
        (Value::Bit(number), _) => number.to_string(),
        (Value::Year(year), _) => year.to_string(),
        (_, None) => "NULL".to_owned(),
        (_, Some(bytes)) if column.ty.is_bytes() => {
            bytes.iter().fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02X}"))
        }
        (_, Some(text)) => String::from_utf8(text).unwrap(),
    }
}

/// Rows that were there hold in SQLite what the stream's next mention of them will say.
#[tokio::test]
async fn values_follow_their_type_in_sqlite() {
    let (int_type, big, text) = (ColumnType::int(), ColumnType::bigint(), ColumnType::varchar(40));
    let (second, milli, micro) = (ColumnType::datetime(0), ColumnType::datetime(3), ColumnType::datetime(6));
    let (stamp, date) = (ColumnType::timestamp(0), ColumnType::date());
    let (time, year, bit) = (number(tp::DURATION, 10, 0), number(tp::YEAR, 4, 0), number(tp::BIT, 10, 0));
    let (cents, double) = (ColumnType::decimal(10, 2), ColumnType::double());
    let names = of_names(tp::ENUM, &["x", "y"]);
    let set = of_names(tp::SET, &["x", "y"]);
    let matrix: Vec<(ColumnType, &[&str], Vec<ColumnType>)> = vec![
        (
            int_type.clone(),
            &["7", "0"],
            vec![
                big.clone(),
                big.clone().unsigned(),
                cents.clone(),
                text.clone(),
                double.clone(),
                ColumnType::json(),
            ],
        ),
        (int_type.clone(), &["20240229"], vec![date.clone(), second.clone()]),
        (int_type.clone(), &["24", "2001"], vec![year.clone()]),
        (int_type.clone(), &["1", "2"], vec![names.clone(), bit.clone()]),
        (
            big.clone().unsigned(),
            &["18446744073709551615", "5"],
            vec![text.clone(), ColumnType::decimal(30, 2)],
        ),
        (
            cents.clone(),
            &["2.50", "-10.05", "99999999.99"],
            vec![
                ColumnType::decimal(12, 4),
                ColumnType::decimal(10, 1),
                int_type.clone(),
                text.clone(),
                double.clone(),
            ],
        ),
        (
            double.clone(),
            &["2.5", "-3.75"],
            vec![int_type.clone(), cents.clone(), text.clone(), number(tp::FLOAT, 12, -1)],
        ),
        (
            text.clone(),
            &["7", "-12.5", " 1e2 "],
            vec![int_type.clone(), cents.clone(), double.clone(), ColumnType::char(3)],
        ),
        (
            text.clone(),
            &["y"],
            vec![names.clone(), set.clone(), ColumnType::varbinary(20), binary(4), ColumnType::text()],
        ),
        (
            text.clone(),
            &["2024-02-29 23:59:59.6", "1999-01-01"],
            vec![date.clone(), second.clone(), stamp.clone(), micro.clone()],
        ),
        (
            second.clone(),
            &["2024-02-29 23:59:59", "0000-00-00 00:00:00"],
            vec![milli.clone(), date.clone(), text.clone()],
        ),
        (
            micro.clone(),
            &["2024-02-29 23:59:59.999950"],
            vec![milli, second.clone(), date.clone(), big.clone(), time.clone()],
        ),
        (
            stamp.clone(),
            &["2024-02-29 20:00:00", "0000-00-00 00:00:00"],
            vec![second.clone(), text.clone(), date],
        ),
        (second.clone(), &["2024-03-01 04:00:00"], vec![stamp]),
        (
            time.clone(),
            &["-12:34:56", "838:59:59"],
            vec![number(tp::DURATION, 14, 3), int_type.clone(), text.clone()],
        ),
        (year.clone(), &["2024"], vec![int_type.clone(), text.clone()]),
        (bit.clone(), &["\u{1}\u{2}"], vec![int_type.clone(), text.clone(), number(tp::BIT, 64, 0)]),
        (
            names.clone(),
            &["y", "x"],
            vec![
                of_names(tp::ENUM, &["y", "x"]),
                of_names(tp::ENUM, &["x", "y", "z"]),
                int_type.clone(),
                text.clone(),
                set,
            ],
        ),
        (ColumnType::json(), &["7"], vec![int_type, text]),
    ];
    let zone = Zone::of_location("Asia/Shanghai", 0);
    for (old, values, targets) in matrix {
        for new in targets {
            let before = table(old.clone());
            let after = changed(&before, |t| {
                // A rewrite gives the column another id.
                (t.columns[1].id, t.columns[1].ty) = (9, new.clone());
            });
            let (from, to) = (&before.table.columns[1], &after.table.columns[1]);
            let mut rows: Vec<Row> = vec![vec![int(0), Some(Value::Null)]];
            for (id, text) in (1..).zip(values) {
                rows.push(vec![int(id), Some(Value::from_text(text.as_bytes(), from).unwrap())]);
            }
            let projection =
                Projection::new(before.table.clone(), after.table.clone()).unwrap().in_zone(zone.clone());
            let expected: Vec<String> = (0..)
                .zip(&rows)
                .map(|(id, row)| {
                    let row = projection.row(row, true).unwrap();
                    format!("{id},{}", shown(row[1].as_ref().unwrap(), to))
                })
                .collect();
            let database = Database::file();
            let mut sink = database.open().await;
            let fill = txn(110, rows.iter().map(|row| insert(&before, row.clone())).collect());
            sink.apply(vec![created(100, &[&before]), fill, alter(&before, &after, zone.clone())])
                .await
                .unwrap();
            assert_eq!(database.rows("d", "t").await, expected, "{:#x} to {:#x}", old.tp, new.tp);
        }
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_stops_by_name() {
    let before = table(ColumnType::varchar(20));
    let after = changed(&before, |t| (t.columns[1].id, t.columns[1].ty) = (9, ColumnType::int()));
    let database = Database::file();
    let mut sink = database.open().await;
    let row = vec![int(1), Some(Value::Text("no number".into()))];
    let fill = txn(110, vec![insert(&before, row)]);
    sink.apply(vec![created(100, &[&before]), fill]).await.unwrap();
    let error = sink.apply(vec![alter(&before, &after, None)]).await.unwrap_err().to_string();
    assert!(
        error.contains("`d`.`t`") && error.contains("no number") && error.contains("column c"),
        "{error}"
    );
    // As it was.
    assert_eq!(database.rows("d", "t").await, ["1,no number"]);
}

/// More rows than are read at once, and a table whose columns have taken all names of the row id.
#[tokio::test]
async fn all_rows_are_converted() {
    for names in [["a", "b", "c"], ["rowid", "_rowid_", "oid"]] {
        let mut builder = builder(1, "t");
        for name in names {
            builder = builder.column(name, ColumnType::bigint());
        }
        let before = in_db(builder.build());
        let after = changed(&before, |t| t.columns[2].ty = ColumnType::decimal(20, 1));
        let rows = (0..1234).map(|n| insert(&before, vec![int(n - 600), int(7), int(n)]));
        let database = Database::file();
        let mut sink = database.open().await;
        let fill = txn(110, rows.collect());
        sink.apply(vec![created(100, &[&before]), fill, alter(&before, &after, None)]).await.unwrap();
        let mut found = database.rows("d", "t").await;
        let mut expected: Vec<String> = (0..1234).map(|n| format!("{},7,{n}.0", n - 600)).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{names:?}");
    }
}

/// Rows that are there when a NOT NULL column without a default comes hold its zero, as TiDB shows it.
#[tokio::test]
async fn new_columns_begin_as_the_source_says() {
    let types = [
        ColumnType::int(),
        ColumnType::bigint().unsigned(),
        ColumnType::decimal(10, 2),
        ColumnType::double(),
        ColumnType::varchar(10),
        ColumnType::varbinary(10),
        binary(3),
        ColumnType::date(),
        ColumnType::datetime(3),
        ColumnType::timestamp(0),
        number(tp::DURATION, 10, 0),
        number(tp::YEAR, 4, 0),
        number(tp::BIT, 64, 0),
        of_names(tp::ENUM, &["x", "y"]),
        of_names(tp::SET, &["x", "y"]),
    ];
    for ty in types {
        let before = in_db(builder(1, "t").column("id", ColumnType::int()).primary_key(&["id"]).build());
        let after = in_db(
            builder(1, "t")
                .column("id", ColumnType::int())
                .column("c", ty.not_null())
                .primary_key(&["id"])
                .build(),
        );
        let column = &after.table.columns[1];
        let expected = shown(&column.origin_value().unwrap().unwrap(), column);
        let database = Database::file();
        let mut sink = database.open().await;
        let fill = txn(110, vec![insert(&before, vec![int(1)])]);
        sink.apply(vec![created(100, &[&before]), fill, alter(&before, &after, None)]).await.unwrap();
        assert_eq!(database.rows("d", "t").await, [format!("1,{expected}")], "{:#x}", column.ty.tp);
    }
}

/// A session of +08:00 made clocks out of TIMESTAMPs, and the reverse: in SQLite and in the server alike.
#[tokio::test]
async fn timestamps_change_their_type_in_the_zone_of_the_session() {
    let at = |text: &str, column: &Column| Some(Value::from_text(text.as_bytes(), column).unwrap());
    let zone = Zone::of_location("UTC", 28_800);
    let before = in_db(
        builder(1, "t")
            .column("id", ColumnType::int())
            .column("a", ColumnType::timestamp(0))
            .column("b", ColumnType::datetime(0))
            .column("kept", ColumnType::timestamp(0))
            .primary_key(&["id"])
            .build(),
    );
    let after = changed(&before, |t| {
        (t.columns[1].id, t.columns[1].ty) = (9, ColumnType::datetime(0));
        (t.columns[2].id, t.columns[2].ty) = (10, ColumnType::timestamp(0));
        t.columns[2].default = Some(b"2020-01-01 00:00:00".to_vec());
    });
    let text = "2024-02-29 20:00:00";
    let row = |id: i64, table: &TableRef, text: &str| {
        let columns = &table.table.columns;
        vec![int(id), at(text, &columns[1]), at(text, &columns[2]), at(text, &columns[3])]
    };
    for database in Database::both() {
        let mut sink = database.open().await;
        let fill = txn(110, vec![insert(&before, row(1, &before, text))]);
        let mut partial = row(2, &after, text);
        partial[2] = None;
        let later = txn((1 << 50) + 1, vec![insert(&after, partial)]);
        sink.apply(vec![created(100, &[&before]), fill, alter(&before, &after, zone.clone()), later])
            .await
            .unwrap();
        assert_eq!(
            database.rows("d", "t").await,
            [
                "1,2024-03-01 04:00:00,2024-02-29 12:00:00,2024-02-29 20:00:00",
                "2,2024-02-29 20:00:00,2020-01-01 00:00:00,2024-02-29 20:00:00"
            ]
        );
    }
    // A zone that the server has no table of.
    let database = Database::server();
    let mut sink = database.open().await;
    sink.apply(vec![created(100, &[&before])]).await.unwrap();
    let unknown = Zone::of_location("Asia/Shanghai", 0);
    let error = sink.apply(vec![alter(&before, &after, unknown)]).await.unwrap_err().to_string();
    assert!(error.contains("mysql_tzinfo_to_sql"), "{error}");
}

/// Times that lose their fraction are rounded, as TiDB does, by a server that would cut it off too; dates lose theirs.
#[tokio::test]
async fn fractions_that_go_are_rounded() {
    let before = table(ColumnType::datetime(2));
    let column = &before.table.columns[1];
    let late = Value::from_text(b"1999-12-31 23:59:59.99", column).unwrap();
    for (new, expected) in
        [(ColumnType::datetime(0), "2000-01-01 00:00:00"), (ColumnType::date(), "1999-12-31")]
    {
        let after = changed(&before, |t| (t.columns[1].id, t.columns[1].ty) = (9, new.clone()));
        for database in Database::both() {
            let mut sink = database.open().await;
            let fill = txn(110, vec![insert(&before, vec![int(1), Some(late.clone())])]);
            sink.apply(vec![created(100, &[&before]), fill, alter(&before, &after, None)]).await.unwrap();
            assert_eq!(database.rows("d", "t").await, [format!("1,{expected}")]);
        }
    }
}

/// `DEFAULT CURRENT_DATE` is a value of no type.
#[tokio::test]
async fn the_date_of_the_insert_is_a_default() {
    let with = |names: &[(&str, ColumnType)]| {
        let mut builder = builder(1, "t").column("id", ColumnType::int());
        for (name, ty) in names {
            builder = builder.column(*name, ty.clone()).default_value("CURRENT_DATE");
        }
        let mut table = builder.primary_key(&["id"]).build();
        table.columns.iter_mut().for_each(|c| c.origin_default = c.default.clone());
        in_db(table)
    };
    let before = with(&[("d", ColumnType::date())]);
    let after = with(&[("d", ColumnType::date()), ("t", ColumnType::datetime(0))]);
    for database in Database::both() {
        let mut sink = database.open().await;
        let old = txn(110, vec![insert(&before, vec![int(1), None])]);
        sink.apply(vec![created(100, &[&before]), old, alter(&before, &after, None)]).await.unwrap();
        let rows = database.rows("d", "t").await;
        // 2^50 is a moment of 1970.
        let (date, rest) = rows[0].strip_prefix("1,").unwrap().split_once(',').unwrap();
        assert!(date.starts_with("20") && date.len() == 10, "{rows:?}");
        assert_eq!(rest, "1970-02-19 00:00:00");
    }
}

/// In utf8mb4 the unique key would be longer than InnoDB takes.
#[tokio::test]
async fn long_keys_of_one_byte_characters_stay_that_way() {
    let latin1 = |chars| {
        let mut ty = ColumnType::varchar(chars);
        (ty.charset, ty.collate) = ("latin1".into(), "latin1_bin".into());
        ty
    };
    let table = in_db(
        builder(1, "t")
            .column("long", latin1(800).not_null())
            .column("short", latin1(20))
            .unique("u", &["long"])
            .build(),
    );
    let database = Database::server();
    let Database::Server(server) = &database else { unreachable!() };
    database.open().await.apply(vec![created(100, &[&table])]).await.unwrap();
    let charset = |column: &str| {
        let sql = format!(
            "SELECT character_set_name FROM information_schema.columns WHERE table_schema = 'd' AND column_name = '{column}'"
        );
        server.sql(&sql).unwrap().trim().to_owned()
    };
    assert_eq!((charset("long").as_str(), charset("short").as_str()), ("latin1", "utf8mb4"));
}

/// While TiDB drops a column that is a table's only key, or one beside the primary key, rows come without it.
#[tokio::test]
async fn rows_of_a_key_that_goes_are_found_by_the_rest() {
    let letters = ColumnType::varchar(20).not_null();
    let only = in_db(
        builder(1, "t")
            .column("c", letters.clone())
            .column("v", ColumnType::int())
            .unique("u", &["c"])
            .build(),
    );
    let beside = in_db(
        builder(2, "p")
            .column("id", ColumnType::int())
            .column("c", letters)
            .primary_key(&["id"])
            .unique("u", &["c"])
            .build(),
    );
    let without = |table: &TableRef| {
        changed(table, |t| {
            t.columns.retain(|c| c.name != "c");
            t.indexes.retain(|i| i.name != "u");
            t.indexes.iter_mut().flat_map(|i| &mut i.columns).for_each(|part| part.offset = 0);
        })
    };
    let word = |text: &'static str, v: i64| vec![Some(Value::Text(text.into())), int(v)];
    for database in Database::both() {
        let mut sink = database.open().await;
        let full = vec![
            insert(&only, word("a", 1)),
            insert(&only, word("b", 2)),
            insert(&only, word("c", 3)),
            insert(&beside, vec![int(1), Some(Value::Text("a".into()))]),
        ];
        let half = vec![
            delete(&only, vec![None, int(1)]),
            update(&only, vec![None, int(2)], vec![None, int(20)]),
            insert(&only, vec![None, int(4)]),
            insert(&only, vec![None, int(5)]),
            update(&only, vec![None, int(4)], vec![None, int(40)]),
            insert(&beside, vec![int(2), None]),
            insert(&beside, vec![int(3), None]),
        ];
        sink.apply(vec![created(100, &[&only, &beside]), txn(110, full)]).await.unwrap();
        sink.apply(vec![txn(120, half)]).await.unwrap();
        sink.apply(vec![alter(&only, &without(&only), None), alter_later(&beside, &without(&beside))])
            .await
            .unwrap();
        assert_eq!(database.rows("d", "t").await, ["20", "3", "40", "5"]);
        assert_eq!(database.rows("d", "p").await, ["1", "2", "3"]);
    }
}

fn alter_later(before: &TableRef, after: &TableRef) -> Event {
    ddl(
        (1 << 50) + 1,
        "alter",
        vec![SchemaChange::AlterTable { before: before.clone(), after: after.clone() }],
    )
}
