//! Counts and a digest of a table's changes.

use binlog_catalog::{ChangeKind, Column, Row, RowChange, Value};
use binlog_types::CommitTs;
use sha2::{Digest as _, Sha256};

/// What a range did to a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Rows inserted, updated, deleted.
    pub rows: [u64; 3],
    /// Over all its changes, in their order.
    pub digest: [u8; 32],
}

impl Proof {
    pub(super) fn add(&mut self, commit_ts: CommitTs, change: &RowChange) {
        let mut hash = Sha256::new();
        hash.update(self.digest);
        hash.update(commit_ts.raw().to_be_bytes());
        let columns = &change.table.table.columns;
        let kind = match &change.kind {
            ChangeKind::Insert(row) => {
                update(&mut hash, b'I', columns, row);
                0
            }
            ChangeKind::Update { before, after } => {
                update(&mut hash, b'U', columns, before);
                update(&mut hash, b'>', columns, after);
                1
            }
            ChangeKind::Delete(row) => {
                update(&mut hash, b'D', columns, row);
                2
            }
        };
        self.digest = hash.finalize().into();
        if let Some(rows) = self.rows.get_mut(kind) {
            *rows += 1;
        }
    }
}

/// Values go in as text with their length, numbers of ENUM, SET and BIT as numbers.
fn update(hash: &mut Sha256, kind: u8, columns: &[Column], row: &Row) {
    hash.update([kind]);
    for (column, value) in columns.iter().zip(row) {
        let text = match value {
            None => {
                hash.update([0]);
                continue;
            }
            Some(Value::Null) => {
                hash.update([1]);
                continue;
            }
            Some(Value::Enum(v) | Value::Set(v) | Value::Bit(v)) => v.to_string().into_bytes(),
            Some(value) => value.to_text(column).unwrap_or_default(),
        };
        hash.update([2]);
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(&text);
    }
}
