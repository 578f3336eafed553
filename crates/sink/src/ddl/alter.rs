//! The difference of two versions of a table as ALTER TABLE statements, MySQL dialect.
//!
//! One clause a statement: a statement that is repeated after a crash then either was done as a whole or not at all, and "is there
//! already" can be said of it.

use binlog_catalog::{Column, Ddl, Index, Table, TableRef, tp};

use super::Statement;
use super::column::{DefaultOf, definition, moment_of};
use super::create::{index_text, indexes, keyed, table_options, visible, whose};
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
) -> Vec<Statement> {
    let diff = TableDiff::new(&before.table, &after.table, ddl);
    let whose = whose(after);
    let old_indexes: Vec<&Index> = indexes(&before.table, &whose, notices).collect();
    let new_indexes: Vec<&Index> = indexes(&after.table, &whose, notices).collect();
    let index_diff = IndexDiff::new(&diff, &before.table, &old_indexes, &after.table, &new_indexes);

    let mut clauses: Vec<Statement> = Vec::new();
    for index in &index_diff.dropped {
        clauses.push(format!("DROP INDEX {}", backtick(&index.name)).into());
    }
    let mut columns = Columns {
        dialect,
        ddl,
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
        (Some(_), Some(new)) => clauses.push(format!("DROP PRIMARY KEY, ADD {}", index_text(new)).into()),
        (Some(_), None) => clauses.push("DROP PRIMARY KEY".to_owned().into()),
        (None, Some(new)) => clauses.push(format!("ADD {}", index_text(new)).into()),
        (None, None) => {}
    }
    for (old, new) in &index_diff.renamed {
        clauses.push(format!("RENAME INDEX {} TO {}", backtick(&old.name), backtick(&new.name)).into());
    }
    for index in &index_diff.added {
        clauses.push(format!("ADD {}", index_text(index)).into());
    }
    let (old, new) = (&before.table, &after.table);
    if (&old.charset, &old.collate, &old.comment) != (&new.charset, &new.collate, &new.comment) {
        let mut options = table_options(dialect, new, &whose, notices);
        if new.comment.is_empty() && !old.comment.is_empty() {
            options.push_str(" COMMENT=''");
        }
        clauses.push(options.trim_start().to_owned().into());
    }
    let head = format!("ALTER TABLE {}", mysql_table(&before.schema, &before.table.name));
    clauses.retain(|clause| !clause.sql.is_empty());
    clauses.iter_mut().for_each(|clause| clause.sql = format!("{head} {}", clause.sql));
    clauses
}

/// Walks the new columns from left to right while keeping the list that the target has by then.
struct Columns<'a, 'n> {
    dialect: &'a Dialect,
    ddl: &'a Ddl,
    diff: &'a TableDiff<'a>,
    before: &'a Table,
    after: &'a Table,
    whose: &'a str,
    notices: &'n mut Notices,
    clauses: Vec<Statement>,
}

impl Columns<'_, '_> {
    fn run(&mut self) {
        for column in &self.diff.dropped {
            self.clauses.push(format!("DROP COLUMN {}", backtick(&column.name)).into());
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
                        self.change(&known_as, old, column, if moved { place.as_str() } else { "" });
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
            self.change(&old.name, Some(old), &Column { name: parked.clone(), ..(*new).clone() }, "");
            if let Some(entry) = current.iter_mut().find(|(id, _)| *id == new.id) {
                entry.1 = parked;
            }
        }
    }

    /// A column that is called `known_as` becomes `column`.
    fn change(&mut self, known_as: &str, old: Option<&Column>, column: &Column, place: &str) {
        let definition = self.definition(column, DefaultOf::Column);
        let sql = format!("CHANGE COLUMN {} {definition}{place}", backtick(known_as));
        let is_stamp = |c: &Column| c.ty.tp == tp::TIMESTAMP;
        let zoned = self.ddl.zone.is_some() && old.is_some_and(|old| is_stamp(old) != is_stamp(column));
        self.clauses.push(Statement { zoned, ..Statement::from(sql) });
        let default = column.default.as_deref().filter(|text| column.moment(text).is_none());
        if zoned && is_stamp(column) && default.is_some() {
            // The default is of UTC, and was taken for one of the zone.
            self.clauses.push(format!("CHANGE COLUMN {} {definition}", backtick(&column.name)).into());
        }
    }

