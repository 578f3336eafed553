//! How the rows of one table version become rows of another.

use std::sync::Arc;

use super::text::{value_of_text, zero_value};
use crate::codec::CodecError;
use crate::{Column, Error, Table, Value};

/// What a column holds that an inserted row does not mention.
#[derive(Clone, Debug)]
pub(crate) enum Absent {
    /// The sink's default.
    Unbound,
    Value(Value),
    /// A default that does not fit the column: an error for the rows that need it, and only those.
    Unreadable(CodecError),
}

/// What stands in front of an inserted row.
#[derive(Clone, Debug)]
pub(crate) enum Handle {
    /// TiDB's hidden row id: no column.
    RowId,
    /// The integer primary key, by its offset in the target.
    Int(Option<usize>),
    /// The columns of the primary key; none where only a prefix stands there, or the target lacks the column.
    Common(Vec<Option<usize>>),
}

/// From rows written under `source` to rows of `target`, the table as it stands at that point of the stream.
///
/// A column is found by its id. Ids that the target does not have are passed over: not yet public, or dropped since. Ids that the
/// target has are taken even if the source did not show them yet: whoever wrote them in an intermediate state of a DDL wrote what
/// readers see after it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) source: Arc<Table>,
    pub(crate) target: Arc<Table>,
    /// Column id and offset in the target of every column that a row may bind, by id.
    slots: Vec<(i64, usize)>,
    pub(crate) handle: Handle,
    pub(crate) absent: Vec<Absent>,
}

impl Plan {
    pub(crate) fn new(source: Arc<Table>, target: Arc<Table>) -> Result<Self, Error> {
        let mut slots: Vec<(i64, usize)> =
            target.columns.iter().enumerate().filter(|(_, c)| binds(c)).map(|(i, c)| (c.id, i)).collect();
        slots.sort_unstable();
        let offset_in_target = |source_offset: usize| {
            let id = source.columns.get(source_offset)?.id;
            target.columns.iter().position(|c| c.id == id && binds(c))
        };
        let primary = source.indexes.iter().find(|i| i.primary);
        let handle = match (source.pk_is_handle, source.is_common_handle, primary) {
            (true, _, Some(index)) => {
                Handle::Int(index.columns.first().and_then(|c| offset_in_target(c.offset)))
            }
            (false, true, Some(index)) => Handle::Common(
                index
                    .columns
                    .iter()
                    .map(|c| if c.prefix.is_none() { offset_in_target(c.offset) } else { None })
                    .collect(),
            ),
            (false, false, _) => Handle::RowId,
            (_, _, None) => {
                return Err(Error::Schema(format!(
                    "table {} ({}) is clustered and has no primary key",
                    source.id, source.name
                )));
            }
        };
        let absent = target.columns.iter().map(|c| absent(c, &source)).collect();
        Ok(Plan { source, target, slots, handle, absent })
    }

    /// Where the target keeps the column of that id. `hint` is a guess at its place in the list, which rows in order make a right one.
    pub(crate) fn slot(&self, id: i64, hint: usize) -> Option<(usize, usize)> {
        match self.slots.get(hint) {
            Some((at, offset)) if *at == id => Some((*offset, hint)),
            _ => {
                let at = self.slots.binary_search_by_key(&id, |(id, _)| *id).ok()?;
                self.slots.get(at).map(|(_, offset)| (*offset, at))
            }
        }
    }
}

/// Whether rows of the stream bind the column: visible, and not computed anew by every reader.
fn binds(column: &Column) -> bool {
    column.is_visible() && (!column.is_generated() || column.generated_stored)
}

fn absent(column: &Column, source: &Table) -> Absent {
    let known = source.columns.iter().any(|c| c.id == column.id && c.public);
    if !binds(column) || !known {
        return Absent::Unbound;
    }
    // TiDB leaves out what is NULL and has no default, as generated columns never have.
    if column.is_generated() {
        return Absent::Value(Value::Null);
    }
    match &column.origin_default {
        Some(raw) if column.moment(raw).is_some() => Absent::Unbound,
        Some(raw) => value_of_text(raw, &column.ty).map_or_else(Absent::Unreadable, Absent::Value),
        None if column.ty.is_not_null() => Absent::Value(zero_value(&column.ty)),
        None => Absent::Value(Value::Null),
    }
}
