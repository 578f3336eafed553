//! Binlog rows as TiDB writes them, for embedded writers and tests.

use binlog_proto::binlog::{MutationType, PrewriteValue, TableMutation};
use binlog_types::{SchemaVersion, TableId};
use bytes::Bytes;
use prost::Message;

use crate::codec::{CodecError, Datum};
use crate::row::{NO_COLUMNS, ROW_ID, datum_of};
use crate::{Column, Error, Row, Table, Value, tp};

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
/// When the row does not have one entry per column, lacks a NOT NULL column, or a value does not fit its column's type.
pub fn insert_row(table: &Table, row_id: i64, row: &Row) -> Result<Mutation, Error> {
    let mut out = Vec::with_capacity(64);
    let in_handle = handle(table, row_id, row, &mut out)?;
    let mut columns = Columns::new(&mut out);
    for (offset, (column, value)) in pairs(table, row)?.enumerate() {
        if in_handle.contains(&offset) || virtual_generated(column) {
            continue;
        }
        let value = bound(column, value)?;
        if *value == Value::Null && column.default.is_none() && column.origin_default.is_none() {
            continue;
        }
        columns.put(column, value)?;
    }
    columns.end();
    Ok(Mutation::Insert(out.into()))
}

/// An updated row: old and new values of all columns.
///
/// # Errors
/// As [`insert_row`].
pub fn update_row(table: &Table, row_id: i64, before: &Row, after: &Row) -> Result<Mutation, Error> {
    let mut out = Vec::with_capacity(128);
    for row in [before, after] {
        let mut columns = Columns::new(&mut out);
        for (column, value) in pairs(table, row)? {
            if !virtual_generated(column) {
                columns.put(column, bound(column, value)?)?;
            }
        }
        columns.row_id(table, row_id);
        columns.end();
    }
    Ok(Mutation::Update(out.into()))
}

/// A deleted row. Columns without a value are left out.
///
/// # Errors
/// As [`insert_row`].
pub fn delete_row(table: &Table, row_id: i64, row: &Row) -> Result<Mutation, Error> {
    let mut out = Vec::with_capacity(64);
    let mut columns = Columns::new(&mut out);
    for (column, value) in pairs(table, row)? {
        if let (true, Some(value)) = (column.public, value) {
            columns.put(column, value)?;
        }
    }
    columns.row_id(table, row_id);
    columns.end();
    Ok(Mutation::Delete(out.into()))
}

/// A serialised `PrewriteValue` of one transaction; mutations of one table keep their order. Tables come in the order given.
pub fn prewrite_value(version: SchemaVersion, tables: Vec<(TableId, Vec<Mutation>)>) -> Bytes {
    let mutations = tables.into_iter().map(|(table, mutations)| {
        let mut out = TableMutation { table_id: table.0, ..TableMutation::default() };
        for mutation in mutations {
            let (kind, rows, row) = match mutation {
                Mutation::Insert(row) => (MutationType::Insert, &mut out.inserted_rows, row),
                Mutation::Update(row) => (MutationType::Update, &mut out.updated_rows, row),
                Mutation::Delete(row) => (MutationType::DeleteRow, &mut out.deleted_rows, row),
            };
            rows.push(row);
            out.sequence.push(kind as i32);
        }
        out
    });
    PrewriteValue { schema_version: version.0, mutations: mutations.collect() }.encode_to_vec().into()
}

/// Writes `(column id, value)` pairs; a row without any is one byte.
struct Columns<'a> {
    out: &'a mut Vec<u8>,
    any: bool,
}

impl<'a> Columns<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Columns { out, any: false }
    }

    fn put(&mut self, column: &Column, value: &Value) -> Result<(), Error> {
        let datum = datum_of(value, &column.ty).map_err(in_column(column))?;
        self.any = true;
        Datum::Int(column.id).encode(self.out);
        datum.encode(self.out);
        Ok(())
    }

    fn row_id(&mut self, table: &Table, row_id: i64) {
        if !table.pk_is_handle && !table.is_common_handle {
            self.any = true;
            Datum::Int(ROW_ID).encode(self.out);
            Datum::Int(row_id).encode(self.out);
        }
    }

    fn end(self) {
        if !self.any {
            self.out.push(NO_COLUMNS);
        }
    }
}

fn in_column(column: &Column) -> impl Fn(CodecError) -> Error + '_ {
    |source| Error::Column { column: column.name.clone(), source }
}

fn virtual_generated(column: &Column) -> bool {
    column.is_generated() && !column.generated_stored
}

fn pairs<'a>(
    table: &'a Table,
    row: &'a Row,
) -> Result<impl Iterator<Item = (&'a Column, Option<&'a Value>)>, Error> {
    if row.len() != table.columns.len() {
        return Err(Error::row(format!(
            "{} values for the {} columns of {}",
            row.len(),
            table.columns.len(),
            table.name
        )));
    }
    Ok(table.columns.iter().zip(row.iter().map(Option::as_ref)))
}

fn bound<'a>(column: &Column, value: Option<&'a Value>) -> Result<&'a Value, Error> {
    match value.unwrap_or(&Value::Null) {
        Value::Null if column.ty.is_not_null() => {
            Err(Error::row(format!("column {} must not be NULL", column.name)))
        }
        value => Ok(value),
    }
}

/// Writes the handle; returns the columns that need not stand in the row any more.
fn handle(table: &Table, row_id: i64, row: &Row, out: &mut Vec<u8>) -> Result<Vec<usize>, Error> {
    let primary = table.primary_key().filter(|_| table.pk_is_handle || table.is_common_handle);
    let Some(primary) = primary else {
        Datum::Int(row_id).encode(out);
        return Ok(Vec::new());
    };
    let mut restorable = Vec::new();
    for part in &primary.columns {
        let column =
            table.columns.get(part.offset).ok_or_else(|| Error::row("the primary key names no column"))?;
        let value = bound(column, row.get(part.offset).and_then(Option::as_ref))?;
        let datum = match (datum_of(value, &column.ty).map_err(in_column(column))?, part.prefix) {
            (Datum::UInt(v), _) if table.pk_is_handle => Datum::Int(v as i64),
            (Datum::Bytes(bytes), prefix) => Datum::Bytes(key_bytes(&bytes, column, prefix)),
            (datum, _) => datum,
        };
        datum.encode(out);
        // VARCHAR and other collations than the binary ones leave a sort key in the handle: the row keeps the value.
        let is_varchar = matches!(column.ty.tp, tp::VARCHAR | tp::VAR_STRING);
        let sort_key = column.ty.is_text() && (is_varchar || !column.ty.collate.ends_with("_bin"));
        if part.prefix.is_none() && !sort_key {
            restorable.push(part.offset);
        }
    }
    Ok(restorable)
}

fn key_bytes(bytes: &Bytes, column: &Column, prefix: Option<u32>) -> Bytes {
    let prefix = prefix.map_or(usize::MAX, |p| p as usize);
    if !column.ty.is_text() {
        return bytes.slice(..bytes.len().min(prefix));
    }
    // Characters begin at bytes that are no continuation of one.
    let mut starts = bytes.iter().enumerate().filter(|(_, b)| **b & 0xc0 != 0x80).map(|(i, _)| i);
    let end = starts.nth(prefix).unwrap_or(bytes.len());
    let used = bytes.get(..end).unwrap_or(bytes);
    let trimmed = used.iter().rposition(|b| *b != b' ').map_or(0, |i| i + 1);
    bytes.slice(..trimmed)
}
