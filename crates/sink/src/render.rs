//! Transactions and DDLs as SQL text, MySQL dialect: for people, and for the `mariadb` client in a session whose `time_zone` is UTC.

use std::collections::HashSet;

use binlog_catalog::{ChangeKind, Ddl, Row, Transaction};

use crate::ddl::dialect::{Dialect, Kind};
use crate::ddl::{self};
use crate::dml::statement;
use crate::layout::Layout;
use crate::notices::Notices;

/// SQL text of a transaction: one statement an element, each on one line, with `;`. Names are qualified, bytes stand as `0x…`.
pub fn render_dml_sql(txn: &Transaction) -> Vec<String> {
    txn.changes
        .iter()
        .map(|change| {
            let layout = Layout::new(&change.table);
            let condition = |row: &Row| match layout.key {
                Some(_) if layout.check(row, txn.commit_ts).is_ok() => statement::key_condition(&layout, row),
                _ => statement::whole_row_condition(&layout, row, false),
            };
            match &change.kind {
                ChangeKind::Insert(row) => {
                    let columns = layout.bound(row);
                    let mut sql = statement::insert_head("INSERT", &layout, &columns);
                    statement::push_values(&mut sql, &layout, &columns, row);
                    sql.push(';');
                    sql
                }
                ChangeKind::Update { before, after } => format!(
                    "UPDATE {} SET {} WHERE {} LIMIT 1;",
                    statement::table(&layout),
                    statement::assignments(&layout, after),
                    condition(before)
                ),
                ChangeKind::Delete(row) => {
                    format!("DELETE FROM {} WHERE {} LIMIT 1;", statement::table(&layout), condition(row))
                }
            }
        })
        .collect()
}

/// SQL text of a DDL, made from what it did. What no MySQL can do stands as a comment with the statement's own text.
pub fn render_ddl_sql(ddl: &Ddl) -> Vec<String> {
    let dialect = Dialect::new(Kind::MariaDb, HashSet::new());
    match ddl::plan(&dialect, ddl, &mut Notices::default()) {
        Ok(steps) => {
            let mut lines = Vec::new();
            for step in steps {
                if let Some(schema) = &step.default_schema {
                    lines.push(format!("USE {};", crate::names::backtick(schema)));
                }
                lines.push(format!("{};", step.sql.trim().trim_end_matches(';')));
            }
            lines
        }
        Err(error) => vec![format!("-- {}", error.to_string().replace(['\n', '\r'], " "))],
    }
}
