//! Statements that change a row only if it is what it is expected to be.

use std::fmt::Write as _;

use binlog_catalog::{Row, TableRef, Value};

use crate::dml::statement;
use crate::layout::Layout;
use crate::literal;
use crate::names::backtick;

/// A row to bring from one state to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Amendment {
    /// Where.
    pub table: TableRef,
    /// What it must be now; `None`: not there.
    pub expected: Option<Row>,
    /// What it shall be; `None`: not there. Columns that it leaves unbound stay as they are, or take their default.
    pub wanted: Option<Row>,
    /// Copies of it, in a table without a key; else 1.
    pub copies: u64,
}

/// SQL text of an amendment, MySQL dialect, one statement an element. A statement hits nothing, or fails, where the row is not as expected;
/// together they hit as many rows as the second value says.
pub fn render_amendment(amendment: &Amendment) -> (Vec<String>, u64) {
    let layout = Layout::new(&amendment.table);
    let table = statement::table(&layout);
    match (&amendment.expected, &amendment.wanted) {
        (None, None) => (Vec::new(), 0),
        (Some(expected), None) => {
            let guard = guard(&layout, expected);
            (vec![format!("DELETE FROM {table} WHERE {guard} LIMIT {};", amendment.copies)], amendment.copies)
        }
        (None, Some(wanted)) => {
            let columns = layout.bound(wanted);
            let mut sql = statement::insert_head("INSERT", &layout, &columns);
            for copy in 0..amendment.copies {
                if copy > 0 {
                    sql.push(',');
                }
                statement::push_values(&mut sql, &layout, &columns, wanted);
            }
            sql.push(';');
            (vec![sql], amendment.copies)
        }
        (Some(expected), Some(wanted)) => {
            let same = |at: usize| expected.get(at) == wanted.get(at);
            let changed: Row =
                wanted.iter().enumerate().map(|(at, v)| if same(at) { None } else { v.clone() }).collect();
            let set = statement::assignments(&layout, &changed);
            if set.is_empty() {
                return (Vec::new(), 0);
            }
            (vec![format!("UPDATE {table} SET {set} WHERE {} LIMIT 1;", guard(&layout, expected))], 1)
        }
    }
}

/// Holds for rows that equal `row` in every column that it binds. JSON is compared as text, for not every server has a JSON literal.
fn guard(layout: &Layout, row: &Row) -> String {
    let is_json = |v: &Option<Value>| matches!(v, Some(Value::Json(_)));
    let plain: Row = row.iter().map(|v| if is_json(v) { None } else { v.clone() }).collect();
    let mut out = statement::whole_row_condition(layout, &plain, false);
    for (column, value) in layout.table.table.columns.iter().zip(row).filter(|(c, _)| c.is_writable()) {
        let Some(value @ Value::Json(_)) = value else { continue };
        let mut text = String::new();
        literal::push_mysql(&mut text, value, column);
        let and = if out.is_empty() { "" } else { " AND " };
        let _ = write!(out, "{and}CAST({} AS CHAR) <=> {text}", backtick(&column.name));
    }
    if out.is_empty() { "FALSE".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use binlog_catalog::{ColumnType, TableBuilder};
    use binlog_types::{SchemaVersion, TableId};

    use super::*;

    #[test]
    fn statements_say_what_they_expect() {
        let table = TableBuilder::new(TableId(1), "t", SchemaVersion(1))
            .column("id", ColumnType::int())
            .column("v", ColumnType::int())
            .primary_key(&["id"])
            .build();
        let table = TableRef { schema: "d".into(), table: Arc::new(table) };
        let row = |v: i64| Some(vec![Some(Value::Int(1)), Some(Value::Int(v))]);
        let sql = |expected, wanted| {
            render_amendment(&Amendment { table: table.clone(), expected, wanted, copies: 1 }).0.join("")
        };
        assert_eq!(sql(row(2), row(1)), "UPDATE `d`.`t` SET `v` = 1 WHERE `id` <=> 1 AND `v` <=> 2 LIMIT 1;");
        assert_eq!(sql(row(2), None), "DELETE FROM `d`.`t` WHERE `id` <=> 1 AND `v` <=> 2 LIMIT 1;");
        assert_eq!(sql(None, row(1)), "INSERT INTO `d`.`t` (`id`,`v`) VALUES (1,1);");
        assert_eq!(sql(row(1), row(1)), "");
    }
}
