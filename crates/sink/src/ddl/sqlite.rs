//! Tables in SQLite: types by affinity, and ALTER by making the table anew.
//!
//! INTEGER for whole numbers, REAL for floats, BLOB for bytes, TEXT for all else: also for decimals, times and BIGINT UNSIGNED,
//! which SQLite would round or refuse. Keys are compared as bytes, for SQLite knows none of the source's collations: what was unique
//! there is unique here.

use binlog_catalog::{Column, Ddl, Error, Index, Moment, Table, TableRef, Value, tp};

use super::Statement;
use super::column::moment_of;
use super::create::{indexes, visible, whose};
use super::rename::Rename;
use super::sqlite_copy::{Copy, Source};
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

fn literal(column: &Column, value: &Value) -> String {
    let text = || value.to_text(column).unwrap_or_default();
    let number = || match value {
        Value::Bit(v) => v.to_string(),
        _ => String::from_utf8_lossy(&text()).into_owned(),
    };
    match affinity(column) {
        _ if *value == Value::Null => "NULL".to_owned(),
        "INTEGER" | "REAL" => number(),
        "BLOB" => blob(&text()),
        _ if matches!(value, Value::Bit(_)) => sqlite_text(&number()),
        _ => String::from_utf8(text()).map_or_else(|e| blob(e.as_bytes()), |text| sqlite_text(&text)),
    }
}

fn blob(bytes: &[u8]) -> String {
    let mut out = "x'".to_owned();
    push_hex_digits(&mut out, bytes);
    out.push('\'');
    out
}

fn default_text(column: &Column, whose: &str, notices: &mut Notices) -> String {
    let Some(text) = &column.default else { return String::new() };
    match column.moment(text) {
        Some(Moment::Date) if column.ty.tp == tp::DATETIME => {
            return " DEFAULT (CURRENT_DATE || ' 00:00:00')".to_owned();
        }
        Some(Moment::Date) => return " DEFAULT CURRENT_DATE".to_owned(),
        Some(Moment::Timestamp) => return " DEFAULT CURRENT_TIMESTAMP".to_owned(),
        // An expression of MySQL's means something else here, or nothing.
        None if column.default_is_expr => return String::new(),
        None => {}
    }
    match column.value_of(text) {
        Ok(value) => format!(" DEFAULT {}", literal(column, &value)),
        Err(error) => {
            notices.report(format!("{whose}: the default of `{}` is left out: {error}", column.name));
            String::new()
        }
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
    out + &default_text(column, whose, notices)
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
///
/// # Errors
/// When the default of a new column does not fit its type.
pub(super) fn alter(
    before: &TableRef,
    after: &TableRef,
    ddl: &Ddl,
    notices: &mut Notices,
) -> Result<Vec<Statement>, Error> {
    let whose = whose(after);
    let (schema, name) = (&after.schema, &after.table.name);
    let old_name = sqlite_table(&before.schema, &before.table.name);
    let as_before = table_text("t", &before.table, &whose, &mut Notices::default());
    let as_after = table_text("t", &after.table, &whose, notices);
    let diff = TableDiff::new(&before.table, &after.table, ddl);
    let casts = diff.kept.iter().any(|(old, new)| !old.passes_to(new) && new.is_writable());
    let mut statements: Vec<Statement> = Vec::new();
    for index in &before.table.indexes {
        let name = index_name(&before.schema, &before.table.name, &index.name);
        statements.push(format!("DROP INDEX IF EXISTS {name}").into());
    }
    if as_before != as_after || casts {
        let fresh = double_quote(&format!("{}#new", sqlite_table_name(schema, name)));
        statements.push(table_text(&fresh, &after.table, &whose, &mut Notices::default()).into());
        let copy = copy(&old_name, &fresh, &diff, before, after, ddl)?;
        let sql = format!("INSERT INTO {fresh} SELECT … FROM {old_name}");
        statements.push(Statement { copy: Some(Box::new(copy)), ..Statement::from(sql) });
        statements.push(format!("DROP TABLE {old_name}").into());
        statements.push(format!("ALTER TABLE {fresh} RENAME TO {}", sqlite_table(schema, name)).into());
    }
    statements
        .extend(index_texts(schema, name, &after.table, &whose, notices).into_iter().map(Statement::from));
    Ok(statements)
}

fn copy(
    from: &str,
    to: &str,
    diff: &TableDiff<'_>,
    before: &TableRef,
    after: &TableRef,
    ddl: &Ddl,
) -> Result<Copy, Error> {
    let mut columns = Vec::new();
    for column in visible(&after.table) {
        if column.is_generated() && is_portable(&after.table, column) {
            continue;
        }
        let source = match diff.old_of(column) {
            Some(old) if old.passes_to(column) || column.is_generated() => {
                // The source has refused the change where there were NULLs; what a hole of the stream left must not stop it.
                let filler = (column.ty.is_not_null() && !old.ty.is_not_null()).then(|| column.zero());
                Source::Same(double_quote(&old.name), filler)
            }
            Some(old) => Source::Cast(double_quote(&old.name), Box::new(old.clone())),
            None if column.is_generated() => Source::Value(Value::Null),
            None => match column.origin_value()? {
                Some(value) => Source::Value(value),
                None => Source::Value(moment_of(ddl, column).unwrap_or(Value::Null)),
            },
        };
        columns.push((column.clone(), source));
    }
    let row_id = row_id(&before.table);
    Ok(Copy { from: from.to_owned(), to: to.to_owned(), columns, row_id, zone: ddl.zone.clone() })
}

/// A name of SQLite's row id that no column takes.
pub(crate) fn row_id(table: &Table) -> Option<&'static str> {
    let taken = |id: &&str| table.columns.iter().any(|c| c.name.eq_ignore_ascii_case(id));
    ["rowid", "_rowid_", "oid"].into_iter().find(|id| !taken(id))
}
