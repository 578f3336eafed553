//! The contents of a database at one moment, and their TSV form.
//!
//! First line: column names. Then the rows, sorted as bytes. `\N` is NULL; `\\`, `\t`, `\n`, `\r`, `\0` are escaped; BLOB and
//! BINARY types are `0x` and hex; BIT is an unsigned number; everything else is the text that the server shows.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};

/// The values of a row, as text, in the order of the columns; `None` is NULL.
pub type Row = Vec<Option<Vec<u8>>>;

/// All user tables at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// By schema and table name.
    pub tables: BTreeMap<(String, String), TruthTable>,
    /// `SHOW CREATE` of everything; empty where it is not known.
    pub schema_sql: String,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TruthTable {
    /// Names, in order.
    pub columns: Vec<String>,
    /// In order of their TSV lines.
    pub rows: Vec<Row>,
}

impl Truth {
    /// Only the tables of these schemas.
    pub fn only(mut self, schemas: &[&str]) -> Self {
        self.tables.retain(|(schema, _), _| schemas.contains(&schema.as_str()));
        self
    }

    /// Without one table.
    pub fn without(mut self, schema: &str, table: &str) -> Self {
        self.tables.remove(&(schema.to_owned(), table.to_owned()));
        self
    }
}

impl TruthTable {
    /// A table from rows in any order.
    pub fn new(columns: Vec<String>, mut rows: Vec<Row>) -> Self {
        rows.sort_by_cached_key(line);
        TruthTable { columns, rows }
    }

    /// Reads the TSV form.
    ///
    /// # Errors
    /// When a row has not as many values as there are columns, or holds an unknown escape.
    pub fn from_tsv(tsv: &[u8]) -> anyhow::Result<Self> {
        let body = tsv.strip_suffix(b"\n").unwrap_or(tsv);
        let mut lines = body.split(|&b| b == b'\n');
        let header = lines.next().unwrap_or_default();
        let columns: Vec<String> = header
            .split(|&b| b == b'\t')
            .map(|name| Ok(String::from_utf8(unescape(name)?.context("a column called NULL")?)?))
            .collect::<anyhow::Result<_>>()?;
        let mut rows = Vec::new();
        for (number, text) in lines.enumerate() {
            let row: Row = text.split(|&b| b == b'\t').map(unescape).collect::<anyhow::Result<_>>()?;
            ensure!(
                row.len() == columns.len(),
                "row {number} has {} values, the table {} columns",
                row.len(),
                columns.len()
            );
            rows.push(row);
        }
        Ok(TruthTable { columns, rows })
    }

    /// The TSV form.
    pub fn to_tsv(&self) -> Vec<u8> {
        let header: Row = self.columns.iter().map(|name| Some(name.clone().into_bytes())).collect();
        let mut tsv = line(&header);
        tsv.push(b'\n');
        for row in &self.rows {
            tsv.extend(line(row));
            tsv.push(b'\n');
        }
        tsv
    }
}

/// The TSV line of a row, without its end.
pub(crate) fn line(row: &Row) -> Vec<u8> {
    let mut out = Vec::new();
    for (n, value) in row.iter().enumerate() {
        if n > 0 {
            out.push(b'\t');
        }
        match value {
            None => out.extend(b"\\N"),
            Some(value) => {
                for &byte in value {
                    match byte {
                        b'\\' => out.extend(b"\\\\"),
                        b'\t' => out.extend(b"\\t"),
                        b'\n' => out.extend(b"\\n"),
                        b'\r' => out.extend(b"\\r"),
                        0 => out.extend(b"\\0"),
                        other => out.push(other),
                    }
                }
            }
        }
    }
    out
}

fn unescape(text: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    if text == b"\\N" {
        return Ok(None);
    }
    let mut value = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        value.push(match bytes.next() {
            Some(b'\\') => b'\\',
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b'0') => 0,
            other => bail!("unknown escape {other:?} in {:?}", String::from_utf8_lossy(text)),
        });
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tsv_goes_both_ways() {
        let row = vec![Some(b"a\tb\\N\n\r\0".to_vec()), None, Some(b"\\N".to_vec()), Some(Vec::new())];
        let table =
            TruthTable::new(vec!["a".into(), "b".into(), "c".into(), "d".into()], vec![row.clone(), row]);
        assert_eq!(TruthTable::from_tsv(&table.to_tsv()).unwrap(), table);
    }

    #[test]
    fn one_empty_value_is_a_row() {
        let table = TruthTable::from_tsv(b"a\n\n\n").unwrap();
        assert_eq!(table.rows, vec![vec![Some(Vec::new())], vec![Some(Vec::new())]]);
        assert!(TruthTable::from_tsv(b"a\n").unwrap().rows.is_empty());
        assert!(TruthTable::from_tsv(b"a\n1\t2\n").is_err());
    }
}
