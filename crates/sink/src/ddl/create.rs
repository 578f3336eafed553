//! CREATE TABLE, MySQL dialect.

use binlog_catalog::{Column, Index, IndexColumn, Table, TableRef, flag};

use super::column::{DefaultOf, Keyed, definition};
use super::dialect::Dialect;
use crate::literal;
use crate::names::{backtick, mysql_table};
use crate::notices::Notices;

/// How reports name a table.
pub(super) fn whose(table: &TableRef) -> String {
    format!("table `{}`.`{}`", table.schema, table.table.name)
}

/// The statement that makes the table as it stands, without foreign keys (the source checked them) and partitions.
pub(super) fn table(dialect: &Dialect, table: &TableRef, notices: &mut Notices) -> String {
    let whose = whose(table);
    if table.table.partitioned {
        notices.report(format!("{whose}: the partitions are left out"));
    }
    let mut lines: Vec<String> = visible(&table.table)
        .map(|c| definition(dialect, c, &whose, keyed(&table.table, c), DefaultOf::Column, notices))
        .collect();
    lines.extend(indexes(&table.table, &whose, notices).map(index_text));
    let options = table_options(dialect, &table.table, &whose, notices);
    format!(
        "CREATE TABLE IF NOT EXISTS {} ({}){options}",
        mysql_table(&table.schema, &table.table.name),
        lines.join(", ")
    )
}

/// Columns that the target has.
pub(super) fn visible(table: &Table) -> impl Iterator<Item = &Column> {
    table.columns.iter().filter(|c| c.is_visible())
}

/// Indexes that the target has: those over expressions are left out, with a report.
pub(super) fn indexes<'a>(
    table: &'a Table,
    whose: &str,
    notices: &mut Notices,
) -> impl Iterator<Item = &'a Index> + use<'a> {
    let mut kept = Vec::new();
    for index in table.indexes.iter().filter(|i| i.public) {
        if is_over_columns(table, index) {
            kept.push(index);
        } else {
            notices.report(format!("{whose}: index `{}` is left out: it is over an expression", index.name));
        }
    }
    kept.into_iter()
}

fn is_over_columns(table: &Table, index: &Index) -> bool {
    !index.columns.is_empty()
        && index.columns.iter().all(|part| table.columns.get(part.offset).is_some_and(Column::is_visible))
}

/// Bytes of an index entry at most: InnoDB's limit.
const KEY_BYTES: u64 = 3072;

/// What the table's indexes mean for the column.
pub(super) fn keyed(table: &Table, column: &Column) -> Keyed {
    let of_columns = || table.indexes.iter().filter(|i| i.public && is_over_columns(table, i));
    let leads = |i: &Index| i.columns.first().is_some_and(|part| part.offset == column.offset);
    let too_wide = |i: &Index| {
        i.unique
            && i.columns.iter().any(|part| part.offset == column.offset)
            && i.columns.iter().map(|part| widest(table, part)).sum::<u64>() > KEY_BYTES
    };
    Keyed {
        leads: column.ty.flag & flag::AUTO_INCREMENT != 0 && of_columns().any(leads),
        too_wide: column.ty.is_text() && of_columns().any(too_wide),
    }
}

/// Bytes of a part of an index if each character took four.
fn widest(table: &Table, part: &IndexColumn) -> u64 {
    let Some(column) = table.columns.get(part.offset) else { return 0 };
    let length = part.prefix.map_or(column.ty.flen, i64::from).max(0).unsigned_abs();
    match &column.ty {
        ty if ty.is_text() => length * 4,
        ty if ty.is_bytes() => length,
        _ => 8,
    }
}

