//! MySQL statements for rows.

use binlog_catalog::{Column, Row, Value};

use super::fold::Net;
use crate::layout::Layout;
use crate::literal;
use crate::names::{backtick, mysql_table};

fn column(layout: &Layout, at: usize) -> Option<&Column> {
    layout.table.table.columns.get(at)
}

fn name(layout: &Layout, at: usize) -> String {
    column(layout, at).map(|c| backtick(&c.name)).unwrap_or_default()
}

/// `` `schema`.`table` ``.
pub(crate) fn table(layout: &Layout) -> String {
    mysql_table(&layout.table.schema, &layout.table.table.name)
}

/// `` INSERT INTO `s`.`t` (`a`,`b`) VALUES `` with `verb` in the place of INSERT.
pub(crate) fn insert_head(verb: &str, layout: &Layout, columns: &[usize]) -> String {
    let names: Vec<String> = columns.iter().map(|at| name(layout, *at)).collect();
    format!("{verb} INTO {} ({}) VALUES ", table(layout), names.join(","))
}

/// The same with a comment behind the verb.
pub(crate) fn marked_insert_head(verb: &str, mark: &str, layout: &Layout, columns: &[usize]) -> String {
    insert_head(&format!("{verb} {mark}"), layout, columns)
}

/// `(1,'x')`.
pub(crate) fn push_values(out: &mut String, layout: &Layout, columns: &[usize], row: &Row) {
    out.push('(');
    for (count, at) in columns.iter().enumerate() {
        if count > 0 {
            out.push(',');
        }
        push_value(out, layout, *at, row);
    }
    out.push(')');
}

fn push_value(out: &mut String, layout: &Layout, at: usize, row: &Row) {
    match (row.get(at), column(layout, at)) {
        (Some(Some(Value::Json(json))), Some(_)) if layout.json_type => {
            literal::push_text(out, &json.typed_text().unwrap_or_else(|e| e.to_string()));
        }
        (Some(Some(value)), Some(column)) => literal::push_mysql(out, value, column),
        _ => out.push_str("DEFAULT"),
    }
}

/// `` DELETE mark FROM `s`.`t` WHERE `k` IN ( ``.
pub(crate) fn delete_head(mark: &str, layout: &Layout) -> String {
    let names: Vec<String> = layout.key.iter().flatten().map(|at| name(layout, *at)).collect();
    let names = names.join(",");
    if layout.key.as_ref().is_some_and(|k| k.len() > 1) {
        format!("DELETE {mark} FROM {} WHERE ({names}) IN (", table(layout))
    } else {
        format!("DELETE {mark} FROM {} WHERE {names} IN (", table(layout))
    }
}

/// The key as an element of the IN list.
pub(crate) fn push_key(out: &mut String, layout: &Layout, net: &Net<'_>) {
    let several = layout.key.as_ref().is_some_and(|k| k.len() > 1);
    if several {
        out.push('(');
    }
    out.push_str(&net.key);
    if several {
        out.push(')');
    }
}

/// `` `k` = 1 AND `l` = 'x' ``.
pub(crate) fn key_condition(layout: &Layout, row: &Row) -> String {
    let mut out = String::new();
    for at in layout.key.iter().flatten() {
        if !out.is_empty() {
            out.push_str(" AND ");
        }
        out.push_str(&name(layout, *at));
        out.push_str(" = ");
        push_value(&mut out, layout, *at, row);
    }
    out
}

/// `` `a` = 1,`b` = NULL `` over the columns that `row` binds.
pub(crate) fn assignments(layout: &Layout, row: &Row) -> String {
    let mut out = String::new();
    for at in layout.bound(row) {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&name(layout, at));
        out.push_str(" = ");
        push_value(&mut out, layout, at, row);
    }
    out
}

