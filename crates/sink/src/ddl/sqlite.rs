//! Tables in SQLite: types by affinity, and ALTER by making the table anew.
//!
//! INTEGER for whole numbers, REAL for floats, BLOB for bytes, TEXT for all else: also for decimals, times and BIGINT UNSIGNED,
//! which SQLite would round or refuse. Keys are compared as bytes, for SQLite knows none of the source's collations: what was unique
//! there is unique here.

use binlog_catalog::{Column, Ddl, Index, Table, TableRef, tp};

use super::column::{bit_value, is_now};
use super::create::{indexes, visible, whose};
use super::rename::Rename;
use super::table_diff::TableDiff;
use crate::literal::{push_hex_digits, sqlite_text};
use crate::names::{double_quote, sqlite_table, sqlite_table_name};
use crate::notices::Notices;

/// Whether the column's values are text in SQLite though the source's are numbers.
pub(crate) fn is_wide_number(column: &Column) -> bool {
    (column.ty.tp == tp::LONGLONG && column.ty.is_unsigned())
        || (column.ty.tp == tp::BIT && column.ty.flen > 63)
}

fn affinity(column: &Column) -> &'static str {
    match column.ty.tp {
        _ if is_wide_number(column) => "TEXT",
        tp::TINY | tp::SHORT | tp::INT24 | tp::LONG | tp::LONGLONG | tp::YEAR | tp::BIT => "INTEGER",
        tp::FLOAT | tp::DOUBLE => "REAL",
        _ if column.ty.is_bytes() => "BLOB",
        tp::NEW_DECIMAL | tp::DATE | tp::NEW_DATE | tp::DATETIME | tp::TIMESTAMP | tp::DURATION => "TEXT",
        tp::JSON | tp::ENUM | tp::SET => "TEXT",
        _ if column.ty.is_text() => "TEXT",
        _ => "BLOB",
    }
}

/// An expression that means in SQLite what it means in MySQL: columns, whole numbers, and `+`, `-`, `*` over integers.
fn is_portable(table: &Table, column: &Column) -> bool {
    let mut rest = String::new();
    let mut inside = false;
    for c in column.generated_expr.chars() {
        match c {
            '`' => inside = !inside,
            _ if inside => {}
            c => rest.push(c),
        }
    }
    let integers_only = visible(table)
        .filter(|c| column.generated_expr.contains(&format!("`{}`", c.name)))
        .all(|c| c.ty.is_integer() && !is_wide_number(c));
    integers_only
        && rest.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '+' | '-' | '*' | '(' | ')'))
}

fn literal(column: &Column, value: &[u8]) -> String {
    if column.ty.tp == tp::BIT {
        let number = bit_value(value);
        return if is_wide_number(column) { format!("'{number}'") } else { number.to_string() };
    }
    match (affinity(column), std::str::from_utf8(value)) {
        ("INTEGER" | "REAL", Ok(text)) if text.parse::<f64>().is_ok() => text.to_owned(),
        ("BLOB", _) | (_, Err(_)) => {
            let mut out = "x'".to_owned();
            push_hex_digits(&mut out, value);
            out.push('\'');
            out
        }
        (_, Ok(text)) => sqlite_text(text),
    }
}

fn default_text(column: &Column) -> String {
    match &column.default {
        Some(value) if is_now(column, value) => " DEFAULT CURRENT_TIMESTAMP".to_owned(),
        // An expression of MySQL's means something else here, or nothing.
        Some(_) if column.default_is_expr => String::new(),
        Some(value) => format!(" DEFAULT {}", literal(column, value)),
        None => String::new(),
    }
}

fn definition(table: &Table, column: &Column, whose: &str, notices: &mut Notices) -> String {
    let mut out = format!("{} {}", double_quote(&column.name), affinity(column));
    if column.is_generated() {
        if is_portable(table, column) {
            // SQLite takes backticks as quotes.
            let kind = if column.generated_stored { "STORED" } else { "VIRTUAL" };
            out.push_str(&format!(" GENERATED ALWAYS AS ({}) {kind}", column.generated_expr));
        } else {
            notices.report(format!(
                "{whose}: generated column `{}` stays empty: SQLite has no equal of {}",
                column.name, column.generated_expr
            ));
        }
        return out;
    }
    if column.ty.is_not_null() {
        out.push_str(" NOT NULL");
    }
    out + &default_text(column)
}

fn table_text(name: &str, table: &Table, whose: &str, notices: &mut Notices) -> String {
    let mut lines: Vec<String> = visible(table).map(|c| definition(table, c, whose, notices)).collect();
    if let Some(primary) = indexes(table, whose, notices).find(|i| i.primary) {
        lines.push(format!("PRIMARY KEY ({})", columns_of(primary)));
    }
    format!("CREATE TABLE IF NOT EXISTS {name} ({})", lines.join(", "))
}