/// `` UNIQUE KEY `u` (`a`,`b`(5)) ``.
pub(super) fn index_text(index: &Index) -> String {
    let parts: Vec<String> = index
        .columns
        .iter()
        .map(|part| match part.prefix {
            Some(chars) => format!("{}({chars})", backtick(&part.name)),
            None => backtick(&part.name),
        })
        .collect();
    let parts = parts.join(",");
    if index.primary {
        return format!("PRIMARY KEY ({parts})");
    }
    let kind = if index.unique { "UNIQUE KEY" } else { "KEY" };
    let comment = match index.comment.as_str() {
        "" => String::new(),
        text => format!(" COMMENT {}", literal::text(text)),
    };
    format!("{kind} {} ({parts}){comment}", backtick(&index.name))
}

/// ` DEFAULT CHARSET=… COLLATE=… COMMENT=…`.
pub(super) fn table_options(dialect: &Dialect, table: &Table, whose: &str, notices: &mut Notices) -> String {
    let mut out = charset_options(dialect, &table.charset, &table.collate, whose, notices);
    if !table.comment.is_empty() {
        out.push_str(&format!(" COMMENT={}", literal::text(&table.comment)));
    }
    out
}

/// ` DEFAULT CHARACTER SET … COLLATE …`; empty where neither is known.
pub(super) fn charset_options(
    dialect: &Dialect,
    charset: &str,
    collate: &str,
    whose: &str,
    notices: &mut Notices,
) -> String {
    let (charset, collate) = dialect.collation(charset, collate, whose, notices);
    let mut out = String::new();
    if !charset.is_empty() {
        out.push_str(&format!(" DEFAULT CHARACTER SET {charset}"));
    }
    if !collate.is_empty() {
        out.push_str(&format!(" COLLATE {collate}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use binlog_catalog::{ColumnType, TableBuilder};
    use binlog_types::{SchemaVersion, TableId};

    use super::*;
    use crate::ddl::dialect::Kind;

    fn shown(table: Table) -> String {
        let dialect = Dialect::new(Kind::MariaDb, HashSet::new());
        let table_ref = TableRef { schema: "d".into(), table: Arc::new(table) };
        super::table(&dialect, &table_ref, &mut Notices::default())
    }

    #[test]
    fn types_defaults_and_indexes() {
        let mut table = TableBuilder::new(TableId(1), "t`", SchemaVersion(1))
            .column("id", ColumnType::bigint().unsigned())
            .column("b", ColumnType::varchar(10))
            .default_value("it's")
            .column("at", ColumnType::datetime(3))
            .default_value("CURRENT_TIMESTAMP")
            .column("e", ColumnType::enumeration(["x", "y"]).not_null())
            .column("raw", ColumnType::varbinary(4))
            .default_value(vec![0xff, 0])
            .primary_key(&["id"])
            .unique("u", &["b"])
            .build();
        table.columns[0].ty.flag |= flag::AUTO_INCREMENT;
        table.columns[2].ty.flag |= flag::ON_UPDATE_NOW;
        table.indexes[1].columns[0].prefix = Some(5);
        assert_eq!(
            shown(table),
            "CREATE TABLE IF NOT EXISTS `d`.`t``` (`id` BIGINT(20) UNSIGNED NOT NULL AUTO_INCREMENT, \
             `b` VARCHAR(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL DEFAULT 'it\\'s', \
             `at` DATETIME(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), \
             `e` ENUM('x','y') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, \
             `raw` VARBINARY(4) NULL DEFAULT 0xFF00, PRIMARY KEY (`id`), UNIQUE KEY `u` (`b`(5))) \
             DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        );
    }

    #[test]
    fn expression_indexes_and_hidden_columns_are_left_out() {
        let mut table = TableBuilder::new(TableId(1), "t", SchemaVersion(1))
            .column("a", ColumnType::int())
            .column("_v$_ei_0", ColumnType::int())
            .index("ei", &["_v$_ei_0"])
            .build();
        table.columns[1].hidden = true;
        table.columns[1].generated_expr = "lower(`a`)".into();
        assert!(
            shown(table).starts_with("CREATE TABLE IF NOT EXISTS `d`.`t` (`a` INT(11) NULL DEFAULT NULL) ")
        );
    }
}
