//! Tables as they stand.

use std::collections::{BTreeMap, HashMap};

use binlog_catalog::{Column, ColumnType, Index, IndexColumn, Row, Table, TableBuilder, Value, meta};
use binlog_testkit::TruthTable;
use binlog_types::{SchemaVersion, TableId};
use rand::Rng as _;
use rand::rngs::SmallRng;

use super::values;

/// A table with its rows.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) database: String,
    pub(super) table: Table,
    /// By handle: the integer key, or the hidden row id.
    pub(super) rows: BTreeMap<i64, Row>,
    /// Which row has a value of a unique index.
    taken: HashMap<String, i64>,
    pub(super) next_handle: i64,
    /// Ids of columns are never used again.
    pub(super) last_column: i64,
    /// By ranges of the integer key; empty: the table is not partitioned.
    pub(super) partitions: Vec<Partition>,
}

/// A partition by the range of a column.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    pub(super) id: i64,
    /// The first value beyond it; `None`: it has no end.
    pub(super) less_than: Option<i64>,
}

/// TiDB's JSON of a table with these partitions by its integer key.
fn json(table: &Table, partitions: &[Partition]) -> Vec<u8> {
    let plain = meta::table_json(table);
    let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(&plain) else { return plain };
    if partitions.is_empty() {
        return plain;
    }
    let definitions = partitions.iter().map(|partition| {
        let (name, bound) = (format!("p{}", partition.id), partition.less_than);
        let bound = bound.map_or("MAXVALUE".to_owned(), |bound| bound.to_string());
        serde_json::json!({ "id": partition.id, "name": { "O": name, "L": name }, "less_than": [bound] })
    });
    let definitions: Vec<_> = definitions.collect();
    value["partition"] = serde_json::json!({
        "type": 1, "expr": "`id`", "columns": null, "enable": true, "num": definitions.len(), "definitions": definitions,
    });
    value.to_string().into_bytes()
}

impl Live {
    pub(super) fn new(database: &str, table: Table) -> Self {
        let last_column = table.columns.len() as i64;
        let (rows, taken) = (BTreeMap::new(), HashMap::new());
        let (database, partitions) = (database.to_owned(), Vec::new());
        Live { database, table, rows, taken, next_handle: 0, last_column, partitions }
    }

    /// Divides the table by its integer key, before it is created; nothing for other tables.
    pub(super) fn divide(&mut self, ids: [i64; 3]) {
        let by_id = self.table.pk_is_handle && self.table.columns.first().is_some_and(|c| c.name == "id");
        // Unique keys must hold the column.
        if by_id && self.table.indexes.len() == 1 {
            let bounds = [Some(40), Some(120), None];
            self.partitions =
                ids.into_iter().zip(bounds).map(|(id, less_than)| Partition { id, less_than }).collect();
            self.table.json = json(&self.table, &self.partitions).into();
        }
    }

    /// The rows of the partition at `at` go.
    pub(super) fn clear_partition(&mut self, at: usize) {
        let bound = |at: usize| self.partitions.get(at).and_then(|partition| partition.less_than);
        let (from, to) = (at.checked_sub(1).and_then(bound), bound(at));
        let gone = |handle: i64| from.is_none_or(|from| handle >= from) && to.is_none_or(|to| handle < to);
        self.rows.retain(|handle, _| !gone(*handle));
    }

    /// The values of `row` in the unique indexes, as their collations tell them apart.
    fn uniques(table: &Table, row: &Row) -> Vec<String> {
        let unique = table.indexes.iter().filter(|index| index.unique);
        unique.filter_map(|index| unique_value(table, index, row)).collect()
    }

    /// Whether `row` may stand under `handle`.
    pub(super) fn fits(&self, handle: i64, row: &Row) -> bool {
        Self::uniques(&self.table, row)
            .iter()
            .all(|value| self.taken.get(value).is_none_or(|owner| *owner == handle))
    }

    pub(super) fn put(&mut self, handle: i64, row: Row) {
        self.take(handle);
        for value in Self::uniques(&self.table, &row) {
            self.taken.insert(value, handle);
        }
        self.rows.insert(handle, row);
    }

    pub(super) fn take(&mut self, handle: i64) -> Option<Row> {
        let row = self.rows.remove(&handle)?;
        for value in Self::uniques(&self.table, &row) {
            if self.taken.get(&value) == Some(&handle) {
                self.taken.remove(&value);
            }
        }
        Some(row)
    }

    /// Whether no two rows are equal in `index`.
    pub(super) fn could_be_unique(&self, index: &Index) -> bool {
        let mut seen = std::collections::HashSet::new();
        self.rows
            .values()
            .filter_map(|row| unique_value(&self.table, index, row))
            .all(|value| seen.insert(value))
    }

