//! What a range leaves: the last state of each row, and which tables are there.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use binlog_catalog::{Ddl, Event, RowChange, SchemaChange, TableFilter, TableKind, TableRef};
use binlog_types::{CommitTs, Range, TableId};

use crate::fold::Fold;
use crate::undo::{Tables, UndoReport};
use crate::{Error, Limits};

/// Database and table.
pub(super) type Name = (String, String);

/// What a destination should hold.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) fold: Fold,
    pub(super) limits: Limits,
    pub(super) tables: Tables,
    report: UndoReport,
    filter: TableFilter,
    /// Tables that began in the range, so that all their rows are known.
    pub(super) born: HashSet<TableId>,
    /// Tables that the range dropped or emptied: what it did to their rows before is nowhere to be seen.
    pub(super) dropped: HashSet<TableId>,
    /// Names that no table may have.
    pub(super) absent: BTreeSet<Name>,
    /// Names that some table must have, beside those that are known with their columns.
    pub(super) required: BTreeSet<Name>,
    /// Tables whose rows cannot be compared, and why.
    pub(super) unclear: BTreeMap<TableId, String>,
    /// Changes that are not compared, by reason.
    pub(super) left_out: BTreeMap<String, u64>,
}

impl Expected {
    pub(super) fn new(range: Range, filter: TableFilter, limits: Limits) -> Self {
        Expected {
            fold: Fold::new(limits.clone()),
            limits,
            tables: Tables::following(),
            report: UndoReport::new(range),
            filter,
            born: HashSet::new(),
            dropped: HashSet::new(),
            absent: BTreeSet::new(),
            required: BTreeSet::new(),
            unclear: BTreeMap::new(),
            left_out: BTreeMap::new(),
        }
    }

    /// The next event of a stream that knows its tables.
    pub(super) fn event(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            Event::Transaction(txn) => {
                txn.changes.iter().try_for_each(|change| self.change(txn.commit_ts, change))
            }
            Event::Ddl(ddl) => {
                self.ddl(ddl);
                Ok(())
            }
        }
    }

    pub(super) fn change(&mut self, at: CommitTs, change: &RowChange) -> Result<(), Error> {
        self.tables.row(at, change, true);
        self.fold.change(at, change, true)
    }

    pub(super) fn leave_out(&mut self, why: String) {
        *self.left_out.entry(why).or_default() += 1;
    }

    fn ddl(&mut self, ddl: &Ddl) {
        for change in &ddl.changes {
            match change {
                SchemaChange::CreateTable(table) => {
                    self.comes(table);
                    if table.table.kind == TableKind::Table {
                        self.born.insert(table.table.id);
                        self.tables.meet(table);
                    }
                }
                SchemaChange::TruncateTable { before, after } => {
                    self.dropped.insert(before.table.id);
                    self.born.insert(after.table.id);
                    self.tables.meet(after);
                }
                SchemaChange::DropTable(table) => self.goes(table),
                SchemaChange::DropDatabase { tables, .. } => tables.iter().for_each(|table| self.goes(table)),
                SchemaChange::RenameTable { before, .. } => self.vacates(before),
                SchemaChange::RecoverTable(table) => {
                    self.comes(table);
                    self.dropped.remove(&table.table.id);
                    self.born.remove(&table.table.id);
                }
                SchemaChange::DropPartitions { after: table, .. } => {
                    self.born.remove(&table.table.id);
                }
                SchemaChange::ExchangePartition { partitioned, plain } => {
                    self.born.remove(&partitioned.table.id);
                    self.born.remove(&plain.table.id);
                }
                SchemaChange::CreateDatabase(_)
                | SchemaChange::AlterDatabase { .. }
                | SchemaChange::AlterTable { .. } => {}
            }
        }
        // Several renames of one statement happen at once: names may be swapped.
        for change in &ddl.changes {
            if let SchemaChange::RenameTable { after, .. } = change {
                self.comes(after);
            }
        }
        self.tables.ddl(ddl, true, &self.filter, &mut self.report);
    }

    fn comes(&mut self, table: &TableRef) {
        self.absent.remove(&name_of(table));
    }

    fn goes(&mut self, table: &TableRef) {
        self.dropped.insert(table.table.id);
        self.vacates(table);
    }

    fn vacates(&mut self, table: &TableRef) {
        // Views and sequences may never have been there: not every server has them.
        if table.table.kind == TableKind::Table && self.filter.allows(&table.schema, &table.table.name) {
            self.absent.insert(name_of(table));
        }
    }
}

pub(super) fn name_of(table: &TableRef) -> Name {
    (table.schema.to_string(), table.table.name.clone())
}
