//! Rows of binlog files as rows of the tables that the destination has now: the files tell names, the destination tells keys.

use std::collections::HashMap;
use std::sync::Arc;

use binlog_catalog::{ChangeKind, Column, Event, Row, RowChange, Table, TableFilter, TableRef};
use binlog_sink::{Session, key_columns};
use binlog_types::{CommitTs, TableId};

use super::expected::Expected;
use super::lineage::{Life, Lineage};
use crate::Error;

/// Shapes of rows that are remembered; more than that means that they change all the time.
const SHAPES: usize = 4096;

/// Which table a change is of, in the end.
pub(super) fn follow(lineage: &mut Lineage, event: &Event) {
    match event {
        Event::Ddl(ddl) => lineage.ddl(ddl),
        Event::Transaction(txn) => {
            for change in &txn.changes {
                lineage.of(&change.table.schema, &change.table.table.name);
            }
        }
    }
}

/// A table of the destination.
#[derive(Debug)]
struct Found {
    table: TableRef,
    key: Option<Vec<usize>>,
    primary: bool,
}

/// Binds changes to the destination's tables.
#[derive(Debug)]
pub(super) struct Binding {
    /// As the whole stream leaves it.
    outcome: Lineage,
    /// The same, as far as the stream was read again.
    now: Lineage,
    /// By number; None: the destination has no such table, or it is gone.
    found: Vec<Option<Found>>,
    /// Of each column of the destination's table, the column of the row; by the table's number and the address of the files' table.
    shapes: HashMap<(usize, usize), Shape>,
}

/// Of each column of a table, the place in the row; the files' table is kept so that its address stays its own.
type Shape = (Arc<[Option<usize>]>, Arc<Table>);

impl Binding {
    /// Asks the destination for all tables that are to be there.
    pub(super) async fn open(
        outcome: Lineage,
        session: &mut Session,
        filter: &TableFilter,
        expected: &mut Expected,
    ) -> Result<Self, binlog_sink::Error> {
        let mut found = Vec::new();
        for (at, life) in outcome.lives().iter().enumerate() {
            let Some((schema, name)) = life.name.as_ref().filter(|_| !life.other) else {
                found.push(None);
                continue;
            };
            let described = session.describe(schema, name).await?;
            found.push(described.map(|table| {
                let table = Table { id: id(at), ..table };
                let key = key_columns(&table);
                let primary = table.indexes.iter().any(|index| index.primary);
                Found {
                    table: TableRef { schema: schema.as_str().into(), table: Arc::new(table) },
                    key,
                    primary,
                }
            }));
            if life.born && filter.allows(schema, name) {
                match found.last().and_then(Option::as_ref) {
                    Some(found) => {
                        expected.born.insert(id(at));
                        expected.tables.meet(&found.table);
                    }
                    None => {
                        expected.required.insert((schema.clone(), name.clone()));
                    }
                }
            }
        }
        expected.absent = outcome.absent(filter);
        Ok(Binding { outcome, now: Lineage::default(), found, shapes: HashMap::new() })
    }

    /// The next event of the stream, read again.
    pub(super) fn event(&mut self, event: &Event, expected: &mut Expected) -> Result<(), Error> {
        match event {
            Event::Ddl(ddl) => {
                self.now.ddl(ddl);
                self.shapes.clear();
                Ok(())
            }
            Event::Transaction(txn) => {
                txn.changes.iter().try_for_each(|change| self.change(txn.commit_ts, change, expected))
            }
        }
    }

    fn change(&mut self, at: CommitTs, change: &RowChange, expected: &mut Expected) -> Result<(), Error> {
        let number = self.now.of(&change.table.schema, &change.table.table.name);
        let Some(life) = self.outcome.get(number) else { return Ok(()) };
        // What was dropped later is only to be gone.
        let Some((schema, name)) = &life.name else { return Ok(()) };
        let Some(found) = self.found.get(number).and_then(Option::as_ref) else {
            expected.required.insert((schema.clone(), name.clone()));
            expected.leave_out(format!("{schema}.{name} is not in the destination"));
            return Ok(());
        };
        let left_out = |expected: &mut Expected, why: &str| {
            expected.born.remove(&id(number));
            expected.leave_out(format!("{schema}.{name} {why}"));
            Ok(())
        };
        if at <= life.known_after {
            return left_out(expected, "has got or lost rows since that no binlog carries");
        }
        if !life.keeps_key(found.primary, at) {
            return left_out(expected, "has another key since");
        }
        if found.key.is_none() && !life.born {
            return left_out(expected, "has no key: its rows are known only from its beginning on");
        }
        let places = match self.shapes.get(&(number, Arc::as_ptr(&change.table.table) as usize)) {
            Some((places, _)) => Arc::clone(places),
            None => {
                let places = places(life, found, &change.table.table, at);
                if self.shapes.len() >= SHAPES {
                    self.shapes.clear();
                }
                let address = Arc::as_ptr(&change.table.table) as usize;
                self.shapes.insert((number, address), (Arc::clone(&places), Arc::clone(&change.table.table)));
                places
            }
        };
        let unbound = |at: &usize| places.get(*at).is_none_or(Option::is_none);
        match &found.key {
            Some(key) if key.iter().any(unbound) => {
                return left_out(expected, "has rows in the files without its key");
            }
            None if writable(&found.table.table).any(|at| unbound(&at)) => {
                let why = format!(
                    "{schema}.{name} has no key, and other columns than it had: its rows are only counted"
                );
                expected.unclear.insert(id(number), why);
            }
            Some(_) | None => {}
        }
        let bound = |row: &Row| -> Row {
            places.iter().map(|place| place.and_then(|at| row.get(at).cloned().flatten())).collect()
        };
        let kind = match &change.kind {
            ChangeKind::Insert(row) => ChangeKind::Insert(bound(row)),
            ChangeKind::Delete(row) => ChangeKind::Delete(bound(row)),
            ChangeKind::Update { before, after } => {
                ChangeKind::Update { before: bound(before), after: bound(after) }
            }
        };
        expected.change(at, &RowChange { table: found.table.clone(), kind })
    }
}

fn places(life: &Life, found: &Found, from: &Table, at: CommitTs) -> Arc<[Option<usize>]> {
    let place = |column: &Column| {
        let place = from.columns.iter().position(|c| c.name.eq_ignore_ascii_case(&column.name))?;
        life.keeps_column(&column.name, at).then_some(place)
    };
    found.table.table.columns.iter().map(place).collect()
}

fn writable(table: &Table) -> impl Iterator<Item = usize> {
    table.columns.iter().enumerate().filter(|(_, column)| column.is_writable()).map(|(at, _)| at)
}

fn id(number: usize) -> TableId {
    TableId(number as i64 + 1)
}
