//! Order-independent digests of tables.
//!
//! A row's canonical form is the text of its columns, tab-separated: `\N` for NULL, backslash, tab, newline, carriage return and NUL escaped.
//! A table's digest is the sum of its rows' SHA-256 values modulo 2^256, so that rows come and go in any order and equal rows
//! count each time (an exclusive-or would lose pairs of duplicates).

use std::fmt;

use sha2::{Digest, Sha256};

/// The number of rows of a table, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableDigest {
    /// How many rows.
    pub rows: u64,
    sum: [u8; 32],
}

impl TableDigest {
    /// Adds a row.
    pub fn add(&mut self, row: RowHasher) {
        self.rows += 1;
        let mut carry = 0u16;
        for (sum, byte) in self.sum.iter_mut().zip(row.finish()) {
            carry += u16::from(*sum) + u16::from(byte);
            *sum = carry as u8;
            carry >>= 8;
        }
    }

    /// Takes a row away that was added before.
    pub fn remove(&mut self, row: RowHasher) {
        self.rows -= 1;
        let mut borrow = 0i16;
        for (sum, byte) in self.sum.iter_mut().zip(row.finish()) {
            let difference = i16::from(*sum) - i16::from(byte) - borrow;
            *sum = difference.rem_euclid(256) as u8;
            borrow = i16::from(difference < 0);
        }
    }
}

impl fmt::Display for TableDigest {
    /// The sum as hex; the row count is not part of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sum.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Hashes one row, column by column.
#[derive(Clone, Debug, Default)]
pub struct RowHasher {
    hash: Sha256,
    columns: usize,
}

impl RowHasher {
    /// A row without columns yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next column's text; `None` is NULL.
    pub fn column(&mut self, text: Option<&[u8]>) {
        if self.columns > 0 {
            self.hash.update(b"\t");
        }
        self.columns += 1;
        let Some(text) = text else {
            self.hash.update(b"\\N");
            return;
        };
        let mut plain = 0;
        for (at, byte) in text.iter().enumerate() {
            let escaped: &[u8] = match byte {
                b'\\' => b"\\\\",
                b'\t' => b"\\t",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                0 => b"\\0",
                _ => continue,
            };
            self.hash.update(&text[plain..at]);
            self.hash.update(escaped);
            plain = at + 1;
        }
        self.hash.update(&text[plain..]);
    }

    fn finish(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[Option<&str>]) -> RowHasher {
        let mut hasher = RowHasher::new();
        columns.iter().for_each(|c| hasher.column(c.map(str::as_bytes)));
        hasher
    }

    #[test]
    fn order_does_not_matter_and_duplicates_count() {
        let (a, b) = (row(&[Some("1"), None]), row(&[Some("2"), Some("x\ty")]));
        let (mut one, mut two) = (TableDigest::default(), TableDigest::default());
        one.add(a.clone());
        one.add(b.clone());
        two.add(b);
        two.add(a.clone());
        assert_eq!(one, two);
        two.add(a.clone());
        two.add(a.clone());
        assert_ne!(one.to_string(), two.to_string());
        two.remove(a.clone());
        two.remove(a);
        assert_eq!(one, two);
    }

    #[test]
    fn removal_undoes_addition_whatever_carries() {
        let mut digest = TableDigest::default();
        let rows: Vec<RowHasher> = (0..500).map(|i| row(&[Some(&i.to_string())])).collect();
        rows.iter().for_each(|r| digest.add(r.clone()));
        rows.iter().rev().for_each(|r| digest.remove(r.clone()));
        assert_eq!(digest, TableDigest::default());
    }

    #[test]
    fn columns_do_not_run_into_one_another() {
        let forms = [
            row(&[Some("a"), Some("b")]),
            row(&[Some("a\tb")]),
            row(&[Some("a\\tb")]),
            row(&[Some("ab"), Some("")]),
            row(&[None]),
            row(&[Some("\\N")]),
        ];
        let sums: std::collections::HashSet<_> = forms.iter().map(|r| r.clone().finish()).collect();
        assert_eq!(sums.len(), forms.len());
    }

    #[test]
    fn a_row_hashes_as_its_text() {
        let mut digest = TableDigest::default();
        digest.add(row(&[Some("1"), None, Some("a\nb")]));
        let expected: [u8; 32] = Sha256::digest(b"1\t\\N\ta\\nb").into();
        assert_eq!(digest.sum, expected);
    }
}
