//! Transactions between two DDLs, sorted by what they need: a fold, or an order.

use std::collections::HashMap;
use std::sync::Arc;

use binlog_catalog::{ChangeKind, Row, RowChange, Table, TableRef, Transaction};
use binlog_types::CommitTs;

use super::fold::{Folded, same_key};
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
    /// An update in it leaves columns as they are whose values only the target has, or a row says nothing of its key: statement by statement.
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

/// Cuts a run of transactions where a table comes in another shape than before without a DDL between (one that changes nothing a
/// sink holds): rows of one shape are a batch of their own, and the batches run one after the other.
pub(crate) fn cut<'a>(transactions: Vec<&'a Transaction>) -> Vec<Vec<&'a Transaction>> {
    let mut runs: Vec<Vec<&'a Transaction>> = Vec::new();
    let mut run: Vec<&'a Transaction> = Vec::new();
    let mut shapes: HashMap<(&'a str, &'a str), &'a Arc<Table>> = HashMap::new();
    for txn in transactions {
        let mut last: Option<&'a Arc<Table>> = None;
        for change in &txn.changes {
            let table = &change.table.table;
            if last.is_some_and(|last| Arc::ptr_eq(last, table)) {
                continue;
            }
            last = Some(table);
            let name = (&*change.table.schema, table.name.as_str());
            if shapes.get(&name).is_some_and(|known| !same_shape(known, table)) {
                shapes.clear();
                runs.push(std::mem::take(&mut run));
            }
            shapes.insert(name, table);
        }
        run.push(txn);
    }
    runs.push(run);
    runs.retain(|run| !run.is_empty());
    runs
}

pub(crate) fn same_shape(a: &Arc<Table>, b: &Arc<Table>) -> bool {
    Arc::ptr_eq(a, b) || (a.columns == b.columns && a.indexes == b.indexes)
}

struct Gathered<'a> {
    layout: Arc<Layout>,
    rows: Vec<Ordered<'a>>,
    by_steps: bool,
}

impl Gathered<'_> {
    /// Whether the row that this update leaves behind can be written without a look at the one before it.
    fn needs_steps(&self, before: &Row, after: &Row) -> bool {
        let layout = &*self.layout;
        // Where only the row's own key can be in the way, columns of the target's own survive an INSERT … ON DUPLICATE KEY UPDATE.
        let loses_more = layout.has_more && (layout.uniques.has_others() || !same_key(layout, before, after));
        loses_more || !layout.is_full(after)
    }
}