/// Prefix lengths fall away: what is unique by its prefix is unique as a whole.
fn columns_of(index: &Index) -> String {
    let parts: Vec<String> = index.columns.iter().map(|part| double_quote(&part.name)).collect();
    parts.join(", ")
}

/// Index names are the file's, not the table's.
fn index_name(schema: &str, table: &str, index: &str) -> String {
    double_quote(&format!("{}.{index}", sqlite_table_name(schema, table)))
}

fn index_texts(
    schema: &str,
    table_name: &str,
    table: &Table,
    whose: &str,
    notices: &mut Notices,
) -> Vec<String> {
    indexes(table, whose, notices)
        .filter(|i| !i.primary)
        .map(|index| {
            format!(
                "CREATE {}INDEX IF NOT EXISTS {} ON {} ({})",
                if index.unique { "UNIQUE " } else { "" },
                index_name(schema, table_name, &index.name),
                sqlite_table(schema, table_name),
                columns_of(index)
            )
        })
        .collect()
}

/// CREATE TABLE and its indexes.
pub(super) fn create(table: &TableRef, notices: &mut Notices) -> Vec<String> {
    let whose = whose(table);
    let (schema, name) = (&table.schema, &table.table.name);
    let mut statements = vec![table_text(&sqlite_table(schema, name), &table.table, &whose, notices)];
    statements.extend(index_texts(schema, name, &table.table, &whose, notices));
    statements
}

/// RENAME, with the names of the indexes.
pub(super) fn rename(step: &Rename) -> Vec<String> {
    let mut notices = Notices::default();
    let (from, to) = (&step.from, &step.to);
    let mut statements = vec![format!(
        "ALTER TABLE {} RENAME TO {}",
        sqlite_table(&from.0, &from.1),
        sqlite_table(&to.0, &to.1)
    )];
    for index in &step.table.indexes {
        statements.push(format!("DROP INDEX IF EXISTS {}", index_name(&from.0, &from.1, &index.name)));
    }
    statements.extend(index_texts(&to.0, &to.1, &step.table, "", &mut notices));
    statements
}

/// Makes `after` out of `before`: nothing where SQLite sees no difference, else a new table into which the rows are copied.
pub(super) fn alter(before: &TableRef, after: &TableRef, ddl: &Ddl, notices: &mut Notices) -> Vec<String> {
    let whose = whose(after);
    let (schema, name) = (&after.schema, &after.table.name);
    let old_name = sqlite_table(&before.schema, &before.table.name);
    let as_before = table_text("t", &before.table, &whose, &mut Notices::default());
    let as_after = table_text("t", &after.table, &whose, notices);
    let mut statements = Vec::new();
    for index in &before.table.indexes {
        statements.push(format!(
            "DROP INDEX IF EXISTS {}",
            index_name(&before.schema, &before.table.name, &index.name)
        ));
    }
    if as_before != as_after {
        let diff = TableDiff::new(&before.table, &after.table, ddl);
        let fresh = double_quote(&format!("{}#new", sqlite_table_name(schema, name)));
        let mut to = Vec::new();
        let mut from = Vec::new();
        for column in visible(&after.table) {
            if column.is_generated() && is_portable(&after.table, column) {
                continue;
            }
            let source = match diff.old_of(column) {
                Some(old) => converted(old, column),
                None => match &column.origin_default {
                    Some(value) => literal(column, value),
                    None if column.ty.is_not_null() => zero(column).to_owned(),
                    None => "NULL".to_owned(),
                },
            };
            to.push(double_quote(&column.name));
            from.push(source);
        }
        statements.push(table_text(&fresh, &after.table, &whose, &mut Notices::default()));
        statements.push(format!(
            "INSERT INTO {fresh} ({}) SELECT {} FROM {old_name}",
            to.join(", "),
            from.join(", ")
        ));
        statements.push(format!("DROP TABLE {old_name}"));
        statements.push(format!("ALTER TABLE {fresh} RENAME TO {}", sqlite_table(schema, name)));
    }
    statements.extend(index_texts(schema, name, &after.table, &whose, notices));
    statements
}

/// An old value in the new column's type. Column affinity does the rest of the work.
fn converted(old: &Column, new: &Column) -> String {
    let name = double_quote(&old.name);
    let (from, to) = (affinity(old), affinity(new));
    let value = if from == to { name } else { format!("CAST({name} AS {to})") };
    if new.ty.is_not_null() && !old.ty.is_not_null() {
        // The source has refused the change where there were NULLs; what a hole of the stream left must not stop it.
        return format!("coalesce({value}, {})", zero(new));
    }
    value
}

fn zero(column: &Column) -> &'static str {
    match affinity(column) {
        "INTEGER" | "REAL" => "0",
        "BLOB" => "x''",
        _ => "''",
    }
}
