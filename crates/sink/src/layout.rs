//! What a sink needs to know of a table to write its rows.

use binlog_catalog::{Index, Row, Table, TableRef};
use binlog_types::CommitTs;

use crate::dml::conflict::Uniques;
use crate::{Error, Place};

/// How the target's table differs from the source's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Differences {
    /// Positions of the source's columns that the target takes no value for.
    pub(crate) absent: Vec<usize>,
    /// The target has columns of its own, which the stream says nothing about: what is in them stays.
    pub(crate) has_more: bool,
}

/// Columns that are written, and those that identify a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    pub(crate) table: TableRef,
    /// Positions of the columns that are written, in the table's order: visible, not generated, and there in the target.
    pub(crate) writable: Vec<usize>,
    /// See [`Differences::has_more`].
    pub(crate) has_more: bool,
    /// The target's JSON columns hold JSON, not text: a double that is whole stays one.
    pub(crate) json_type: bool,
    /// Positions of the columns of the row key; `None`: the table has no key.
    pub(crate) key: Option<Vec<usize>>,
    /// What tells which rows must keep their order.
    pub(crate) uniques: Uniques,
}

impl Layout {
    /// For a target whose table is the source's.
    pub(crate) fn new(table: &TableRef) -> Self {
        Self::on(table, &Differences::default())
    }

    /// For a target whose table differs.
    pub(crate) fn on(table: &TableRef, target: &Differences) -> Self {
        let mut writable = writable(&table.table);
        writable.retain(|at| !target.absent.contains(at));
        let key = row_key(&table.table, &writable);
        let uniques = Uniques::new(&table.table, key.as_deref());
        Layout { table: table.clone(), writable, has_more: target.has_more, json_type: false, key, uniques }
    }

    pub(crate) fn place(&self, commit_ts: CommitTs) -> Place {
        Place { schema: self.table.schema.clone(), table: self.table.table.name.clone(), commit_ts }
    }

    /// Positions of the columns that `row` binds and that are written.
    pub(crate) fn bound(&self, row: &Row) -> Vec<usize> {
        self.writable.iter().copied().filter(|at| row.get(*at).is_some_and(Option::is_some)).collect()
    }

    /// Whether `row` binds every column that is written.
    pub(crate) fn is_full(&self, row: &Row) -> bool {
        self.writable.iter().all(|at| row.get(*at).is_some_and(Option::is_some))
    }

    /// Checks that a row has the shape of the table.
    pub(crate) fn check(&self, row: &Row, commit_ts: CommitTs) -> Result<(), Error> {
        let columns = self.table.table.columns.len();
        if row.len() != columns {
            return Err(Error::RowShape { place: self.place(commit_ts), found: row.len(), columns });
        }
        Ok(())
    }

    /// Whether the row can be found by its key: while TiDB drops a column of it, rows are told without.
    pub(crate) fn binds_key(&self, row: &Row) -> bool {
        self.key.iter().flatten().all(|at| row.get(*at).is_some_and(Option::is_some))
    }

    /// Positions of NOT NULL columns of unique keys of which `row` says nothing.
    pub(crate) fn unbound_keys<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = usize> + 'a {
        let column = |at: usize| self.table.table.columns.get(at);
        let parts = self.uniques.parts().flatten().map(|(at, _)| *at);
        parts.filter(move |at| {
            self.writable.contains(at)
                && column(*at).is_some_and(|c| c.ty.is_not_null())
                && !row.get(*at).is_some_and(Option::is_some)
        })
    }
}

/// Positions of the columns by which a sink finds a row of `table`; `None`: it has no key, and all columns together find it.
pub fn key_columns(table: &Table) -> Option<Vec<usize>> {
    row_key(table, &writable(table))
}

fn writable(table: &Table) -> Vec<usize> {
    table.columns.iter().enumerate().filter(|(_, c)| c.is_writable()).map(|(at, _)| at).collect()
}

/// The primary key or else the first unique index over NOT NULL columns, if the sink writes all its columns: a key over generated
/// columns is in no row and so cannot identify one.
fn row_key(table: &Table, writable: &[usize]) -> Option<Vec<usize>> {
    let usable = |index: &Index| {
        index.public
            && !index.columns.is_empty()
            && index.columns.iter().all(|part| writable.contains(&part.offset))
    };
    let not_null = |index: &Index| {
        index.columns.iter().all(|part| table.columns.get(part.offset).is_some_and(|c| c.ty.is_not_null()))
    };
    let primary = table.indexes.iter().find(|i| i.primary && usable(i));
    let chosen = primary
        .or_else(|| table.indexes.iter().find(|i| i.unique && !i.primary && usable(i) && not_null(i)))?;
    Some(chosen.columns.iter().map(|part| part.offset).collect())
}