impl<'a> Batch<'a> {
    /// Sorts the rows of `transactions`, which [`cut`] has made; rows of the lane at or below `done` were applied before and are left
    /// out, and so are those of which `applied` says it. `layout` says how the target holds a table.
    pub(crate) fn new(
        transactions: impl IntoIterator<Item = &'a Transaction>,
        done: Progress,
        applied: impl Fn(&TableRef, Position) -> bool,
        layout: impl Fn(&TableRef) -> Layout,
    ) -> Result<Self, Error> {
        let mut tables: Vec<Gathered<'a>> = Vec::new();
        let mut by_name: HashMap<(&'a str, &'a str), usize> = HashMap::new();
        let mut lane: Vec<Ordered<'a>> = Vec::new();
        for txn in transactions {
            let at = Position { commit_ts: txn.commit_ts, start_ts: txn.start_ts };
            let first_in_lane = lane.len();
            for (sequence, change) in (txn.part.before + 1..).zip(&txn.changes) {
                if applied(&change.table, at) {
                    continue;
                }
                let name = (&*change.table.schema, change.table.table.name.as_str());
                let slot = match by_name.get(&name) {
                    Some(slot) => *slot,
                    None => {
                        let layout = Arc::new(layout(&change.table));
                        tables.push(Gathered { layout, rows: Vec::new(), by_steps: false });
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
                    gathered.by_steps |= match &change.kind {
                        ChangeKind::Update { before, after } => {
                            gathered.needs_steps(before, after)
                                || !(gathered.layout.binds_key(before) && gathered.layout.binds_key(after))
                        }
                        ChangeKind::Insert(row) => gathered.layout.unbound_keys(row).next().is_some(),
                        ChangeKind::Delete(row) => !gathered.layout.binds_key(row),
                    };
                    gathered.rows.push(row);
                }
            }
            // The last row of a record stands for the whole record, and that of a part for all that came up to there: a later run may
            // filter other tables and count differently.
            if lane.len() > first_in_lane
                && let Some(last) = lane.last_mut()
            {
                last.after.sequence = txn.part.through.unwrap_or(Progress::WHOLE);
            }
        }
        lane.retain(|row| row.after > done);
        let mut keyed: Vec<Keyed<'a>> = Vec::new();
        for table in tables.into_iter().filter(|t| !t.rows.is_empty()) {
            keyed.push(if table.by_steps {
                Keyed::Steps(table.rows)
            } else {
                Keyed::Net(Folded::new(table.layout, table.rows))
            });
        }
        Ok(Batch { keyed, lane })
    }
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

#[cfg(test)]
mod tests {
    use binlog_catalog::{ColumnType, Part, Row, TableBuilder, TableRef, Value};
    use binlog_types::{SchemaVersion, StartTs, TableId};

    use super::*;
    use crate::dml::fold::Net;

    fn table(columns: &[&str], keyed: bool) -> TableRef {
        let mut builder = TableBuilder::new(TableId(1), "t", SchemaVersion(1));
        for name in columns {
            builder = builder.column(*name, ColumnType::int());
        }
        let builder = if keyed { builder.primary_key(&["id"]) } else { builder };
        TableRef { schema: "d".into(), table: Arc::new(builder.build()) }
    }

    fn row(values: &[i64]) -> Row {
        values.iter().map(|v| Some(Value::Int(*v))).collect()
    }

    fn txn(commit_ts: u64, table: &TableRef, kinds: Vec<ChangeKind>) -> Transaction {
        Transaction {
            start_ts: StartTs::new(commit_ts - 1),
            commit_ts: CommitTs::new(commit_ts),
            schema_version: SchemaVersion(1),
            part: Part::WHOLE,
            changes: kinds.into_iter().map(|kind| RowChange { table: table.clone(), kind }).collect(),
        }
    }

    fn keys(list: &[Net<'_>]) -> Vec<String> {
        list.iter().map(|n| n.key.clone()).collect()
    }

    #[test]
    fn only_last_states_remain() {
        let t = table(&["id", "v"], true);
        let update = |a: &[i64], b: &[i64]| ChangeKind::Update { before: row(a), after: row(b) };
        let txns = [
            txn(10, &t, vec![ChangeKind::Insert(row(&[1, 1])), ChangeKind::Insert(row(&[2, 1]))]),
            txn(20, &t, vec![update(&[1, 1], &[1, 2]), update(&[1, 2], &[7, 2])]),
            txn(30, &t, vec![ChangeKind::Delete(row(&[2, 1])), ChangeKind::Insert(row(&[10, 5]))]),
        ];
        let batch = Batch::new(&txns, Progress::default(), |_, _| false, Layout::new).unwrap();
        let [Keyed::Net(folded)] = batch.keyed.as_slice() else { panic!("{batch:?}") };
        assert_eq!(keys(&folded.deletes), ["1", "2"]);
        assert_eq!(keys(&folded.puts), ["7", "10"]);
        assert_eq!(folded.puts[0].row, Some(&row(&[7, 2])));
    }

    #[test]
    fn the_lane_keeps_its_order_and_leaves_out_what_is_done() {
        let t = table(&["a"], false);
        let txns = [
            txn(10, &t, vec![ChangeKind::Insert(row(&[1])), ChangeKind::Insert(row(&[1]))]),
            txn(20, &t, vec![ChangeKind::Delete(row(&[1])), ChangeKind::Insert(row(&[2]))]),
        ];
        let batch = Batch::new(&txns, Progress::default(), |_, _| false, Layout::new).unwrap();
        assert_eq!(batch.lane.len(), 4);
        assert_eq!(batch.lane[1].after.sequence, Progress::WHOLE);
        let at = |commit_ts, sequence| Progress {
            at: Position { commit_ts: CommitTs::new(commit_ts), start_ts: StartTs::new(commit_ts - 1) },
            sequence,
        };
        let left = |done| Batch::new(&txns, done, |_, _| false, Layout::new).unwrap().lane.len();
        assert_eq!(left(at(10, Progress::WHOLE)), 2);
        assert_eq!(left(at(20, 1)), 1);
        assert_eq!(left(at(20, Progress::WHOLE)), 0);
    }

    #[test]
    fn the_lane_counts_on_from_part_to_part() {
        let t = table(&["a"], false);
        let kinds = || vec![ChangeKind::Insert(row(&[1])), ChangeKind::Insert(row(&[2]))];
        let part = |before, through| Transaction { part: Part { before, through }, ..txn(10, &t, kinds()) };
        let txns = [part(0, Some(5)), part(5, None)];
        let sequences: Vec<u64> = Batch::new(&txns, Progress::default(), |_, _| false, Layout::new)
            .unwrap()
            .lane
            .iter()
            .map(|row| row.after.sequence)
            .collect();
        // Three changes of the first part are of tables that a filter leaves out.
        assert_eq!(sequences, [1, 5, 6, Progress::WHOLE]);
    }

    #[test]
    fn another_shape_of_a_table_begins_another_batch() {
        let (narrow, wide) = (table(&["id"], true), table(&["id", "v"], true));
        let txns = [
            txn(10, &narrow, vec![ChangeKind::Insert(row(&[1]))]),
            txn(20, &wide, vec![ChangeKind::Insert(row(&[2, 2]))]),
            txn(30, &wide, vec![ChangeKind::Delete(row(&[1, 2]))]),
        ];
        let runs = cut(txns.iter().collect());
        assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        assert!(cut(Vec::new()).is_empty());
    }

    #[test]
    fn a_row_that_does_not_fit_its_table_is_refused() {
        let t = table(&["id", "v"], true);
        let txns = [txn(10, &t, vec![ChangeKind::Insert(row(&[1]))])];
        assert!(matches!(
            Batch::new(&txns, Progress::default(), |_, _| false, Layout::new),
            Err(Error::RowShape { found: 1, columns: 2, .. })
        ));
        let txns = [txn(10, &t, vec![ChangeKind::Delete(vec![None, Some(Value::Int(1))])])];
        let batch = Batch::new(&txns, Progress::default(), |_, _| false, Layout::new).unwrap();
        assert!(matches!(&batch.keyed[..], [Keyed::Steps(_)]), "no key to fold by");
    }
}
