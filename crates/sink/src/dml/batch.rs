//! Transactions between two DDLs, sorted by what they need: a fold, or an order.

use std::collections::HashMap;
use std::sync::Arc;

use binlog_catalog::{ChangeKind, RowChange, TableRef, Transaction};
use binlog_types::CommitTs;

use super::fold::Folded;
use crate::Error;
use crate::layout::Layout;
use crate::position::{Position, Progress};

/// A row change that must run in its order.
#[derive(Debug)]
pub(crate) struct Ordered<'a> {
    pub(crate) layout: Arc<Layout>,
    pub(crate) kind: &'a ChangeKind,
    pub(crate) commit_ts: CommitTs,
    /// Where the lane is once this is applied.
    pub(crate) after: Progress,
}

/// The rows of one keyed table.
#[derive(Debug)]
pub(crate) enum Keyed<'a> {
    /// The net effect: order does not matter any more.
    Net(Folded<'a>),
    /// An update in it leaves columns unbound, whose values only the target has: statement by statement.
    Steps(Vec<Ordered<'a>>),
}

/// All rows of a run of transactions.
#[derive(Debug, Default)]
pub(crate) struct Batch<'a> {
    /// Tables with a key; each is independent of all others.
    pub(crate) keyed: Vec<Keyed<'a>>,
    /// Rows of tables without a key, all tables together, in the stream's order.
    pub(crate) lane: Vec<Ordered<'a>>,
}

struct Gathered<'a> {
    layout: Arc<Layout>,
    rows: Vec<Ordered<'a>>,
    partial: bool,
}

impl<'a> Batch<'a> {
    /// Sorts the rows of `transactions`; rows of the lane at or below `done` were applied before and are left out.
    pub(crate) fn new(
        transactions: impl IntoIterator<Item = &'a Transaction>,
        done: Progress,
    ) -> Result<Self, Error> {
        let mut tables: Vec<Gathered<'a>> = Vec::new();
        let mut by_name: HashMap<(&'a str, &'a str), usize> = HashMap::new();
        let mut lane: Vec<Ordered<'a>> = Vec::new();
        for txn in transactions {
            let at = Position { commit_ts: txn.commit_ts, start_ts: txn.start_ts };
            let first_in_lane = lane.len();
            for (sequence, change) in (1u64..).zip(&txn.changes) {
                let name = (&*change.table.schema, change.table.table.name.as_str());
                let slot = match by_name.get(&name) {
                    Some(slot) if same_version(tables.get(*slot), &change.table) => *slot,
                    _ => {
                        let layout = Arc::new(Layout::new(&change.table));
                        tables.push(Gathered { layout, rows: Vec::new(), partial: false });
                        by_name.insert(name, tables.len() - 1);
                        tables.len() - 1
                    }
                };
                let Some(gathered) = tables.get_mut(slot) else { continue };
                check(&gathered.layout, change, txn.commit_ts)?;
                let row = Ordered {
                    layout: Arc::clone(&gathered.layout),
                    kind: &change.kind,
                    commit_ts: txn.commit_ts,
                    after: Progress { at, sequence },
                };
                if gathered.layout.key.is_none() {
                    lane.push(row);
                } else {
                    gathered.partial |= match &change.kind {
                        ChangeKind::Update { after, .. } => !gathered.layout.is_full(after),
                        ChangeKind::Insert(_) | ChangeKind::Delete(_) => false,
                    };
                    gathered.rows.push(row);
                }
            }
            // The last row of a record stands for the whole record: a later run may filter other tables and count differently.
            if lane.len() > first_in_lane
                && let Some(last) = lane.last_mut()
            {
                last.after.sequence = Progress::WHOLE;
            }
        }
        lane.retain(|row| row.after > done);
        let mut keyed: Vec<Keyed<'a>> = Vec::new();
        for table in tables.into_iter().filter(|t| !t.rows.is_empty()) {
            keyed.push(if table.partial {
                Keyed::Steps(table.rows)
            } else {
                Keyed::Net(Folded::new(table.layout, table.rows))
            });
        }
        Ok(Batch { keyed, lane })
    }
}

fn same_version(gathered: Option<&Gathered<'_>>, table: &TableRef) -> bool {
    gathered.is_some_and(|g| {
        Arc::ptr_eq(&g.layout.table.table, &table.table) || *g.layout.table.table == *table.table
    })
}

fn check(layout: &Layout, change: &RowChange, commit_ts: CommitTs) -> Result<(), Error> {
    match &change.kind {
        ChangeKind::Insert(row) | ChangeKind::Delete(row) => layout.check(row, commit_ts),
        ChangeKind::Update { before, after } => {
            layout.check(before, commit_ts)?;
            layout.check(after, commit_ts)
        }
    }
}
