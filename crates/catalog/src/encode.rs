//! Binlog rows as TiDB writes them, for embedded writers and tests.

use binlog_types::{SchemaVersion, TableId};
use bytes::Bytes;

use crate::{Error, Row, Table};

/// One encoded row change: an item of a `TableMutation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// From [`insert_row`].
    Insert(Bytes),
    /// From [`update_row`].
    Update(Bytes),
    /// From [`delete_row`].
    Delete(Bytes),
}

/// An inserted row. `row_id` is TiDB's hidden row id where the table's primary key is not its handle (unread elsewhere).
///
/// # Errors
/// When the row does not have one entry per column, lacks a key column, or a value does not fit its column's type.
pub fn insert_row(table: &Table, row_id: i64, row: &Row) -> Result<Mutation, Error> {
    todo!()
}

/// An updated row: old and new values of all columns.
///
/// # Errors
/// As [`insert_row`].
pub fn update_row(table: &Table, row_id: i64, before: &Row, after: &Row) -> Result<Mutation, Error> {
    todo!()
}

/// A deleted row.
///
/// # Errors
/// As [`insert_row`].
pub fn delete_row(table: &Table, row_id: i64, row: &Row) -> Result<Mutation, Error> {
    todo!()
}

/// A serialised `PrewriteValue` of one transaction; mutations of one table keep their order. Tables come in the order given.
pub fn prewrite_value(version: SchemaVersion, tables: Vec<(TableId, Vec<Mutation>)>) -> Bytes {
    todo!()
}
