//! Tables made by hand: what an embedded writer needs in place of a SQL layer.

use binlog_types::{SchemaVersion, TableId};
use bytes::Bytes;

use super::{Column, ColumnType, Index, IndexColumn, Table, flag, tp};

impl ColumnType {
    fn number(tp: u8, flen: i64, decimal: i64) -> Self {
        ColumnType {
            tp,
            flen,
            decimal,
            flag: flag::BINARY,
            charset: "binary".into(),
            collate: "binary".into(),
            ..ColumnType::default()
        }
    }
    fn text_of(tp: u8, flen: i64) -> Self {
        ColumnType {
            tp,
            flen,
            decimal: 0,
            charset: "utf8mb4".into(),
            collate: "utf8mb4_bin".into(),
            ..ColumnType::default()
        }
    }
    /// INT.
    pub fn int() -> Self {
        Self::number(tp::LONG, 11, 0)
    }
    /// BIGINT.
    pub fn bigint() -> Self {
        Self::number(tp::LONGLONG, 20, 0)
    }
    /// DOUBLE.
    pub fn double() -> Self {
        Self::number(tp::DOUBLE, 22, -1)
    }
    /// DECIMAL(precision, scale).
    pub fn decimal(precision: u8, scale: u8) -> Self {
        Self::number(tp::NEW_DECIMAL, precision.into(), scale.into())
    }
    /// DATETIME(fsp).
    pub fn datetime(fsp: u8) -> Self {
        let flen = if fsp == 0 { 19 } else { 20 + i64::from(fsp) };
        Self::number(tp::DATETIME, flen, fsp.into())
    }
    /// TIMESTAMP(fsp).
    pub fn timestamp(fsp: u8) -> Self {
        ColumnType { tp: tp::TIMESTAMP, ..Self::datetime(fsp) }
    }
    /// DATE.
    pub fn date() -> Self {
        Self::number(tp::DATE, 10, 0)
    }
    /// JSON.
    pub fn json() -> Self {
        Self::number(tp::JSON, 4_294_967_295, 0)
    }
    /// VARCHAR(chars) in utf8mb4.
    pub fn varchar(chars: u32) -> Self {
        Self::text_of(tp::VARCHAR, chars.into())
    }
    /// CHAR(chars) in utf8mb4.
    pub fn char(chars: u32) -> Self {
        Self::text_of(tp::STRING, chars.into())
    }
    /// TEXT in utf8mb4.
    pub fn text() -> Self {
        Self::text_of(tp::BLOB, 65_535)
    }
    /// VARBINARY(bytes).
    pub fn varbinary(bytes: u32) -> Self {
        Self::number(tp::VARCHAR, bytes.into(), 0)
    }
    /// BLOB.
    pub fn blob() -> Self {
        Self::number(tp::BLOB, 65_535, 0)
    }
    /// ENUM of these names.
    pub fn enumeration<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        let elems: Vec<String> = names.into_iter().map(Into::into).collect();
        let flen = elems.iter().map(|e| e.chars().count()).max().unwrap_or(0);
        ColumnType { elems, ..Self::text_of(tp::ENUM, flen as i64) }
    }
    /// UNSIGNED.
    pub fn unsigned(mut self) -> Self {
        self.flag |= flag::UNSIGNED;
        self
    }
    /// NOT NULL.
    pub fn not_null(mut self) -> Self {
        self.flag |= flag::NOT_NULL;
        self
    }
}

/// Puts a table together column by column. Ids are given in order, from 1.
#[derive(Clone, Debug)]
pub struct TableBuilder {
    table: Table,
}

impl TableBuilder {
    /// A table without columns, in utf8mb4.
    pub fn new(id: TableId, name: impl Into<String>, version: SchemaVersion) -> Self {
        TableBuilder {
            table: Table {
                id,
                name: name.into(),
                version,
                charset: "utf8mb4".into(),
                collate: "utf8mb4_bin".into(),
                ..Table::default()
            },
        }
    }

    /// One more column.
    pub fn column(mut self, name: impl Into<String>, ty: ColumnType) -> Self {
        let offset = self.table.columns.len();
        let column = Column {
            id: offset as i64 + 1,
            name: name.into(),
            offset,
            ty,
            public: true,
            ..Column::default()
        };
        self.table.columns.push(column);
        self
    }

    /// The last column's DEFAULT, as text.
    pub fn default_value(mut self, text: impl Into<Vec<u8>>) -> Self {
        if let Some(column) = self.table.columns.last_mut() {
            column.default = Some(text.into());
        }
        self
    }

    /// The primary key over these columns; it is the row's handle (clustered), as TiDB makes it by default. Names that are no column
    /// are left out.
    pub fn primary_key(mut self, names: &[&str]) -> Self {
        let index = self.index_over("PRIMARY", names, true);
        for part in &index.columns {
            if let Some(column) = self.table.columns.get_mut(part.offset) {
                column.ty.flag |= flag::PRI_KEY | flag::NOT_NULL;
            }
        }
        let single_integer = match index.columns.as_slice() {
            [one] => self.table.columns.get(one.offset).is_some_and(|c| c.ty.is_integer()),
            _ => false,
        };
        self.table.pk_is_handle = single_integer;
        self.table.is_common_handle = !single_integer;
        // As tables read from TiDB's JSON have it: the handle is no index of its own.
        let id = if single_integer { 0 } else { index.id };
        self.table.indexes.insert(0, Index { id, primary: true, ..index });
        self
    }

    /// A unique index.
    pub fn unique(mut self, name: &str, columns: &[&str]) -> Self {
        let index = self.index_over(name, columns, true);
        self.table.indexes.push(index);
        self
    }

    /// A plain index.
    pub fn index(mut self, name: &str, columns: &[&str]) -> Self {
        let index = self.index_over(name, columns, false);
        self.table.indexes.push(index);
        self
    }

    fn index_over(&self, name: &str, columns: &[&str], unique: bool) -> Index {
        let columns = columns
            .iter()
            .filter_map(|name| self.table.column(name))
            .map(|c| IndexColumn { name: c.name.clone(), offset: c.offset, prefix: None })
            .collect();
        let id = self.table.indexes.iter().map(|i| i.id).max().unwrap_or(0) + 1;
        Index {
            id,
            name: name.into(),
            columns,
            unique,
            primary: false,
            public: true,
            invisible: false,
            comment: String::new(),
        }
    }

    /// The table, with TiDB's JSON of it.
    pub fn build(mut self) -> Table {
        self.table.auto_increment = self.table.columns.iter().any(|c| c.ty.flag & flag::AUTO_INCREMENT != 0);
        self.table.json = Bytes::from(crate::meta::table_json(&self.table));
        self.table
    }
}
