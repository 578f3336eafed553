//! Values as SQLite stores them.

use binlog_catalog::{Column, Error, Value, tp};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{Row as _, TypeInfo as _, ValueRef as _};

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

/// What stands in the file.
pub(super) enum Raw {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Raw {
    pub(super) fn of(row: &SqliteRow, at: usize) -> Result<Self, sqlx::Error> {
        let value = row.try_get_raw(at)?;
        if value.is_null() {
            return Ok(Raw::Null);
        }
        let kind = value.type_info();
        Ok(match kind.name() {
            "INTEGER" => Raw::Int(row.try_get(at)?),
            "REAL" => Raw::Real(row.try_get(at)?),
            "TEXT" => Raw::Text(row.try_get(at)?),
            _ => Raw::Blob(row.try_get(at)?),
        })
    }

    pub(super) fn bind<'q>(
        self,
        query: Query<'q, Sqlite, SqliteArguments>,
    ) -> Query<'q, Sqlite, SqliteArguments> {
        match self {
            Raw::Null => query.bind(None::<i64>),
            Raw::Int(v) => query.bind(v),
            Raw::Real(v) => query.bind(v),
            Raw::Text(v) => query.bind(v),
            Raw::Blob(v) => query.bind(v),
        }
    }

    /// The value that [`bind`] has written.
    ///
    /// # Errors
    /// When it is none of the column's.
    pub(super) fn value(self, column: &Column) -> Result<Value, Error> {
        let ty = &column.ty;
        match self {
            Raw::Null => Ok(Value::Null),
            Raw::Int(v) => match ty.tp {
                _ if ty.is_integer() && ty.is_unsigned() => Ok(Value::UInt(v as u64)),
                _ if ty.is_integer() => Ok(Value::Int(v)),
                tp::YEAR => Ok(Value::Year(v)),
                tp::BIT => Ok(Value::Bit(v as u64)),
                tp::FLOAT => Ok(Value::Float(v as f32)),
                tp::DOUBLE => Ok(Value::Double(v as f64)),
                _ => Value::from_text(v.to_string().as_bytes(), column),
            },
            Raw::Real(v) => match ty.tp {
                tp::FLOAT => Ok(Value::Float(v as f32)),
                tp::DOUBLE => Ok(Value::Double(v)),
                _ => Value::from_text(v.to_string().as_bytes(), column),
            },
            Raw::Text(text) => match text.parse() {
                Ok(number) if ty.tp == tp::BIT => Ok(Value::Bit(number)),
                _ => Value::from_text(text.as_bytes(), column),
            },
            Raw::Blob(bytes) => Value::from_text(&bytes, column),
        }
    }
}
