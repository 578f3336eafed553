//! Which rows must be written in the order of the stream: those that share a value of a unique key.
//!
//! Equality is the target's, and so has to do with collations, padding and prefixes. A conflict key is a hash that is equal
//! wherever *any* target could take two values as equal; that it is equal more often costs a little parallelism, never order.
//! Where a text might equal another in ways that only the collation knows (é = e, ß = ss), or a unique key lies over a column
//! whose value is not in the row, the row is *wild*: it is ordered with all others of its table.

use std::hash::{DefaultHasher, Hash as _, Hasher};

use binlog_catalog::{Column, Row, Table, Value};

/// Unique keys of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Uniques {
    keys: Vec<Unique>,
}

#[derive(Clone, Debug, PartialEq)]
struct Unique {
    /// Position and prefix of each column.
    parts: Vec<(usize, Option<u32>)>,
    /// It identifies the row.
    is_row_key: bool,
}

impl Uniques {
    /// The public unique indexes; `row_key` names the columns of the one that identifies rows.
    pub(crate) fn new(table: &Table, row_key: Option<&[usize]>) -> Self {
        let mut keys: Vec<Unique> = Vec::new();
        for index in table.indexes.iter().filter(|i| i.public && (i.unique || i.primary)) {
            let parts: Vec<_> = index.columns.iter().map(|part| (part.offset, part.prefix)).collect();
            let is_row_key = row_key.is_some_and(|key| key.iter().eq(parts.iter().map(|(at, _)| at)));
            keys.push(Unique { parts, is_row_key: is_row_key && !keys.iter().any(|k| k.is_row_key) });
        }
        Uniques { keys }
    }

    /// Whether there is a unique key beside the one that identifies rows.
    pub(crate) fn has_others(&self) -> bool {
        self.keys.iter().any(|unique| !unique.is_row_key)
    }

    /// Position and prefix of the columns of each.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[(usize, Option<u32>)]> {
        self.keys.iter().map(|unique| unique.parts.as_slice())
    }

    /// Appends the keys of a row that is written (`put`: all of them) or deleted (the one that finds it). False: the row is wild.
    pub(crate) fn push(&self, table: &Table, row: &Row, put: bool, out: &mut Vec<u64>) -> bool {
        for (number, unique) in self.keys.iter().enumerate() {
            if !put && !unique.is_row_key {
                continue;
            }
            let mut hash = DefaultHasher::new();
            number.hash(&mut hash);
            let mut found = Known::Yes;
            for (at, prefix) in &unique.parts {
                let (Some(Some(value)), Some(column)) = (row.get(*at), table.columns.get(*at)) else {
                    return false;
                };
                match hash_value(&mut hash, value, column, *prefix) {
                    Known::Yes => {}
                    Known::Null => found = Known::Null,
                    Known::Wild => return false,
                }
            }
            // NULLs do not conflict.
            if matches!(found, Known::Yes) {
                out.push(hash.finish());
            }
        }
        true
    }
}

enum Known {
    Yes,
    Null,
    Wild,
}

fn hash_value(hash: &mut DefaultHasher, value: &Value, column: &Column, prefix: Option<u32>) -> Known {
    match value {
        Value::Null => return Known::Null,
        Value::Int(v) | Value::Year(v) => i128::from(*v).hash(hash),
        Value::UInt(v) | Value::Enum(v) | Value::Set(v) | Value::Bit(v) => i128::from(*v).hash(hash),
        Value::Float(v) => hash_double(hash, f64::from(*v)),
        Value::Double(v) => hash_double(hash, *v),
        Value::Decimal(text) => {
            let zero = text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.'));
            if zero { "0".hash(hash) } else { text.hash(hash) }
        }
        Value::Time { packed, .. } => packed.hash(hash),
        Value::Duration { nanos, .. } => nanos.hash(hash),
        Value::Json(_) => return Known::Wild,
        Value::Bytes(bytes) => {
            let end = prefix.map_or(bytes.len(), |p| bytes.len().min(p as usize));
            let bytes = bytes.get(..end).unwrap_or_default();
            // BINARY(n) is padded with zeros, or not, as the writer liked.
            let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
            bytes.get(..end).hash(hash);
        }
        Value::Text(bytes) => return hash_text(hash, bytes, &column.ty.collate, prefix),
    }
    Known::Yes
}

fn hash_double(hash: &mut DefaultHasher, value: f64) {
    // −0 equals 0.
    (value + 0.0).to_bits().hash(hash);
}

