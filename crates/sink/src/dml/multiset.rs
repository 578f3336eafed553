//! The net effect on tables without a key.
//!
//! Their rows have no identity: a table is how often each row occurs. So what a run of changes does is a difference of counts,
//! and an update is one row less and one row more. That spares the target a search through the whole table for each step of a
//! row that changes again and again.

use std::collections::HashMap;
use std::sync::Arc;

use binlog_catalog::{ChangeKind, Row};
use binlog_types::CommitTs;

use super::batch::Ordered;
use crate::layout::Layout;
use crate::literal;

/// How many more or fewer there are of a row.
#[derive(Debug)]
pub(crate) struct Counted<'a> {
    pub(crate) layout: Arc<Layout>,
    pub(crate) row: &'a Row,
    /// Copies to delete (negative) or to insert. Never 0.
    pub(crate) change: i64,
    /// Of the last change of the row.
    pub(crate) commit_ts: CommitTs,
}

/// The net effect of `rows`: what goes comes first, then what comes, each in the order of its first mention. `None` where a row
/// leaves columns unbound: which row that is only the target knows, so such changes must run one by one.
pub(crate) fn net<'a>(rows: &[Ordered<'a>]) -> Option<Vec<Counted<'a>>> {
    let mut counts: Vec<Counted<'a>> = Vec::new();
    let mut places: HashMap<(*const Layout, String), usize> = HashMap::new();
    let mut count = |ordered: &Ordered<'a>, row: &'a Row, by: i64| {
        if !ordered.layout.is_full(row) {
            return None;
        }
        let place = (Arc::as_ptr(&ordered.layout), text_of(&ordered.layout, row));
        let at = *places.entry(place).or_insert_with(|| {
            let layout = Arc::clone(&ordered.layout);
            counts.push(Counted { layout, row, change: 0, commit_ts: ordered.commit_ts });
            counts.len() - 1
        });
        let counted = counts.get_mut(at)?;
        counted.change += by;
        counted.commit_ts = ordered.commit_ts;
        Some(())
    };
    for ordered in rows {
        match ordered.kind {
            ChangeKind::Insert(row) => count(ordered, row, 1)?,
            ChangeKind::Delete(row) => count(ordered, row, -1)?,
            ChangeKind::Update { before, after } => {
                count(ordered, before, -1)?;
                count(ordered, after, 1)?;
            }
        }
    }
    counts.retain(|c| c.change != 0);
    counts.sort_by_key(|c| c.change > 0);
    Some(counts)
}

fn text_of(layout: &Layout, row: &Row) -> String {
    let mut text = String::new();
    for at in &layout.writable {
        if let (Some(Some(value)), Some(column)) = (row.get(*at), layout.table.table.columns.get(*at)) {
            literal::push_mysql(&mut text, value, column);
            text.push(',');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use binlog_catalog::{ColumnType, TableBuilder, TableRef, Value};
    use binlog_types::{SchemaVersion, TableId};

    use super::*;
    use crate::position::Progress;

    fn row(v: i64) -> Row {
        vec![Some(Value::Int(v))]
    }

    fn counted(kinds: &[ChangeKind]) -> Option<Vec<(Row, i64)>> {
        let table =
            TableBuilder::new(TableId(1), "t", SchemaVersion(1)).column("a", ColumnType::int()).build();
        let layout = Arc::new(Layout::new(&TableRef { schema: "d".into(), table: Arc::new(table) }));
        let rows: Vec<Ordered<'_>> = kinds
            .iter()
            .map(|kind| Ordered {
                layout: layout.clone(),
                kind,
                commit_ts: CommitTs::new(1),
                after: Progress::default(),
            })
            .collect();
        Some(net(&rows)?.into_iter().map(|c| (c.row.clone(), c.change)).collect())
    }

    #[test]
    fn only_the_difference_remains() {
        let update = |a, b| ChangeKind::Update { before: row(a), after: row(b) };
        let kinds = [
            ChangeKind::Insert(row(1)),
            ChangeKind::Insert(row(1)),
            update(5, 6),
            update(6, 7),
            update(9, 9),
            ChangeKind::Insert(row(4)),
            ChangeKind::Delete(row(4)),
        ];
        assert_eq!(counted(&kinds).unwrap(), [(row(5), -1), (row(1), 2), (row(7), 1)]);
    }

    #[test]
    fn rows_with_unbound_columns_are_not_counted() {
        let kinds = [ChangeKind::Update { before: vec![None], after: row(1) }];
        assert_eq!(counted(&kinds), None);
    }
}
