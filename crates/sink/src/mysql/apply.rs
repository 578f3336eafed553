//! From a fold to statements: idempotent, of many rows each, with what they claim.

use std::sync::Arc;

use binlog_catalog::{ChangeKind, Row};

use super::job::{Job, Statement, StepSql};
use super::server::Server;
use crate::Error;
use crate::dml::batch::{Keyed, Ordered};
use crate::dml::fold::{Folded, Net};
use crate::dml::statement;
use crate::layout::Layout;
use crate::schedule::{Claim, TableName};

/// Bounds and ways of the target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    pub(super) server: &'a Server,
    /// Rows a statement.
    pub(super) rows: usize,
    /// A comment that begins every statement; may be empty.
    pub(super) mark: &'a str,
}

/// How a name claims.
pub(super) fn name_of(layout: &Layout) -> TableName {
    (Arc::clone(&layout.table.schema), Arc::from(layout.table.table.name.as_str()))
}

/// A statement under construction.
struct Open<'a> {
    sql: String,
    columns: Vec<usize>,
    last: &'a Net<'a>,
    keys: Vec<u64>,
    rows: usize,
}

impl Writer<'_> {
    /// The jobs of one table: deletes before puts.
    pub(super) fn jobs(&self, table: &Keyed<'_>, out: &mut Vec<(Job, Claim)>) -> Result<(), Error> {
        match table {
            Keyed::Net(folded) => self.net(folded, out),
            Keyed::Steps(steps) => {
                let Some(first) = steps.first() else { return Ok(()) };
                let claim = Claim::Tables(vec![name_of(&first.layout)]);
                let steps = steps.iter().map(|s| self.step(s)).collect::<Result<_, _>>()?;
                out.push((Job::Steps(steps), claim));
                Ok(())
            }
        }
    }

    fn net(&self, folded: &Folded<'_>, out: &mut Vec<(Job, Claim)>) -> Result<(), Error> {
        let layout = &*folded.layout;
        let name = name_of(layout);
        let first = out.len();
        let (fresh, known): (Vec<_>, Vec<_>) = folded.puts.iter().partition(|net| net.fresh);
        let mut wild = self.deletes(layout, &folded.deletes, &name, out)?;
        let deletes = out.len();
        wild |= self.puts(layout, &known, false, &name, out)?;
        wild |= self.puts(layout, &fresh, true, &name, out)?;
        if wild {
            // Keys that cannot be compared here: the whole batch is put in order before and after others of the table, and its
            // deletes before its puts; inside, order does not matter.
            let fence = || (Job::Fence, Claim::Tables(vec![name.clone()]));
            for (_, claim) in out.iter_mut().skip(first) {
                *claim = Claim::Rows(name.clone(), Vec::new());
            }
            out.push(fence());
            out.insert(deletes, fence());
            out.insert(first, fence());
        }
        Ok(())
    }

    fn deletes(
        &self,
        layout: &Layout,
        nets: &[Net<'_>],
        name: &TableName,
        out: &mut Vec<(Job, Claim)>,
    ) -> Result<bool, Error> {
        let (mut wild, mut open) = (false, None::<Open<'_>>);
        for net in nets {
            let mut key = String::new();
            statement::push_key(&mut key, layout, net);
            if open.as_ref().is_some_and(|o| self.is_full(o, key.len())) {
                out.extend(self.close(layout, open.take(), ")", false, name)?);
            }
            let current = open.get_or_insert_with(|| Open {
                sql: statement::delete_head(self.mark, layout),
                columns: Vec::new(),
                last: net,
                keys: Vec::new(),
                rows: 0,
            });
            if current.rows > 0 {
                current.sql.push(',');
            }
            current.sql.push_str(&key);
            (current.last, current.rows) = (net, current.rows + 1);
            wild |= !layout.uniques.push(&layout.table.table, net.key_row, false, &mut current.keys);
        }
        out.extend(self.close(layout, open, ")", false, name)?);
        Ok(wild)
    }

    fn puts(
        &self,
        layout: &Layout,
        nets: &[&Net<'_>],
        fresh: bool,
        name: &TableName,
        out: &mut Vec<(Job, Claim)>,
    ) -> Result<bool, Error> {
        let verb = if fresh { "INSERT" } else { "REPLACE" };
        let (mut wild, mut open) = (false, None::<Open<'_>>);
        let mut values = String::new();
        for net in nets {
            let Some(row) = net.row else { continue };
            let full = layout.is_full(row);
            let columns = |o: &Open<'_>| {
                if full { o.columns.len() == layout.writable.len() } else { o.columns == layout.bound(row) }
            };
            values.clear();
            let bound = if full { layout.writable.clone() } else { layout.bound(row) };
            statement::push_values(&mut values, layout, &bound, row);
            if open.as_ref().is_some_and(|o| !columns(o) || self.is_full(o, values.len())) {
                out.extend(self.close(layout, open.take(), "", fresh, name)?);
            }
            let current = open.get_or_insert_with(|| Open {
                sql: statement::marked_insert_head(verb, self.mark, layout, &bound),
                columns: bound,
                last: net,
                keys: Vec::new(),
                rows: 0,
            });
            if current.rows > 0 {
                current.sql.push(',');
            }
            current.sql.push_str(&values);
            (current.last, current.rows) = (net, current.rows + 1);
            wild |= !layout.uniques.push(&layout.table.table, row, true, &mut current.keys);
        }
        out.extend(self.close(layout, open, "", fresh, name)?);
        Ok(wild)
    }

    fn is_full(&self, open: &Open<'_>, more: usize) -> bool {
        open.rows >= self.rows || open.sql.len() + more >= self.server.statement_bytes
    }

    fn close(
        &self,
        layout: &Layout,
        open: Option<Open<'_>>,
        tail: &str,
        insert: bool,
        name: &TableName,
    ) -> Result<Option<(Job, Claim)>, Error> {
        let Some(mut open) = open else { return Ok(None) };
        open.sql.push_str(tail);
        let place = layout.place(open.last.commit_ts);
        self.fits(&open.sql, &place)?;
        let statement = Statement { sql: Arc::new(open.sql), place, insert };
        Ok(Some((Job::Rows(statement), Claim::Rows(name.clone(), open.keys))))
    }

    fn fits(&self, sql: &str, place: &crate::Place) -> Result<(), Error> {
        // The packet has a byte for the command, and INSERT may become REPLACE.
        let (bytes, limit) = (sql.len() + 8, self.server.packet);
        if bytes > limit {
            return Err(Error::RowTooLarge { place: place.clone(), bytes, limit });
        }
        Ok(())
    }

    /// A change that must not be folded, because an update leaves columns unbound that only the target knows.
    fn step(&self, step: &Ordered<'_>) -> Result<StepSql, Error> {
        let layout = &*step.layout;
        let place = layout.place(step.commit_ts);
        let replace = |row: &Row| {
            let columns = layout.bound(row);
            let mut sql = statement::insert_head("REPLACE", layout, &columns);
            statement::push_values(&mut sql, layout, &columns, row);
            sql
        };
        let (sql, otherwise) = match step.kind {
            ChangeKind::Insert(row) => (replace(row), None),
            ChangeKind::Delete(row) => {
                let condition = statement::key_condition(layout, row);
                (format!("DELETE FROM {} WHERE {condition}", statement::table(layout)), None)
            }
            ChangeKind::Update { before, after } => {
                let set = statement::assignments(layout, after);
                let condition = statement::key_condition(layout, before);
                // Repeated after a crash: the row has moved on to its later key already, or was deleted by a later change that will
                // come again. Writing what the update binds, and nothing over what is there beside it, is right in both cases.
                let columns = layout.bound(after);
                let mut insert = statement::insert_head("INSERT", layout, &columns);
                statement::push_values(&mut insert, layout, &columns, after);
                insert.push_str(&format!(" ON DUPLICATE KEY UPDATE {set}"));
                (format!("UPDATE {} SET {set} WHERE {condition}", statement::table(layout)), Some(insert))
            }
        };
        // The comment leads: a later run looks for it wherever it stands.
        let marked = |sql: String| Arc::new(format!("{}{sql}", self.mark));
        let (sql, otherwise) = (marked(sql), otherwise.map(marked));
        self.fits(&sql, &place)?;
        Ok(StepSql { sql, place, otherwise })
    }
}
