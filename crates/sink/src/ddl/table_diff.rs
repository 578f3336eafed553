//! Which column and which index of one version of a table is which of the next.

use std::collections::HashMap;

use binlog_catalog::{Column, Ddl, Index, Table};

use super::change_text::changed_columns;
use super::create::visible;

/// ALTER TABLE … MODIFY or CHANGE COLUMN, among TiDB's job types.
const MODIFY_COLUMN: u8 = 12;

/// The visible columns of two versions; those of the new one that are not kept are added.
#[derive(Debug)]
pub(super) struct TableDiff<'a> {
    /// Columns that are in both, old and new, in the order of the new version.
    pub(super) kept: Vec<(&'a Column, &'a Column)>,
    pub(super) dropped: Vec<&'a Column>,
}

impl<'a> TableDiff<'a> {
    /// Columns are the same by id. A type change that rewrites rows makes a new id: then by name, or by what the text says.
    pub(super) fn new(before: &'a Table, after: &'a Table, ddl: &Ddl) -> Self {
        let mut dropped: Vec<&Column> =
            visible(before).filter(|b| !visible(after).any(|a| a.id == b.id)).collect();
        let added: Vec<&Column> = visible(after).filter(|a| !visible(before).any(|b| b.id == a.id)).collect();
        let changes = changed_columns(&ddl.query);
        let mut pairs: HashMap<i64, &Column> = HashMap::new();
        for new in &added {
            let by_name = dropped.iter().position(|old| old.name.eq_ignore_ascii_case(&new.name));
            let by_text = || {
                changes
                    .iter()
                    .find(|(_, to)| to.eq_ignore_ascii_case(&new.name))
                    .and_then(|(from, _)| dropped.iter().position(|old| old.name.eq_ignore_ascii_case(from)))
            };
            let alone =
                || (ddl.job_type == MODIFY_COLUMN && dropped.len() == 1 && added.len() == 1).then_some(0);
            if let Some(at) = by_name.or_else(by_text).or_else(alone) {
                pairs.insert(new.id, dropped.remove(at));
            }
        }
        let mut kept = Vec::new();
        for new in visible(after) {
            let old = visible(before).find(|b| b.id == new.id).or_else(|| pairs.get(&new.id).copied());
            if let Some(old) = old {
                kept.push((old, new));
            }
        }
        TableDiff { kept, dropped }
    }

    /// The old column that became `new`.
    pub(super) fn old_of(&self, new: &Column) -> Option<&'a Column> {
        self.kept.iter().find(|(_, n)| n.id == new.id).map(|(old, _)| *old)
    }

    /// Whether two indexes are over the same columns in the same way.
    pub(super) fn same_index(&self, before: &Table, old: &Index, after: &Table, new: &Index) -> bool {
        (old.unique, old.primary) == (new.unique, new.primary)
            && old.columns.len() == new.columns.len()
            && old.columns.iter().zip(&new.columns).all(|(o, n)| {
                o.prefix == n.prefix
                    && match (before.columns.get(o.offset), after.columns.get(n.offset)) {
                        (Some(o), Some(n)) => self.old_of(n).is_some_and(|old| old.id == o.id),
                        _ => false,
                    }
            })
    }
}
