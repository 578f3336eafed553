//! Captures of a real TiDB, replayed into memory, against what TiDB showed.

use std::collections::BTreeSet;

use binlog_testkit::{Comparison, Truth, TruthTable, assert_same, fixtures};
use binlog_types::Ts;

use crate::replay::{Memory, replay};

const SYSTEM: [&str; 2] = ["mysql", "sys"];

pub(crate) fn marks(name: &str) -> Vec<(String, Ts)> {
    let mut marks: Vec<(String, Ts)> =
        fixtures::marks(name).unwrap().into_iter().map(|(mark, at)| (mark, at.tso)).collect();
    marks.sort_by_key(|(_, ts)| *ts);
    marks
}

/// The truth without the columns that rows do not carry, and without the tables left out.
fn expected(name: &str, mark: &str, memory: &Memory, left_out: &[(&str, &str)]) -> Truth {
    let columns = memory.columns();
    let mut truth = fixtures::truth(name, mark).unwrap();
    for (name, table) in &mut truth.tables {
        let Some(kept) = columns.get(name) else { continue };
        let kept: BTreeSet<&String> = kept.iter().collect();
        let at: Vec<usize> = (0..table.columns.len()).filter(|i| kept.contains(&table.columns[*i])).collect();
        let columns = at.iter().map(|i| table.columns[*i].clone()).collect();
        let rows = table.rows.iter().map(|row| at.iter().map(|i| row[*i].clone()).collect()).collect();
        *table = TruthTable::new(columns, rows);
    }
    left_out.iter().fold(truth, |truth, (schema, table)| truth.without(schema, table))
}

fn actual(memory: &Memory, left_out: &[(&str, &str)]) -> Truth {
    let mut truth = memory.contents();
    truth.tables.retain(|(schema, _), _| !SYSTEM.contains(&schema.as_str()));
    left_out.iter().fold(truth, |truth, (schema, table)| truth.without(schema, table))
}

fn check(name: &str, comparison: &Comparison, left_out: &[(&str, &str)]) -> Memory {
    replay(name, &marks(name), |mark, memory| {
        println!("{name}: mark {mark}");
        assert_same(&expected(name, mark, memory, left_out), &actual(memory, left_out), comparison);
    })
}

#[test]
fn seed() {
    let memory = check("seed", &Comparison::exact(), &[]);
    assert!(memory.ddls > 0 && memory.transactions > 0);
}

#[test]
fn txn() {
    let memory = check("txn", &Comparison::exact(), &[]);
    assert!(memory.transactions > 3000, "{}", memory.transactions);
}

#[test]
fn crash() {
    let memory = replay("crash", &[], |_, _| ());
    assert_same(&expected("crash", "end", &memory, &[]), &actual(&memory, &[]), &Comparison::exact());
}

#[test]
fn types() {
    // The TTL worker deleted the only row of this table without a binlog.
    check("types", &Comparison::with_mariadb(), &[("types_tidb", "ttlt")]);
}

#[test]
fn ddl() {
    check("ddl", &Comparison::exact(), &[]);
}
