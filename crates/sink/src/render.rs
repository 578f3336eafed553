//! Transactions and DDLs as SQL text, MySQL dialect: for people, and for the `mariadb` client in a session whose `time_zone` is UTC.

use std::collections::HashSet;
use std::str::FromStr;

use binlog_catalog::{ChangeKind, Ddl, Row, Transaction};

use crate::ddl::dialect::{Dialect, Kind};
use crate::ddl::recycle::Bin;
use crate::ddl::{self};
use crate::dml::statement;
use crate::layout::Layout;
use crate::literal;
use crate::notices::Notices;

/// Session settings that the texts of this crate rely on, MySQL dialect, for the head of a script: those that a [`Sink`](crate::Sink) asks of its own
/// connections. What only MariaDB and TiDB know stands in comments that only they read (older clients strip them: `mysql --comments`).
pub const SESSION_SQL: &str = "SET NAMES utf8mb4;\nSET time_zone = '+00:00';\n\
    SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';\n\
    SET foreign_key_checks = 0 /*M! , check_constraint_checks = 0 */ /*T! , allow_auto_random_explicit_insert = 1 */;\n";

/// Whose DDL is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SqlDialect {
    /// MariaDB's; MySQL takes nearly all of it.
    #[default]
    MariaDb,
    /// MySQL's.
    MySql,
    /// TiDB's own text, where what a DDL did does not say everything.
    TiDb,
}

impl FromStr for SqlDialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mariadb" => Ok(SqlDialect::MariaDb),
            "mysql" => Ok(SqlDialect::MySql),
            "tidb" => Ok(SqlDialect::TiDb),
            other => Err(format!("{other:?} is none of mariadb, mysql, tidb")),
        }
    }
}

/// SQL text of a transaction: one statement an element, each on one line, with `;`. Names are qualified, bytes stand as `0x…`.
pub fn render_dml_sql(txn: &Transaction) -> Vec<String> {
    txn.changes
        .iter()
        .map(|change| {
            let layout = Layout::new(&change.table);
            let condition = |row: &Row| match layout.key {
                Some(_) if layout.check(row, txn.commit_ts).is_ok() && layout.binds_key(row) => {
                    statement::key_condition(&layout, row)
                }
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

/// SQL text of a DDL, made from what it did. What the dialect cannot do stands as a comment with the statement's own text.
pub fn render_ddl_sql(ddl: &Ddl, dialect: SqlDialect) -> Vec<String> {
    let kind = match dialect {
        SqlDialect::MariaDb => Kind::MariaDb,
        SqlDialect::MySql => Kind::MySql,
        SqlDialect::TiDb => Kind::TiDb,
    };
    let dialect = Dialect::new(kind, HashSet::new());
    match ddl::plan(&dialect, ddl, &Bin::default(), false, &mut Notices::default()) {
        Ok(steps) => {
            let mut lines = Vec::new();
            for step in steps {
                if let Some(schema) = &step.default_schema {
                    lines.push(format!("USE {};", crate::names::backtick(schema)));
                }
                let zone = step.zone.as_ref().map(|zone| literal::text(zone.name()));
                lines.extend(zone.iter().map(|name| format!("SET time_zone = {name};")));
                lines.push(format!("{};", step.sql.trim().trim_end_matches(';')));
                lines.extend(zone.map(|_| "SET time_zone = '+00:00';".to_owned()));
            }
            lines
        }
        Err(error) => vec![format!("-- {}", error.to_string().replace(['\n', '\r'], " "))],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use binlog_catalog::{ColumnType, Part, RowChange, TableBuilder, TableRef, Value};
    use binlog_types::{CommitTs, SchemaVersion, StartTs, TableId};

    use super::*;

    #[test]
    fn statements_name_what_they_touch() {
        let table = TableBuilder::new(TableId(1), "t", SchemaVersion(1))
            .column("id", ColumnType::int())
            .column("raw", ColumnType::blob())
            .primary_key(&["id"])
            .build();
        let table = TableRef { schema: "d".into(), table: Arc::new(table) };
        let row = |id: i64, raw: &'static [u8]| {
            vec![Some(Value::Int(id)), Some(Value::Bytes(bytes::Bytes::from_static(raw)))]
        };
        let change = |kind| RowChange { table: table.clone(), kind };
        let txn = Transaction {
            start_ts: StartTs::new(1),
            commit_ts: CommitTs::new(2),
            schema_version: SchemaVersion(1),
            part: Part::WHOLE,
            changes: vec![
                change(ChangeKind::Insert(row(1, b"\x00'"))),
                change(ChangeKind::Update { before: row(1, b""), after: row(2, b"x") }),
                change(ChangeKind::Delete(row(2, b"x"))),
            ],
        };
        assert_eq!(
            render_dml_sql(&txn),
            [
                "INSERT INTO `d`.`t` (`id`,`raw`) VALUES (1,0x0027);",
                "UPDATE `d`.`t` SET `id` = 2,`raw` = 0x78 WHERE `id` = 1 LIMIT 1;",
                "DELETE FROM `d`.`t` WHERE `id` = 2 LIMIT 1;",
            ]
        );
    }
}