/// Collations in which two texts of printable ASCII are equal only if they differ in the case of letters, or in spaces at the end.
const FOLDS_CASE_ONLY: [&str; 10] = [
    "utf8mb4_general_ci",
    "utf8_general_ci",
    "utf8mb3_general_ci",
    "utf8mb4_unicode_ci",
    "utf8_unicode_ci",
    "utf8mb3_unicode_ci",
    "utf8mb4_0900_ai_ci",
    "utf8mb4_unicode_520_ci",
    "gbk_chinese_ci",
    "gb18030_chinese_ci",
];

fn hash_text(hash: &mut DefaultHasher, bytes: &[u8], collate: &str, prefix: Option<u32>) -> Known {
    let Ok(text) = std::str::from_utf8(bytes) else { return Known::Wild };
    let text = match prefix.and_then(|p| text.char_indices().nth(p as usize)) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    };
    let collate = collate.to_ascii_lowercase();
    let exact = collate.ends_with("_bin") || collate == "binary";
    if !exact && (!text.is_ascii() || !FOLDS_CASE_ONLY.contains(&collate.as_str())) {
        return Known::Wild;
    }
    // Case, spaces at the end and control characters (which some collations ignore) count for nothing, whatever the collation: the
    // target's may be another.
    for byte in text.trim_end_matches(' ').bytes().filter(|b| !b.is_ascii_control()) {
        hash.write_u8(byte.to_ascii_lowercase());
    }
    hash.write_u8(0xff);
    Known::Yes
}

#[cfg(test)]
mod tests {
    use binlog_catalog::{ColumnType, TableBuilder};
    use binlog_types::{SchemaVersion, TableId};
    use bytes::Bytes;

    use super::*;

    fn table(collate: &str, prefix: Option<u32>) -> Table {
        let mut ty = ColumnType::varchar(20);
        ty.collate = collate.into();
        let mut table = TableBuilder::new(TableId(1), "t", SchemaVersion(1))
            .column("id", ColumnType::bigint())
            .column("u", ty)
            .primary_key(&["id"])
            .unique("u", &["u"])
            .build();
        table.indexes[1].columns[0].prefix = prefix;
        table
    }

    /// The keys of a row; None: wild.
    fn keys(table: &Table, id: i64, text: Option<&str>) -> Option<Vec<u64>> {
        let value = text.map_or(Value::Null, |t| Value::Text(Bytes::copy_from_slice(t.as_bytes())));
        let mut out = Vec::new();
        let uniques = Uniques::new(table, Some(&[0]));
        uniques.push(table, &vec![Some(Value::Int(id)), Some(value)], true, &mut out).then_some(out)
    }

    fn conflict(table: &Table, a: &str, b: &str) -> bool {
        match (keys(table, 1, Some(a)), keys(table, 2, Some(b))) {
            (Some(a), Some(b)) => a.iter().any(|key| b.contains(key)),
            _ => true,
        }
    }

    #[test]
    fn what_a_collation_may_take_as_equal_conflicts() {
        let (ci, bin) = (table("utf8mb4_general_ci", None), table("utf8mb4_bin", None));
        assert!(conflict(&ci, "Abc", "aBC  "));
        assert!(conflict(&ci, "é", "e"));
        assert!(!conflict(&ci, "abc", "abd"));
        assert!(conflict(&bin, "abc", "abc "));
        assert!(!conflict(&bin, "é", "e"));
        assert!(conflict(&table("utf8mb4_lithuanian_ci", None), "y", "i"));
    }

    #[test]
    fn prefixes_and_nulls() {
        let prefix = table("utf8mb4_bin", Some(3));
        assert!(conflict(&prefix, "abcd", "abce"));
        assert!(!conflict(&prefix, "abd", "abc"));
        assert_eq!(keys(&prefix, 1, None).map(|k| k.len()), Some(1));
        let mut out = Vec::new();
        let row = vec![Some(Value::Int(1)), None];
        assert!(!Uniques::new(&prefix, Some(&[0])).push(&prefix, &row, true, &mut out));
        out.clear();
        assert!(Uniques::new(&prefix, Some(&[0])).push(&prefix, &row, false, &mut out));
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn minus_zero_is_zero() {
        let table = TableBuilder::new(TableId(1), "t", SchemaVersion(1))
            .column("f", ColumnType::double())
            .primary_key(&["f"])
            .build();
        let keys = |v: f64| {
            let mut out = Vec::new();
            assert!(Uniques::new(&table, Some(&[0])).push(
                &table,
                &vec![Some(Value::Double(v))],
                true,
                &mut out
            ));
            out
        };
        assert_eq!(keys(0.0), keys(-0.0));
        assert_ne!(keys(1.0), keys(-1.0));
    }
}
