use binlog_catalog::{ColumnType, TableBuilder, TimeKind, Value, codec};
use binlog_types::{SchemaVersion, TableId};
use proptest::prelude::*;

use super::*;

fn table() -> Table {
    let mut ci = ColumnType::varchar(20);
    ci.collate = "utf8mb4_general_ci".into();
    TableBuilder::new(TableId(1), "t", SchemaVersion(1))
        .column("id", ColumnType::bigint())
        .column("name", ColumnType::varchar(20))
        .column("city", ci)
        .column("amount", ColumnType::decimal(20, 2))
        .column("at", ColumnType::datetime(3))
        .column("state", ColumnType::enumeration(["open", "closed"]))
        .column("ratio", ColumnType::double())
        .column("raw", ColumnType::varbinary(10))
        .build()
}

fn row(id: i64, name: &'static str, amount: &str, state: u64) -> Row {
    let packed = codec::PackedTime::parse("2026-11-22 12:30:00.250").unwrap().pack();
    vec![
        Some(Value::Int(id)),
        Some(Value::Text(name.into())),
        Some(Value::Text("Köln".into())),
        Some(Value::Decimal(amount.into())),
        Some(Value::Time { kind: TimeKind::DateTime, packed, fsp: 3 }),
        Some(Value::Enum(state)),
        Some(Value::Double(0.5)),
        Some(Value::Null),
    ]
}

fn holds(text: &str, change: &ChangeKind) -> bool {
    let table = table();
    let bound = Condition::parse(text).and_then(|c| c.bind("d", &table)).unwrap_or_else(|e| panic!("{e}"));
    bound.matches(&table, change)
}

#[test]
fn conditions_hold_as_in_sql() {
    let insert = ChangeKind::Insert(row(42, "anna", "10.50", 1));
    for (text, expected) in [
        ("id = 42", true),
        ("id = '42'", true),
        ("ID <> 42", false),
        ("id > 41.9 and id < 42.1", true),
        ("id in (1, 2, 42)", true),
        ("id not in (1, 2, NULL)", false),
        ("id between 40 and 42", true),
        ("not (id between 40 and 42)", false),
        ("name = 'anna'", true),
        ("name = 'Anna'", false),
        ("city = 'köln'", true),
        ("name like 'a%a'", true),
        ("name like 'a_a'", false),
        ("name not like '%x%'", true),
        ("amount = 10.5", true),
        ("amount >= 1.05e1", true),
        ("amount < -3", false),
        ("at >= '2026-11-22'", true),
        ("at < '2026-11-22 12:30:00.3'", true),
        ("at = '2026-11-22T12:30:00.25'", true),
        ("state = 'open'", true),
        ("ratio = 0.5", true),
        ("raw is null", true),
        ("raw = 0x00", false),
        ("raw <=> null", true),
        ("raw = 0x00 or id = 42", true),
        ("(raw = 0x00) is false", false),
        ("new.id = 42", true),
        ("old.id = 42", false),
        ("old.id is null", true),
        ("id = 42 xor 1", false),
    ] {
        if text.contains("xor") {
            assert!(Condition::parse(text).is_err());
            continue;
        }
        assert_eq!(holds(text, &insert), expected, "{text}");
    }
}

#[test]
fn an_update_is_asked_for_both_images() {
    let update = ChangeKind::Update { before: row(1, "a", "5.00", 1), after: row(1, "b", "-5.00", 2) };
    for (text, expected) in [
        ("amount < 0", true),
        ("amount > 0", true),
        ("old.amount < 0", false),
        ("new.amount < old.amount", true),
        ("old.state = 'open' and new.state = 'closed'", true),
        ("name = 'a' and state = 'closed'", false),
    ] {
        assert_eq!(holds(text, &update), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_in_words() {
    for text in [
        "",
        "id =",
        "id = 1; drop table t",
        "sleep(10)",
        "id = (select 1)",
        "id + 1 = 2",
        "a.b.c = 1",
        "x.id = 1",
        "id = 0x123",
    ] {
        let error = Condition::parse(text).unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{text}: {error}");
    }
    assert!(Condition::parse(&"(".repeat(10_000)).is_err());
    assert!(Condition::parse(&vec!["id = 1"; 100_000].join(" or ")).is_err());
    let missing = Condition::parse("nothing = 1").unwrap().bind("d", &table()).unwrap_err();
    assert_eq!(missing.to_string(), "the condition names column nothing, which table d.t does not have");
}

proptest! {
    #[test]
    fn numbers_compare_exactly(a in any::<i64>(), b in any::<i64>()) {
        let change = ChangeKind::Insert(row(a, "x", "0.00", 1));
        prop_assert_eq!(holds(&format!("id < {b}"), &change), a < b);
        prop_assert_eq!(holds(&format!("id = {b}.000"), &change), a == b);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        let _ = Condition::parse(&text);
    }
}
