use std::collections::BTreeMap;
use std::sync::Arc;

use binlog_catalog::{ColumnType, TableBuilder, TableRef, Value};
use binlog_types::{SchemaVersion, TableId};
use proptest::prelude::*;

use super::*;

fn table(keyed: bool) -> TableRef {
    let builder = TableBuilder::new(TableId(1), "t", SchemaVersion(1))
        .column("id", ColumnType::bigint())
        .column("v", ColumnType::varchar(100));
    let builder = if keyed { builder.primary_key(&["id"]) } else { builder };
    TableRef { schema: "d".into(), table: Arc::new(builder.build()) }
}

fn row(id: i64, v: u8) -> Row {
    vec![Some(Value::Int(id)), Some(Value::Text(vec![b'a' + v % 26; 50].into()))]
}

/// What is left of each row: images, counts and others.
type Contents = BTreeMap<String, (Option<Row>, Option<Row>, i64, u64)>;

fn contents(mut folded: Folded) -> Contents {
    let mut out = BTreeMap::new();
    folded
        .for_each(|versions, net| {
            // A row that came and went again is nowhere.
            let Some(image) = net.now.as_ref().or(net.before.as_ref()) else { return Ok(()) };
            let version = versions.get(image.version).expect("a version");
            let key = format!("{:?}", version.key_of(&image.row));
            let part = |i: &Option<Image>| i.as_ref().map(|i| i.row.clone());
            out.insert(key, (part(&net.before), part(&net.now), net.copies, net.others.count));
            Ok(())
        })
        .unwrap();
    out
}

fn fold(changes: &[(ChangeKind, bool)], table: &TableRef, memory: usize) -> (Contents, bool) {
    let mut fold = Fold::new(Limits { memory, ..Limits::default() });
    for (at, (kind, selected)) in (1u64..).zip(changes) {
        let change = RowChange { table: table.clone(), kind: kind.clone() };
        fold.change(CommitTs::new(at), &change, *selected).unwrap();
    }
    let folded = fold.finish().unwrap();
    let spilled = folded.spilled();
    (contents(folded), spilled)
}

/// Changes that a table could see: rows come, move, change and go.
fn history(steps: &[(u8, u8, u8, bool)]) -> Vec<(ChangeKind, bool)> {
    let mut rows: BTreeMap<i64, Row> = BTreeMap::new();
    let mut out = Vec::new();
    for (id, to, v, selected) in steps {
        let (id, to) = (i64::from(id % 20), i64::from(to % 20));
        let kind = match rows.remove(&id) {
            None => ChangeKind::Insert(row(id, *v)),
            Some(before) if v % 3 == 0 => ChangeKind::Delete(before),
            Some(before) if !rows.contains_key(&to) => {
                let after = row(to, *v);
                rows.insert(to, after.clone());
                ChangeKind::Update { before, after }
            }
            Some(before) => {
                let after = row(id, *v);
                rows.insert(id, after.clone());
                ChangeKind::Update { before, after }
            }
        };
        if let ChangeKind::Insert(row) = &kind {
            rows.insert(id, row.clone());
        }
        out.push((kind, *selected));
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// With memory for a few rows, the outcome is that with memory for all.
    #[test]
    fn temporary_files_change_nothing(
        steps in proptest::collection::vec(any::<(u8, u8, u8, bool)>(), 1..200),
        keyed in any::<bool>(),
    ) {
        let changes = history(&steps);
        let table = table(keyed);
        let (roomy, spilled) = fold(&changes, &table, 1 << 30);
        prop_assert!(!spilled);
        // A part of the files may hold as many rows as there are.
        let (tight, _) = fold(&changes, &table, 12_000);
        prop_assert_eq!(tight, roomy);
    }
}

#[test]
fn a_row_that_moves_is_one_less_and_one_more() {
    let changes = [(ChangeKind::Update { before: row(1, 0), after: row(2, 1) }, true)];
    let (contents, _) = fold(&changes, &table(true), 1 << 20);
    let images: Vec<_> = contents.into_values().collect();
    assert_eq!(images, [(Some(row(1, 0)), None, -1, 0), (None, Some(row(2, 1)), 1, 0)]);
}

#[test]
fn too_many_rows_for_the_memory_are_a_typed_error() {
    let changes: Vec<_> = (0..5000).map(|id| (ChangeKind::Insert(row(id, 1)), true)).collect();
    let mut fold = Fold::new(Limits { memory: 5_000, ..Limits::default() });
    for (at, (kind, selected)) in (1u64..).zip(&changes) {
        let change = RowChange { table: table(true), kind: kind.clone() };
        fold.change(CommitTs::new(at), &change, *selected).unwrap();
    }
    let error = fold.finish().unwrap().for_each(|_, _| Ok(())).unwrap_err();
    assert!(matches!(error, Error::TooManyRows { .. }), "{error}");
}
