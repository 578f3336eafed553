//! Values as SQLite stores them.

use binlog_catalog::{Column, Value};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments};

use crate::ddl::is_wide_number;

/// Binds a value as its column's affinity wants it: exact text where SQLite would round.
pub(super) fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    value: Option<&Value>,
    column: &Column,
) -> Query<'q, Sqlite, SqliteArguments> {
    let Some(value) = value else { return query.bind(None::<i64>) };
    match value {
        Value::Null => query.bind(None::<i64>),
        Value::Int(v) | Value::Year(v) => query.bind(*v),
        Value::UInt(v) | Value::Bit(v) => match i64::try_from(*v) {
            Ok(v) if !is_wide_number(column) => query.bind(v),
            _ => query.bind(v.to_string()),
        },
        Value::Float(v) => query.bind(f64::from(*v)),
        Value::Double(v) => query.bind(*v),
        Value::Decimal(text) => query.bind(text.to_string()),
        Value::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => query.bind(text.to_owned()),
            Err(_) => query.bind(bytes.to_vec()),
        },
        Value::Bytes(bytes) => query.bind(bytes.to_vec()),
        Value::Enum(_) | Value::Set(_) | Value::Time { .. } | Value::Duration { .. } | Value::Json(_) => {
            match String::from_utf8(value.to_text(column).unwrap_or_default()) {
                Ok(text) => query.bind(text),
                Err(error) => query.bind(error.into_bytes()),
            }
        }
    }
}
