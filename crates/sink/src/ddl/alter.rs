//! The difference of two versions of a table as ALTER TABLE statements, MySQL dialect.
//!
//! One clause a statement: a statement that is repeated after a crash then either was done as a whole or not at all, and "is there
//! already" can be said of it.

use binlog_catalog::{Column, Ddl, Index, Table, TableRef};

use super::column::{DefaultOf, definition};
use super::create::{index_text, indexes, leads_index, table_options, visible, whose};
use super::dialect::Dialect;
use super::table_diff::TableDiff;
use crate::names::{backtick, mysql_table};
use crate::notices::Notices;

/// Statements that make `after` out of `before`.
pub(super) fn statements(
    dialect: &Dialect,
    before: &TableRef,
    after: &TableRef,
    ddl: &Ddl,
    notices: &mut Notices,
) -> Vec<String> {
    let diff = TableDiff::new(&before.table, &after.table, ddl);
    let whose = whose(after);
    let old_indexes: Vec<&Index> = indexes(&before.table, &whose, notices).collect();
    let new_indexes: Vec<&Index> = indexes(&after.table, &whose, notices).collect();
    let index_diff = IndexDiff::new(&diff, &before.table, &old_indexes, &after.table, &new_indexes);

    let mut clauses = Vec::new();
    for index in &index_diff.dropped {
        clauses.push(format!("DROP INDEX {}", backtick(&index.name)));
    }
    let mut columns = Columns {
        dialect,
        diff: &diff,
        before: &before.table,
        after: &after.table,
        whose: &whose,
        notices,
        clauses,
    };
    columns.run();
    clauses = columns.clauses;
    match (index_diff.old_primary, index_diff.new_primary) {
        (Some(_), Some(new)) => clauses.push(format!("DROP PRIMARY KEY, ADD {}", index_text(new))),
        (Some(_), None) => clauses.push("DROP PRIMARY KEY".to_owned()),
        (None, Some(new)) => clauses.push(format!("ADD {}", index_text(new))),
        (None, None) => {}
    }
    for (old, new) in &index_diff.renamed {
        clauses.push(format!("RENAME INDEX {} TO {}", backtick(&old.name), backtick(&new.name)));
    }
    for index in &index_diff.added {
        clauses.push(format!("ADD {}", index_text(index)));
    }
    let (old, new) = (&before.table, &after.table);
    if (&old.charset, &old.collate, &old.comment) != (&new.charset, &new.collate, &new.comment) {
        let mut options = table_options(dialect, new, &whose, notices);
        if new.comment.is_empty() && !old.comment.is_empty() {
            options.push_str(" COMMENT=''");
        }
        clauses.push(options.trim_start().to_owned());
    }
    let head = format!("ALTER TABLE {}", mysql_table(&before.schema, &before.table.name));
    clauses.into_iter().filter(|c| !c.is_empty()).map(|clause| format!("{head} {clause}")).collect()
}

/// Walks the new columns from left to right while keeping the list that the target has by then.
struct Columns<'a, 'n> {
    dialect: &'a Dialect,
    diff: &'a TableDiff<'a>,
    before: &'a Table,
    after: &'a Table,
    whose: &'a str,
    notices: &'n mut Notices,
    clauses: Vec<String>,
}

impl Columns<'_, '_> {
    fn run(&mut self) {
        for column in &self.diff.dropped {
            self.clauses.push(format!("DROP COLUMN {}", backtick(&column.name)));
        }
        // Names by which the target knows the kept columns, by the new id; old order.
        let mut current: Vec<(i64, String)> = visible(self.before)
            .filter_map(|old| self.diff.kept.iter().find(|(o, _)| o.id == old.id))
            .map(|(old, new)| (new.id, old.name.clone()))
            .collect();
        self.park_taken_names(&mut current);
        let mut previous: Option<&str> = None;
        for (at, column) in visible(self.after).enumerate() {
            let place = match previous {
                Some(name) => format!(" AFTER {}", backtick(name)),
                None => " FIRST".to_owned(),
            };
            match current.iter().position(|(id, _)| *id == column.id) {
                Some(found) => {
                    let known_as = current.get(found).map(|(_, name)| name.clone()).unwrap_or_default();
                    let moved = found != at;
                    let old = self.diff.old_of(column);
                    if moved || known_as != column.name || self.changed(old, column) {
                        let definition = self.definition(column, DefaultOf::Column);
                        let place = if moved { place.as_str() } else { "" };
                        self.clauses
                            .push(format!("CHANGE COLUMN {} {definition}{place}", backtick(&known_as)));
                        let entry = current.remove(found);
                        current.insert(at.min(current.len()), (entry.0, column.name.clone()));
                    }
                }
                None => {
                    let place = if at == current.len() { "" } else { place.as_str() };
                    self.add(column, place);
                    current.insert(at.min(current.len()), (column.id, column.name.clone()));
                }
            }
            previous = Some(&column.name);
        }
    }

