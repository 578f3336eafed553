//! A table as the server describes it.

use std::collections::HashMap;

use binlog_catalog::{Column, ColumnType, Index, IndexColumn, Table, flag, tp};

use crate::session::Session;
use crate::{Error, literal};

/// Columns that are read, in this order.
const COLUMNS: &str =
    "column_name, data_type, column_type, is_nullable, extra, character_set_name, collation_name";

/// Asks for columns and indexes; None: there is no such table.
pub(crate) async fn table(session: &mut Session, schema: &str, name: &str) -> Result<Option<Table>, Error> {
    let of = format!("table_schema = {} AND table_name = {}", literal::text(schema), literal::text(name));
    let sql =
        format!("SELECT {COLUMNS} FROM information_schema.columns WHERE {of} ORDER BY ordinal_position");
    let columns: Vec<Column> = session
        .texts(&sql)
        .await?
        .into_iter()
        .enumerate()
        .map(|(offset, row)| column(offset, row.into_iter().map(Option::unwrap_or_default).collect()))
        .collect();
    if columns.is_empty() {
        return Ok(None);
    }
    let sql = format!(
        "SELECT index_name, non_unique, column_name, sub_part FROM information_schema.statistics WHERE {of} \
         ORDER BY index_name, seq_in_index"
    );
    let mut indexes: Vec<Index> = Vec::new();
    for row in session.texts(&sql).await? {
        let [Some(index), Some(non_unique), part, prefix] = row.as_slice() else { continue };
        let offset =
            part.as_ref().and_then(|part| columns.iter().position(|c| c.name.eq_ignore_ascii_case(part)));
        let column = IndexColumn {
            name: part.clone().unwrap_or_default(),
            // An expression is at no place, so that nobody takes the index for a key.
            offset: offset.unwrap_or(usize::MAX),
            prefix: prefix.as_ref().and_then(|prefix| prefix.parse().ok()),
        };
        match indexes.last_mut().filter(|last| last.name == *index) {
            Some(last) => last.columns.push(column),
            None => indexes.push(Index {
                id: indexes.len() as i64 + 1,
                name: index.clone(),
                columns: vec![column],
                unique: non_unique == "0",
                primary: index == "PRIMARY",
                public: true,
                invisible: false,
                comment: String::new(),
            }),
        }
    }
    Ok(Some(Table { name: name.to_owned(), columns, indexes, ..Table::default() }))
}

fn column(offset: usize, row: Vec<String>) -> Column {
    let mut row = row.into_iter();
    let mut next = || row.next().unwrap_or_default();
    let (name, data_type, column_type, nullable, extra, charset, collate) =
        (next(), next(), next(), next(), next(), next(), next());
    let column_type = column_type.to_ascii_lowercase();
    let mut flags = 0;
    if nullable.eq_ignore_ascii_case("no") {
        flags |= flag::NOT_NULL;
    }
    if column_type.contains(" unsigned") {
        flags |= flag::UNSIGNED;
    }
    let generated = extra.to_ascii_uppercase().contains("GENERATED") && !extra.contains("DEFAULT_GENERATED");
    let ty = ColumnType {
        tp: type_byte(&data_type.to_ascii_lowercase()),
        flag: flags,
        flen: -1,
        decimal: -1,
        charset: if charset.is_empty() { "binary".to_owned() } else { charset },
        collate: if collate.is_empty() { "binary".to_owned() } else { collate },
        ..ColumnType::default()
    };
    Column {
        id: offset as i64 + 1,
        name,
        offset,
        ty,
        public: true,
        generated_expr: if generated { extra.clone() } else { String::new() },
        generated_stored: generated && extra.to_ascii_uppercase().contains("STORED"),
        ..Column::default()
    }
}

fn type_byte(name: &str) -> u8 {
    let known: HashMap<&str, u8> = HashMap::from([
        ("tinyint", tp::TINY),
        ("smallint", tp::SHORT),
        ("mediumint", tp::INT24),
        ("int", tp::LONG),
        ("bigint", tp::LONGLONG),
        ("float", tp::FLOAT),
        ("double", tp::DOUBLE),
        ("decimal", tp::NEW_DECIMAL),
        ("date", tp::DATE),
        ("datetime", tp::DATETIME),
        ("timestamp", tp::TIMESTAMP),
        ("time", tp::DURATION),
        ("year", tp::YEAR),
        ("bit", tp::BIT),
        ("json", tp::JSON),
        ("enum", tp::ENUM),
        ("set", tp::SET),
        ("char", tp::STRING),
        ("binary", tp::STRING),
        ("varchar", tp::VARCHAR),
        ("varbinary", tp::VARCHAR),
        ("tinytext", tp::TINY_BLOB),
        ("tinyblob", tp::TINY_BLOB),
        ("text", tp::BLOB),
        ("blob", tp::BLOB),
        ("mediumtext", tp::MEDIUM_BLOB),
        ("mediumblob", tp::MEDIUM_BLOB),
        ("longtext", tp::LONG_BLOB),
        ("longblob", tp::LONG_BLOB),
    ]);
    known.get(name).copied().unwrap_or(tp::VAR_STRING)
}
