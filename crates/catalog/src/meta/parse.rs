//! Databases and tables from TiDB's JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binlog_proto::store::{ObjectKind, SchemaObject};
use binlog_types::{SchemaVersion, TableId};
use bytes::Bytes;
use serde_json::Value;

use super::fold::lower_keys;
use super::keys::holds_object;
use super::shape::{ColumnInfo, DbInfo, IndexInfo, PUBLIC, TableInfo};
use crate::{Column, ColumnType, Database, Error, Index, IndexColumn, Table, TableKind, flag};

fn json_error(what: &str) -> impl Fn(serde_json::Error) -> Error + '_ {
    move |source| Error::Json { what: what.to_owned(), source }
}

/// One form for one content, wherever it was read: keys sorted, no blanks.
pub(super) fn normal(value: &Value) -> Bytes {
    value.to_string().into()
}

fn normalized(json: &[u8], what: &str) -> Result<Value, Error> {
    serde_json::from_slice(json).map_err(json_error(what))
}

/// A database object from a DBInfo value, holding from `version` on.
///
/// # Errors
/// When it is no DBInfo.
pub fn database_object(json: &[u8], version: SchemaVersion) -> Result<SchemaObject, Error> {
    let value = normalized(json, "DBInfo")?;
    let id = parse_database(json, version)?.id;
    Ok(SchemaObject {
        kind: ObjectKind::Database as i32,
        id,
        schema_version: version.0,
        json: normal(&value),
        ..SchemaObject::default()
    })
}

/// A table object from a TableInfo value; None where the key is not a table's.
///
/// # Errors
/// When the key is a table's and the value no TableInfo.
pub fn table_object(
    key: &[u8],
    database_id: i64,
    json: &[u8],
    version: SchemaVersion,
) -> Result<Option<SchemaObject>, Error> {
    if !holds_object(key) {
        return Ok(None);
    }
    let value = normalized(json, "TableInfo")?;
    let id = parse_table(&Bytes::copy_from_slice(json), version)?.id.0;
    let finished_ts = value.get("update_timestamp").and_then(Value::as_u64).unwrap_or(0);
    Ok(Some(SchemaObject {
        kind: ObjectKind::Table as i32,
        id,
        schema_version: version.0,
        dropped: false,
        parent_id: database_id,
        finished_ts,
        json: normal(&value),
    }))
}

/// A database from TiDB's JSON.
///
/// # Errors
/// When it is no DBInfo.
pub fn parse_database(json: &[u8], version: SchemaVersion) -> Result<Database, Error> {
    let info: DbInfo = serde_json::from_slice(&lower_keys(json)).map_err(json_error("DBInfo"))?;
    Ok(Database { id: info.id, name: info.db_name.0, charset: info.charset, collate: info.collate, version })
}

/// A table from TiDB's JSON.
///
/// # Errors
/// When it is no TableInfo, or its offsets lead nowhere.
pub fn parse_table(json: &Bytes, version: SchemaVersion) -> Result<Table, Error> {
    let info: TableInfo = serde_json::from_slice(&lower_keys(json)).map_err(json_error("TableInfo"))?;
    let name = info.name.0;
    let mut columns = info.cols.unwrap_or_default().into_iter().map(column).collect::<Result<Vec<_>, _>>()?;
    columns.sort_by_key(|c| c.offset);
    if columns.iter().enumerate().any(|(i, c)| c.offset != i) {
        return Err(Error::Schema(format!("table {} ({name}): column offsets are not 0, 1, 2, …", info.id)));
    }
    let mut indexes: Vec<Index> = info.index_info.unwrap_or_default().into_iter().map(index).collect();
    if info.pk_is_handle {
        indexes.insert(
            0,
            handle_index(&columns).ok_or_else(|| {
                Error::Schema(format!(
                    "table {} ({name}): its primary key is its handle, and no column is the key",
                    info.id
                ))
            })?,
        );
    }
    if indexes.iter().flat_map(|i| &i.columns).any(|c| c.offset >= columns.len()) {
        return Err(Error::Schema(format!(
            "table {} ({name}): an index names a column that is not there",
            info.id
        )));
    }
    let kind = match (&info.view, &info.sequence) {
        (Some(_), _) => TableKind::View,
        (None, Some(_)) => TableKind::Sequence,
        (None, None) => TableKind::Table,
    };
    Ok(Table {
        id: TableId(info.id),
        name,
        version,
        kind,
        auto_increment: columns.iter().any(|c| c.ty.flag & flag::AUTO_INCREMENT != 0),
        columns,
        indexes,
        pk_is_handle: info.pk_is_handle,
        is_common_handle: info.is_common_handle,
        charset: info.charset,
        collate: info.collate,
        comment: info.comment,
        partitioned: info.partition.is_some_and(|p| p.enable),
        foreign_keys: info.fk_info.unwrap_or_default().into_iter().map(|key| key.fk_name.0).collect(),
        checks: info.constraint_info.unwrap_or_default().into_iter().map(|c| c.constraint_name.0).collect(),
        temporary: info.temp_table_type != 0,
        json: json.clone(),
    })
}