    /// A new name that another column still has: that one goes by a name of its own until its turn.
    fn park_taken_names(&mut self, current: &mut [(i64, String)]) {
        let kept = &self.diff.kept;
        for (old, new) in kept {
            let wanted_elsewhere = visible(self.after)
                .any(|other| other.id != new.id && other.name.eq_ignore_ascii_case(&old.name));
            if !wanted_elsewhere || old.name.eq_ignore_ascii_case(&new.name) {
                continue;
            }
            let parked = format!("_binlog_rename_{}", new.id);
            let definition =
                self.definition(&Column { name: parked.clone(), ..(*new).clone() }, DefaultOf::Column);
            self.clauses.push(format!("CHANGE COLUMN {} {definition}", backtick(&old.name)));
            if let Some(entry) = current.iter_mut().find(|(id, _)| *id == new.id) {
                entry.1 = parked;
            }
        }
    }

    /// Rows that are there get what the source gave them, which the default of later rows need not be.
    fn add(&mut self, column: &Column, place: &str) {
        let same = column.is_generated()
            || (column.origin_default == column.default
                && !column.default_is_expr
                && !column.default.as_deref().is_some_and(|d| super::column::is_now(column, d)));
        let first = if same { DefaultOf::Column } else { DefaultOf::Origin };
        let definition = self.definition(column, first);
        self.clauses.push(format!("ADD COLUMN {definition}{place}"));
        if !same {
            let definition = self.definition(column, DefaultOf::Column);
            self.clauses.push(format!("CHANGE COLUMN {} {definition}", backtick(&column.name)));
        }
    }

    fn changed(&mut self, old: Option<&Column>, new: &Column) -> bool {
        let Some(old) = old else { return true };
        let renamed = Column { name: new.name.clone(), ..old.clone() };
        let led = leads_index(self.before, old);
        let before = definition(self.dialect, &renamed, self.whose, led, DefaultOf::Column, self.notices);
        before != self.definition(new, DefaultOf::Column)
    }

    fn definition(&mut self, column: &Column, default: DefaultOf) -> String {
        let indexed = leads_index(self.after, column);
        definition(self.dialect, column, self.whose, indexed, default, self.notices)
    }
}

/// What becomes of the indexes.
struct IndexDiff<'a> {
    dropped: Vec<&'a Index>,
    added: Vec<&'a Index>,
    renamed: Vec<(&'a Index, &'a Index)>,
    /// Set where the primary key changes.
    old_primary: Option<&'a Index>,
    new_primary: Option<&'a Index>,
}

impl<'a> IndexDiff<'a> {
    fn new(
        diff: &TableDiff<'_>,
        before: &Table,
        old: &[&'a Index],
        after: &Table,
        new: &[&'a Index],
    ) -> Self {
        let mut result = IndexDiff {
            dropped: Vec::new(),
            added: Vec::new(),
            renamed: Vec::new(),
            old_primary: None,
            new_primary: None,
        };
        let mut left: Vec<&'a Index> = old.to_vec();
        for index in new {
            // A rewrite of a column's type rewrites its indexes under new ids and the old names.
            let same = |o: &&'a Index| diff.same_index(before, o, after, index);
            let found =
                left.iter().position(|o| same(o) && o.name.eq_ignore_ascii_case(&index.name)).or_else(|| {
                    left.iter().position(|o| o.id == index.id && o.primary == index.primary && same(o))
                });
            match found {
                Some(at) => {
                    let old = left.remove(at);
                    if !index.primary && old.name != index.name {
                        result.renamed.push((old, index));
                    }
                }
                None if index.primary => result.new_primary = Some(index),
                None => result.added.push(index),
            }
        }
        for index in left {
            if index.primary {
                result.old_primary = Some(index);
            } else {
                result.dropped.push(index);
            }
        }
        result
    }
}