/// `` ON DUPLICATE KEY UPDATE `a` = VALUES(`a`),… `` over these columns, for the end of an INSERT of many rows.
pub(crate) fn update_from_values(layout: &Layout, columns: &[usize]) -> String {
    let set: Vec<String> = columns
        .iter()
        .map(|at| {
            let name = name(layout, *at);
            format!("{name} = VALUES({name})")
        })
        .collect();
    format!(" ON DUPLICATE KEY UPDATE {}", set.join(","))
}

/// A DELETE of other rows than `before` that have a value of a unique key that `after` shall have; `None`: there is no such key.
pub(crate) fn delete_in_the_way(layout: &Layout, before: &Row, after: &Row) -> Option<String> {
    let mut ways: Vec<String> = Vec::new();
    for parts in layout.uniques.parts() {
        let mut way = String::new();
        for (at, prefix) in parts {
            if !layout.writable.contains(at) || !matches!(after.get(*at), Some(Some(v)) if *v != Value::Null)
            {
                way.clear();
                break;
            }
            let mut value = String::new();
            push_value(&mut value, layout, *at, after);
            let (and, name) = (if way.is_empty() { "" } else { " AND " }, name(layout, *at));
            match prefix {
                Some(length) => way.push_str(&format!("{and}LEFT({name},{length}) = LEFT({value},{length})")),
                None => way.push_str(&format!("{and}{name} = {value}")),
            }
        }
        if !way.is_empty() {
            ways.push(format!("({way})"));
        }
    }
    (!ways.is_empty()).then(|| {
        let (own, ways) = (key_condition(layout, before), ways.join(" OR "));
        format!("DELETE FROM {} WHERE NOT ({own}) AND ({ways})", table(layout))
    })
}

/// A condition that holds for rows that equal `row` in every column it binds, byte for byte.
///
/// `<=>` takes NULL as equal to NULL. Collations may take different texts as equal, so text is compared as bytes too (the plain
/// comparison beside it lets an index help). FLOAT columns are compared with the double of the same value. JSON is compared as
/// the target compares its JSON; in MariaDB that is text, which this sink itself wrote.
pub(crate) fn whole_row_condition(layout: &Layout, row: &Row, json_type: bool) -> String {
    let mut out = String::new();
    for at in layout.bound(row) {
        let (Some(Some(value)), Some(column)) = (row.get(at), column(layout, at)) else { continue };
        if !out.is_empty() {
            out.push_str(" AND ");
        }
        let name = backtick(&column.name);
        let mut literal = String::new();
        literal::push_mysql(&mut literal, value, column);
        match value {
            Value::Json(_) if json_type => out.push_str(&format!("{name} <=> CAST({literal} AS JSON)")),
            Value::Text(bytes) => {
                out.push_str(&format!("{name} <=> {literal}"));
                if std::str::from_utf8(bytes).is_ok() {
                    let mut hex = String::new();
                    literal::push_hex(&mut hex, bytes);
                    out.push_str(&format!(" AND CAST(CONVERT({name} USING utf8mb4) AS BINARY) <=> {hex}"));
                }
            }
            _ => out.push_str(&format!("{name} <=> {literal}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use binlog_catalog::{ColumnType, JsonBinary, TableBuilder, TableRef};
    use binlog_types::{SchemaVersion, TableId};

    use super::*;

    #[test]
    fn whole_doubles_stay_doubles_where_json_is_a_type() {
        let table =
            TableBuilder::new(TableId(1), "t", SchemaVersion(1)).column("j", ColumnType::json()).build();
        let table = TableRef { schema: "d".into(), table: Arc::new(table) };
        let row =
            vec![Some(Value::Json(JsonBinary { type_code: 0x0b, body: 1f64.to_le_bytes().to_vec().into() }))];
        let written = |json_type| {
            let layout = Layout { json_type, ..Layout::new(&table) };
            let mut sql = String::new();
            push_values(&mut sql, &layout, &[0], &row);
            sql
        };
        assert_eq!((written(true).as_str(), written(false).as_str()), ("('1.0')", "('1')"));
    }
}
