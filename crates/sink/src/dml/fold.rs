//! Many changes of a row become its last state.
//!
//! Why no conflict detection on the other unique keys is needed: all deletes of a table run before all puts, and a put replaces
//! whatever row stands in its way. The last states of all rows together are a state that the source had, so no two of them
//! conflict with one another, nor with a row that the batch does not touch; what can stand in the way is only an older state of a
//! row that is itself deleted or put in this batch. So puts may run in any order and in parallel, also when rows swap the values
//! of a unique key, and whatever the collation says about which values are equal. Keys are told apart by their bytes: where a
//! collation takes two keys as one, at most one of them is put, after the delete of the other.

use std::collections::HashMap;
use std::sync::Arc;

use binlog_catalog::{ChangeKind, Row, Value};
use binlog_types::CommitTs;

use super::batch::Ordered;
use crate::layout::Layout;
use crate::literal;

/// The last state of a row.
#[derive(Debug)]
pub(crate) struct Net<'a> {
    /// The first key column as number, for an order that keeps neighbours together.
    order: i128,
    /// The key columns as SQL literals, parted by commas.
    pub(crate) key: String,
    /// A row that holds the key.
    pub(crate) key_row: &'a Row,
    /// The row; `None`: it is gone.
    pub(crate) row: Option<&'a Row>,
    /// The source had no such row before: most likely the target has none either.
    pub(crate) fresh: bool,
    /// The row was there before and has only been updated: it never went, not even for a moment.
    pub(crate) kept: bool,
    pub(crate) commit_ts: CommitTs,
}

/// The net effect on one table.
#[derive(Debug)]
pub(crate) struct Folded<'a> {
    pub(crate) layout: Arc<Layout>,
    /// By key. A row that was inserted and deleted again is here too: a run before a crash may have left it.
    pub(crate) deletes: Vec<Net<'a>>,
    /// By key.
    pub(crate) puts: Vec<Net<'a>>,
}

impl<'a> Folded<'a> {
    /// Folds checked rows of one table with a key.
    pub(crate) fn new(layout: Arc<Layout>, rows: Vec<Ordered<'a>>) -> Self {
        let mut net: HashMap<String, Net<'a>> = HashMap::with_capacity(rows.len());
        let mut set = |row: &'a Row, present: bool, fresh: bool, kept: bool, commit_ts: CommitTs| {
            let (order, key) = key_of(&layout, row);
            let state = present.then_some(row);
            match net.get_mut(&key) {
                Some(entry) => {
                    entry.row = state;
                    entry.kept &= kept;
                    entry.commit_ts = commit_ts;
                }
                None => {
                    let entry =
                        Net { order, key: key.clone(), key_row: row, row: state, fresh, kept, commit_ts };
                    net.insert(key, entry);
                }
            }
        };
        for change in rows {
            match change.kind {
                ChangeKind::Insert(row) => set(row, true, true, false, change.commit_ts),
                ChangeKind::Delete(row) => set(row, false, false, false, change.commit_ts),
                ChangeKind::Update { before, after } => {
                    let moved = !same_key(&layout, before, after);
                    if moved {
                        set(before, false, false, false, change.commit_ts);
                    }
                    set(after, true, moved, !moved, change.commit_ts);
                }
            }
        }
        let (mut puts, mut deletes): (Vec<_>, Vec<_>) = net.into_values().partition(|n| n.row.is_some());
        for list in [&mut puts, &mut deletes] {
            list.sort_unstable_by(|a, b| (a.order, &a.key).cmp(&(b.order, &b.key)));
        }
        Folded { layout, deletes, puts }
    }
}

/// Whether an update leaves the row's key as it is, byte for byte.
pub(crate) fn same_key(layout: &Layout, before: &Row, after: &Row) -> bool {
    layout.key.iter().flatten().all(|at| before.get(*at) == after.get(*at))
}

fn key_of(layout: &Layout, row: &Row) -> (i128, String) {
    let mut text = String::new();
    let mut order = None;
    for at in layout.key.iter().flatten() {
        if !text.is_empty() {
            text.push(',');
        }
        let (Some(Some(value)), Some(column)) = (row.get(*at), layout.table.table.columns.get(*at)) else {
            continue;
        };
        order.get_or_insert(match value {
            Value::Int(v) | Value::Year(v) => i128::from(*v),
            Value::UInt(v) => i128::from(*v),
            _ => 0,
        });
        literal::push_mysql(&mut text, value, column);
    }
    (order.unwrap_or(0), text)
}
