//! What is to be done with one row.

use std::io::{self, Write};

use binlog_catalog::{Column, Row, Table};
use binlog_sink::{Amendment, render_amendment};

use super::tables::Tables;
use crate::fold::{Image, Net, Versions};
use crate::utc;

/// When a statement runs: within a table, what goes makes room for what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Delete,
    Update,
    Insert,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Action {
    /// The row is what it was.
    Nothing,
    Amend(Vec<(Phase, Amendment)>),
    /// Somebody changed it again: where it is, and what is there now.
    Conflict(String, String),
    /// Why it cannot go back.
    Impossible(String),
}

pub(super) fn action(versions: &Versions, tables: &mut Tables, net: &Net, overwrite: bool) -> Action {
    let Some(image) = net.now.as_ref().or(net.before.as_ref()) else { return Action::Nothing };
    let Some(version) = versions.get(image.version) else { return Action::Nothing };
    let table = match tables.now(version.table.table.id) {
        Ok(table) => table.clone(),
        Err(why) => return Action::Impossible(why.to_owned()),
    };
    let place = || {
        format!(
            "{}.{} {}",
            table.schema,
            table.table.name,
            shown(version.key.as_deref(), &version.table.table, &image.row)
        )
    };
    let amend = |phase, expected, wanted, copies| {
        (phase, Amendment { table: table.clone(), expected, wanted, copies })
    };
    if version.key.is_none() {
        let row = match tables.project(versions, image, net.copies > 0) {
            Ok(row) => row,
            Err(why) => return Action::Impossible(why),
        };
        let copies = net.copies.unsigned_abs();
        return match net.copies {
            0 => Action::Nothing,
            // Others deleted copies: whether ours are among those is nobody's knowledge.
            1.. if net.others.copies < 0 && !overwrite => {
                Action::Conflict(place(), "others deleted copies of it".to_owned())
            }
            1.. => Action::Amend(vec![amend(Phase::Delete, Some(row), None, copies)]),
            _ => Action::Amend(vec![amend(Phase::Insert, None, Some(row), copies)]),
        };
    }
    let mut part = |image: &Option<Image>, exists: bool| {
        image.as_ref().map(|image| tables.project(versions, image, exists)).transpose()
    };
    let (expected, wanted) = match (part(&net.now, true), part(&net.before, false)) {
        (Ok(expected), Ok(wanted)) => (expected, wanted),
        (Err(why), _) | (_, Err(why)) => return Action::Impossible(why),
    };
    let same = match (&expected, &wanted) {
        (Some(now), Some(old)) => now.iter().zip(old).all(|(now, old)| old.is_none() || old == now),
        (now, old) => now.is_none() && old.is_none(),
    };
    if same {
        return Action::Nothing;
    }
    if net.others.count > 0 && !overwrite {
        let what = if expected.is_some() { "changed" } else { "deleted" };
        let times =
            if net.others.count == 1 { "once".to_owned() } else { format!("{} times", net.others.count) };
        let last = net.others.last;
        return Action::Conflict(
            place(),
            format!("{what} by others after that, {times}, last at {last} ({})", utc(last.ts())),
        );
    }
    Action::Amend(match (expected, wanted) {
        (expected @ Some(_), None) => vec![amend(Phase::Delete, expected, None, 1)],
        (None, wanted) => vec![amend(Phase::Insert, None, wanted, 1)],
        // A row that takes back a value of a unique index may find it taken by one that has yet to go back itself. What its old image does not
        // hold (columns that came since) stays as it is.
        (Some(expected), Some(wanted)) if moves_unique(&table.table, &expected, &wanted) => {
            let wanted =
                wanted.into_iter().zip(&expected).map(|(old, now)| old.or_else(|| now.clone())).collect();
            vec![amend(Phase::Delete, Some(expected), None, 1), amend(Phase::Insert, None, Some(wanted), 1)]
        }
        (expected, wanted) => vec![amend(Phase::Update, expected, wanted, 1)],
    })
}

/// Whether the images differ in a unique index beside the key, and what is there now is known as a whole.
fn moves_unique(table: &Table, expected: &Row, wanted: &Row) -> bool {
    let bound = |(at, c): (usize, &Column)| !c.is_writable() || expected.get(at).is_some_and(Option::is_some);
    let whole = table.columns.iter().enumerate().all(bound);
    let unique = table.indexes.iter().filter(|i| i.unique && !i.primary);
    let mut places = unique.flat_map(|i| i.columns.iter().map(|c| c.offset));
    // A generated column of a unique index may be in no image: whether it moves is not known.
    let moved = |at: usize| {
        expected.get(at) != wanted.get(at) || table.columns.get(at).is_some_and(Column::is_generated)
    };
    whole && places.any(moved)
}

/// `(id = 5, …)`: the key's columns, or the first few.
pub(crate) fn shown(key: Option<&[usize]>, table: &Table, row: &Row) -> String {
    let first: Vec<usize> = (0..table.columns.len().min(4)).collect();
    let part = |at: &usize| {
        let (column, value) = (table.columns.get(*at)?, row.get(*at)?.as_ref()?);
        let text = value
            .to_text(column)
            .map_or("NULL".into(), |t| String::from_utf8_lossy(&t).escape_debug().to_string());
        Some(format!("{} = {text}", column.name))
    };
    let parts: Vec<String> = key.unwrap_or(&first).iter().filter_map(part).collect();
    format!("({})", parts.join(", "))
}

/// The statements of one row.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) sql: Vec<String>,
    /// Rows that they hit together.
    pub(super) hits: u64,
    /// What they undo, for people.
    about: String,
}

/// What brings a row back.
pub(super) fn statements(net: &Net, amendment: &Amendment) -> Statements {
    let (sql, hits) = render_amendment(amendment);
    let (first, last, changes) = (net.first, net.last, net.selected);
    let about = if first == last {
        format!("{changes} change(s) at {first}, {}", utc(first.ts()))
    } else {
        format!("{changes} changes from {first}, {}, to {last}, {}", utc(first.ts()), utc(last.ts()))
    };
    Statements { sql, hits, about }
}

impl Statements {
    /// Writes them as a part of a script that counts.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.sql.is_empty() {
            return Ok(());
        }
        writeln!(out, "-- {}", self.about)?;
        for statement in &self.sql {
            writeln!(out, "{statement}\nSET @undone = @undone + ROW_COUNT();")?;
        }
        Ok(())
    }
}