/// TiDB has no index for an integer primary key that is the row's handle.
fn handle_index(columns: &[Column]) -> Option<Index> {
    let key = columns.iter().find(|c| c.ty.flag & flag::PRI_KEY != 0)?;
    Some(Index {
        id: 0,
        name: "PRIMARY".into(),
        columns: vec![IndexColumn { name: key.name.clone(), offset: key.offset, prefix: None }],
        unique: true,
        primary: true,
        public: true,
        invisible: false,
        comment: String::new(),
    })
}

fn column(info: ColumnInfo) -> Result<Column, Error> {
    let default = default_bytes(&info.name.0, &info.default, info.default_bit.as_deref())?;
    let origin_default =
        default_bytes(&info.name.0, &info.origin_default, info.origin_default_bit.as_deref())?;
    Ok(Column {
        id: info.id,
        name: info.name.0,
        offset: info.offset,
        ty: ColumnType {
            tp: info.ty.tp,
            flag: info.ty.flag,
            flen: info.ty.flen,
            decimal: info.ty.decimal,
            charset: info.ty.charset,
            collate: info.ty.collate,
            elems: info.ty.elems.unwrap_or_default(),
            array: info.ty.array,
        },
        public: info.state == PUBLIC,
        hidden: info.hidden,
        generated_expr: info.generated_expr_string,
        generated_stored: info.generated_stored,
        default,
        default_is_expr: info.default_is_expr,
        origin_default,
        comment: info.comment,
    })
}

/// BIT defaults stand in a field of their own, since they are no text.
fn default_bytes(column: &str, value: &Value, bit: Option<&str>) -> Result<Option<Vec<u8>>, Error> {
    if let Some(bit) = bit {
        let bytes = STANDARD.decode(bit);
        return bytes
            .map(Some)
            .map_err(|e| Error::Schema(format!("column {column}: default is not base64: {e}")));
    }
    Ok(match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Bool(v) => Some(if *v { b"1".to_vec() } else { b"0".to_vec() }),
        other => Some(other.to_string().into_bytes()),
    })
}

fn index(info: IndexInfo) -> Index {
    let columns = info.idx_cols.unwrap_or_default().into_iter().map(|part| IndexColumn {
        name: part.name.0,
        offset: part.offset,
        prefix: u32::try_from(part.length).ok(),
    });
    Index {
        id: info.id,
        name: info.idx_name.0,
        columns: columns.collect(),
        unique: info.is_unique,
        primary: info.is_primary,
        public: info.state == PUBLIC,
        invisible: info.is_invisible,
        comment: info.comment,
    }
}

/// Ids of the partitions; none where the table is not partitioned.
pub(crate) fn partition_ids(json: &[u8]) -> Vec<i64> {
    let info: Option<TableInfo> = serde_json::from_slice(&lower_keys(json)).ok();
    let definitions = info.and_then(|i| i.partition).filter(|p| p.enable).and_then(|p| p.definitions);
    definitions.unwrap_or_default().iter().map(|d| d.id).collect()
}