    /// Rows that are there get what the source gave them, which the default of later rows need not be.
    fn add(&mut self, column: &Column, place: &str) {
        let is_moment = |text: &Option<Vec<u8>>| text.as_deref().is_some_and(|t| column.moment(t).is_some());
        let same = column.is_generated()
            || (column.origin_default == column.default
                && !column.default_is_expr
                && !is_moment(&column.default));
        let first = if same { DefaultOf::Column } else { DefaultOf::Origin };
        let mut origin = column.clone();
        if is_moment(&column.origin_default) {
            origin.origin_default = moment_of(self.ddl, column).and_then(|value| value.to_text(column));
        }
        let definition = self.definition(&origin, first);
        self.clauses.push(format!("ADD COLUMN {definition}{place}").into());
        if !same {
            self.change(&column.name, None, column, "");
        }
    }

    fn changed(&mut self, old: Option<&Column>, new: &Column) -> bool {
        let Some(old) = old else { return true };
        let renamed = Column { name: new.name.clone(), ..old.clone() };
        let keys = keyed(self.before, old);
        let before = definition(self.dialect, &renamed, self.whose, keys, DefaultOf::Column, self.notices);
        before != self.definition(new, DefaultOf::Column)
    }

    fn definition(&mut self, column: &Column, default: DefaultOf) -> String {
        let keys = keyed(self.after, column);
        definition(self.dialect, column, self.whose, keys, default, self.notices)
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
    use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs, TableId, Zone};

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
        alter_in(None, query, job_type, after)
    }

    fn alter_in(
        zone: Option<Zone>,
        query: &str,
        job_type: u8,
        after: impl FnOnce(&mut Table),
    ) -> Vec<String> {
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
            zone,
            changes: Vec::new(),
            ahead: false,
        };
        let dialect = Dialect::new(Kind::MariaDb, HashSet::new());
        let statements = statements(&dialect, &of(before), &of(next), &ddl, &mut Notices::default());
        let shown = |s: &Statement| {
            let zone = if s.zoned { "zoned: " } else { "" };
            format!("{zone}{}", s.sql.replace("ALTER TABLE `d`.`t` ", ""))
        };
        statements.iter().map(shown).collect()
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
    fn timestamps_change_their_type_where_their_session_was() {
        let zone = Zone::of_location("UTC", 28_800);
        let clauses = alter_in(zone, "", 12, |t| {
            t.columns[1].ty = ColumnType::timestamp(0);
            t.columns[1].default = Some(b"2020-01-01 00:00:00".to_vec());
            t.columns[2].ty = ColumnType::bigint();
        });
        let definition = "CHANGE COLUMN `a` `a` TIMESTAMP NULL DEFAULT '2020-01-01 00:00:00'";
        assert_eq!(
            clauses,
            [
                format!("zoned: {definition}"),
                definition.to_owned(),
                "CHANGE COLUMN `b` `b` BIGINT(20) NULL DEFAULT NULL".to_owned()
            ]
        );
    }

    #[test]
    fn a_date_of_the_insert_is_no_text() {
        let clauses = alter("", 5, |t| {
            let mut c = t.columns[1].clone();
            (c.id, c.name, c.ty) = (9, "c".into(), ColumnType::date());
            (c.default, c.origin_default) = (Some(b"CURRENT_DATE".to_vec()), Some(b"CURRENT_DATE".to_vec()));
            t.columns.push(c);
        });
        assert_eq!(
            clauses,
            [
                "ADD COLUMN `c` DATE NULL DEFAULT '1970-01-01'",
                "CHANGE COLUMN `c` `c` DATE NULL DEFAULT (CURRENT_DATE)"
            ]
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
