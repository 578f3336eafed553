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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use binlog_catalog::{ColumnType, TableBuilder};
    use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs, TableId};

    use super::*;
    use crate::ddl::dialect::Kind;

    fn table() -> Table {
        TableBuilder::new(TableId(1), "t", SchemaVersion(1))
            .column("id", ColumnType::int())
            .column("a", ColumnType::int())
            .column("b", ColumnType::int())
            .primary_key(&["id"])
            .index("ia", &["a"])
            .build()
    }

    fn alter(query: &str, job_type: u8, after: impl FnOnce(&mut Table)) -> Vec<String> {
        let before = table();
        let mut next = before.clone();
        after(&mut next);
        for (at, column) in next.columns.iter_mut().enumerate() {
            column.offset = at;
        }
        let of = |table| TableRef { schema: "d".into(), table: Arc::new(table) };
        let ddl = Ddl {
            start_ts: StartTs::new(1),
            commit_ts: CommitTs::new(2),
            job_id: JobId(1),
            job_type,
            schema: "d".into(),
            schema_version: SchemaVersion(2),
            query: query.into(),
            typed: String::new(),
            changes: Vec::new(),
        };
        let dialect = Dialect::new(Kind::MariaDb, HashSet::new());
        let statements = statements(&dialect, &of(before), &of(next), &ddl, &mut Notices::default());
        statements.iter().map(|s| s.replace("ALTER TABLE `d`.`t` ", "")).collect()
    }

    #[test]
    fn nothing_changed_is_nothing_to_do() {
        assert!(alter("", 0, |t| t.version = SchemaVersion(7)).is_empty());
    }

    #[test]
    fn a_new_column_keeps_the_past_of_old_rows() {
        let clauses = alter("", 5, |t| {
            let mut c = t.columns[1].clone();
            (c.id, c.name, c.default, c.origin_default) =
                (9, "c".into(), Some(b"2".to_vec()), Some(b"1".to_vec()));
            t.columns.push(c);
        });
        assert_eq!(
            clauses,
            ["ADD COLUMN `c` INT(11) NULL DEFAULT '1'", "CHANGE COLUMN `c` `c` INT(11) NULL DEFAULT '2'"]
        );
    }

    #[test]
    fn a_rewritten_column_is_the_same_column() {
        let rewrite = |t: &mut Table, name: &str| {
            let mut c = t.columns[1].clone();
            (c.id, c.name, c.ty) = (9, name.into(), ColumnType::varchar(10));
            t.columns[1] = c;
            t.indexes[1].id = 77;
            t.indexes[1].columns[0].name = name.into();
        };
        let varchar = "VARCHAR(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL DEFAULT NULL";
        assert_eq!(
            alter("alter table t modify a varchar(10)", 12, |t| rewrite(t, "a")),
            [format!("CHANGE COLUMN `a` `a` {varchar}")]
        );
        assert_eq!(
            alter("alter table t drop column b, change a `new` varchar(10)", 61, |t| {
                rewrite(t, "new");
                t.columns.remove(2);
            }),
            ["DROP COLUMN `b`".to_owned(), format!("CHANGE COLUMN `a` `new` {varchar}")]
        );
    }

    #[test]
    fn columns_move_and_change_names_in_a_circle() {
        let clauses = alter("", 12, |t| {
            t.columns.swap(1, 2);
            t.indexes[1].columns[0].offset = 2;
        });
        assert_eq!(clauses, ["CHANGE COLUMN `b` `b` INT(11) NULL DEFAULT NULL AFTER `id`"]);
        let clauses = alter("", 61, |t| {
            t.columns[1].name = "b".into();
            t.columns[2].name = "a".into();
            t.indexes[1].columns[0].name = "b".into();
        });
        let int = "INT(11) NULL DEFAULT NULL";
        assert_eq!(
            clauses,
            [
                format!("CHANGE COLUMN `a` `_binlog_rename_2` {int}"),
                format!("CHANGE COLUMN `b` `_binlog_rename_3` {int}"),
                format!("CHANGE COLUMN `_binlog_rename_2` `b` {int}"),
                format!("CHANGE COLUMN `_binlog_rename_3` `a` {int}"),
            ]
        );
    }

    #[test]
    fn indexes_come_go_and_change_names() {
        let clauses = alter("", 61, |t| {
            let mut unique = t.indexes[1].clone();
            t.indexes[1].name = "renamed".into();
            (unique.id, unique.name, unique.unique) = (9, "u".into(), true);
            t.indexes.push(unique);
            t.indexes.remove(0);
        });
        assert_eq!(
            clauses,
            ["DROP PRIMARY KEY", "RENAME INDEX `ia` TO `renamed`", "ADD UNIQUE KEY `u` (`a`)"]
        );
        let clauses = alter("", 61, |t| {
            t.indexes.remove(1);
            t.comment = "it's".into();
        });
        assert_eq!(
            clauses,
            ["DROP INDEX `ia`", "DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin COMMENT='it\\'s'"]
        );
    }
}