    /// The table changed: `table` is what it is now.
    pub(super) fn becomes(&mut self, mut table: Table, version: SchemaVersion) {
        table.version = version;
        for (offset, column) in table.columns.iter_mut().enumerate() {
            column.offset = offset;
        }
        let places: HashMap<String, usize> =
            table.columns.iter().map(|c| (c.name.clone(), c.offset)).collect();
        for part in table.indexes.iter_mut().flat_map(|index| &mut index.columns) {
            part.offset = places.get(&part.name).copied().unwrap_or(part.offset);
        }
        table.json = json(&table, &self.partitions).into();
        self.table = table;
        self.taken.clear();
        for (handle, row) in &self.rows {
            for value in Self::uniques(&self.table, row) {
                self.taken.insert(value, *handle);
            }
        }
    }

    pub(super) fn truth(&self) -> TruthTable {
        let columns = &self.table.columns;
        let text = |row: &Row| {
            row.iter()
                .zip(columns)
                .map(|(value, column)| value.as_ref().and_then(|v| v.to_text(column)))
                .collect()
        };
        TruthTable::new(
            columns.iter().map(|c| c.name.clone()).collect(),
            self.rows.values().map(text).collect(),
        )
    }
}

fn unique_value(table: &Table, index: &Index, row: &Row) -> Option<String> {
    let mut out = index.name.clone();
    for part in &index.columns {
        let column = table.columns.get(part.offset)?;
        let text = row.get(part.offset)?.as_ref()?.to_text(column)?;
        let text = String::from_utf8_lossy(&text);
        out.push('\u{1}');
        // Words of unique columns are of ASCII letters, so this is what their collations do.
        out.push_str(&if column.ty.collate.ends_with("_ci") {
            text.to_lowercase()
        } else {
            text.into_owned()
        });
    }
    Some(out)
}

fn ci(ty: ColumnType) -> ColumnType {
    ColumnType { collate: "utf8mb4_general_ci".to_owned(), ..ty }
}

/// A new table: with an integer key, unique keys beside it, a key of several columns, a unique key only, or no key.
pub(super) fn random_table(rng: &mut SmallRng, id: TableId, name: &str, version: SchemaVersion) -> Table {
    let builder = TableBuilder::new(id, name, version);
    let kind = rng.random_range(0..6);
    let mut builder = match kind {
        0 => builder.column("id", ColumnType::bigint()),
        1 => builder
            .column("id", ColumnType::bigint())
            .column("word", ci(ColumnType::varchar(20)))
            .column("a", ColumnType::int())
            .column("b", ColumnType::int().not_null()),
        2 => builder
            .column("a", ColumnType::int().not_null())
            .column("word", ci(ColumnType::varchar(20)).not_null()),
        3 => builder
            .column("word", ColumnType::varchar(20).not_null())
            .column("n", ColumnType::bigint().not_null()),
        _ => builder.column("n", ColumnType::int()),
    };
    for number in 0..rng.random_range(1..5) {
        builder = builder.column(format!("c{number}"), values::random_type(rng));
    }
    let table = match kind {
        0 => builder.primary_key(&["id"]).build(),
        1 => builder.primary_key(&["id"]).unique("by_word", &["word"]).unique("by_pair", &["a", "b"]).build(),
        2 => builder.primary_key(&["a", "word"]).build(),
        3 => builder.unique("by_n", &["n"]).unique("by_word", &["word"]).build(),
        _ => builder.build(),
    };
    // A primary key of several columns may be the handle, or not.
    let is_common_handle = table.is_common_handle && rng.random_bool(0.5);
    let table = Table { is_common_handle, ..table };
    Table { json: meta::table_json(&table).into(), ..table }
}

/// One more column, with what the rows that are there hold in it.
pub(super) fn added_column(rng: &mut SmallRng, id: i64, name: &str) -> (Column, Value) {
    let ty = values::random_type(rng);
    let column = Column { id, name: name.to_owned(), ty, public: true, ..Column::default() };
    let with_default =
        (column.ty.is_integer() && !column.ty.is_unsigned()) || column.ty.tp == binlog_catalog::tp::VARCHAR;
    if !with_default || rng.random_bool(0.5) {
        let ty = ColumnType { flag: column.ty.flag & !binlog_catalog::flag::NOT_NULL, ..column.ty };
        return (Column { ty, ..column }, Value::Null);
    }
    let (text, value) = if column.ty.is_integer() {
        ("7", Value::Int(7))
    } else {
        ("new 'n' old", Value::Text(bytes::Bytes::from_static(b"new 'n' old")))
    };
    let default = Some(text.as_bytes().to_vec());
    (Column { default: default.clone(), origin_default: default, ..column }, value)
}

/// An index over some columns that can be in one.
pub(super) fn random_index(rng: &mut SmallRng, table: &Table, name: &str, unique: bool) -> Option<Index> {
    let usable: Vec<&Column> = table
        .columns
        .iter()
        .filter(|c| c.ty.is_integer() || c.ty.tp == binlog_catalog::tp::VARCHAR)
        .collect();
    let first = usable.get(rng.random_range(0..usable.len().max(1)))?;
    let part = IndexColumn { name: first.name.clone(), offset: first.offset, prefix: None };
    let id = table.indexes.iter().map(|index| index.id).max().unwrap_or(0) + 1;
    Some(Index {
        id,
        name: name.to_owned(),
        columns: vec![part],
        unique,
        primary: false,
        public: true,
        invisible: false,
        comment: String::new(),
    })
}
