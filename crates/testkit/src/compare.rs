//! Comparing contents, with a report that shows the first differences.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::truth::line;
use crate::{Row, Truth, TruthTable};

/// How to compare two contents.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    numeric: BTreeSet<(String, String, String)>,
    single: BTreeSet<(String, String, String)>,
    ignored: BTreeSet<(String, String, String)>,
}

impl Comparison {
    /// Byte for byte.
    pub fn exact() -> Self {
        Self::default()
    }

    /// Byte for byte, but for the columns that MariaDB displays in another way than TiDB (`ZEROFILL`, `FLOAT(M,D)`): those as
    /// numbers.
    pub fn with_mariadb() -> Self {
        let mut comparison = Self::default();
        for schema in ["types", "types_v1"] {
            comparison = comparison
                .numeric(schema, "ints", "z")
                .numeric(schema, "floats", "f2")
                .numeric(schema, "floats", "d2")
                .single(schema, "floats", "f")
                .single(schema, "floats", "uf");
        }
        comparison
    }

    /// Compares a column as numbers.
    pub fn numeric(mut self, schema: &str, table: &str, column: &str) -> Self {
        self.numeric.insert((schema.into(), table.into(), column.into()));
        self
    }

    /// Compares a column as 32-bit floats to the six digits that text shows of them.
    pub fn single(mut self, schema: &str, table: &str, column: &str) -> Self {
        self.single.insert((schema.into(), table.into(), column.into()));
        self
    }

    /// Leaves a column out.
    pub fn ignore(mut self, schema: &str, table: &str, column: &str) -> Self {
        self.ignored.insert((schema.into(), table.into(), column.into()));
        self
    }

    /// What differs, for people; `None` where nothing does.
    pub fn difference(&self, expected: &Truth, actual: &Truth) -> Option<String> {
        let mut report = String::new();
        for name @ (schema, table) in expected.tables.keys().filter(|name| !actual.tables.contains_key(*name))
        {
            let _ = writeln!(
                report,
                "{schema}.{table}: missing ({} rows expected)",
                expected.tables[name].rows.len()
            );
        }
        for name @ (schema, table) in actual.tables.keys().filter(|name| !expected.tables.contains_key(*name))
        {
            let _ =
                writeln!(report, "{schema}.{table}: not expected ({} rows)", actual.tables[name].rows.len());
        }
        for (name @ (schema, table), want) in &expected.tables {
            if let Some(have) = actual.tables.get(name) {
                self.difference_of_table(&mut report, schema, table, want, have);
            }
        }
        (!report.is_empty()).then_some(report)
    }

    fn difference_of_table(
        &self,
        report: &mut String,
        schema: &str,
        table: &str,
        want: &TruthTable,
        have: &TruthTable,
    ) {
        if want.columns != have.columns {
            let _ =
                writeln!(report, "{schema}.{table}: columns {:?}, expected {:?}", have.columns, want.columns);
            return;
        }
        let want_rows = self.comparable(schema, table, want);
        let have_rows = self.comparable(schema, table, have);
        let missing = only_in(&want_rows, &have_rows);
        let surplus = only_in(&have_rows, &want_rows);
        if missing.is_empty() && surplus.is_empty() {
            return;
        }
        let _ = writeln!(
            report,
            "{schema}.{table}: {} rows, expected {}; {} missing, {} not expected; columns {:?}",
            have_rows.len(),
            want_rows.len(),
            missing.len(),
            surplus.len(),
            want.columns
        );
        for (sign, rows) in [('-', &missing), ('+', &surplus)] {
            for row in rows.iter().take(5) {
                let text = String::from_utf8_lossy(row);
                let shown: String = text.chars().take(400).collect();
                let _ = writeln!(report, "  {sign} {shown}");
            }
        }
    }

    /// Sorted lines, with each value in the form it is compared in.
    fn comparable(&self, schema: &str, table: &str, contents: &TruthTable) -> Vec<Vec<u8>> {
        let is_in = |set: &BTreeSet<(String, String, String)>| -> Vec<bool> {
            contents.columns.iter().map(|c| set.contains(&(schema.into(), table.into(), c.clone()))).collect()
        };
        let (numeric, single, ignored) = (is_in(&self.numeric), is_in(&self.single), is_in(&self.ignored));
        let mut lines: Vec<Vec<u8>> = contents
            .rows
            .iter()
            .map(|row| {
                let row: Row = row
                    .iter()
                    .enumerate()
                    .map(|(n, value)| match value {
                        _ if ignored[n] => None,
                        Some(text) if single[n] => {
                            Some(as_number(text, |number| format!("{:.5e}", number as f32)))
                        }
                        Some(text) if numeric[n] => Some(as_number(text, |number| number.to_string())),
                        other => other.clone(),
                    })
                    .collect();
                line(&row)
            })
            .collect();
        lines.sort_unstable();
        lines
    }
}

/// Panics with a report of the first differences unless both hold the same.
#[track_caller]
pub fn assert_same(expected: &Truth, actual: &Truth, comparison: &Comparison) {
    if let Some(report) = comparison.difference(expected, actual) {
        panic!("the contents differ (-: expected, +: found):\n{report}");
    }
}

fn as_number(text: &[u8], show: impl Fn(f64) -> String) -> Vec<u8> {
    match std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok()) {
        Some(number) => show(number).into_bytes(),
        None => text.to_vec(),
    }
}

/// The lines of `a` that `b` lacks; both sorted; repeated lines count.
fn only_in<'a>(a: &'a [Vec<u8>], b: &[Vec<u8>]) -> Vec<&'a [u8]> {
    let mut others = b.iter().peekable();
    let mut found = Vec::new();
    for line in a {
        while others.next_if(|other| *other < line).is_some() {}
        if others.next_if(|other| *other == line).is_none() {
            found.push(line.as_slice());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(rows: &[&str]) -> Truth {
        let rows = rows.iter().map(|v| vec![Some(v.as_bytes().to_vec())]).collect();
        let table = TruthTable::new(vec!["z".into()], rows);
        Truth { tables: [(("types".into(), "ints".into()), table)].into(), schema_sql: String::new() }
    }

    #[test]
    fn differences_are_shown_and_repeated_rows_count() {
        let report =
            Comparison::exact().difference(&contents(&["1", "1", "2"]), &contents(&["1", "3"])).unwrap();
        assert!(report.contains("2 missing, 1 not expected"), "{report}");
        assert!(report.contains("- 2") && report.contains("+ 3"), "{report}");
        assert_same(&contents(&["1", "2"]), &contents(&["2", "1"]), &Comparison::exact());
    }

    #[test]
    fn numbers_may_be_padded() {
        assert_same(&contents(&["7"]), &contents(&["0000000007"]), &Comparison::with_mariadb());
        assert!(Comparison::exact().difference(&contents(&["7"]), &contents(&["07"])).is_some());
    }

    #[test]
    fn missing_tables_are_named() {
        let report = Comparison::exact().difference(&contents(&[]), &Truth::default()).unwrap();
        assert!(report.contains("types.ints: missing"), "{report}");
    }
}
