//! From a fold to statements: idempotent, of many rows each, with what they claim.

use std::sync::Arc;

use binlog_catalog::{ChangeKind, Row};

use super::job::{Duplicate, Job, Statement, StepSql, fits};
use super::server::Server;
use crate::Error;
use crate::dml::batch::{Keyed, Ordered};
use crate::dml::filler::filled;
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

/// How rows are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    /// The target should not have them.
    Insert,
    /// Whatever is in the way goes.
    Replace,
    /// What the target has in columns of its own stays.
    Upsert,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Verb::Insert | Verb::Upsert => "INSERT",
            Verb::Replace => "REPLACE",
        }
    }
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
        let (kept, back): (Vec<&Net<'_>>, Vec<_>) =
            known.into_iter().partition(|net| net.kept && layout.has_more);
        let mut wild = self.deletes(layout, &folded.deletes, &name, out)?;
        let deletes = out.len();
        for (nets, verb) in [(kept, Verb::Upsert), (back, Verb::Replace), (fresh, Verb::Insert)] {
            wild |= self.puts(layout, &nets, verb, &name, out)?;
        }
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
                out.extend(self.close(layout, open.take(), ")", Duplicate::Error, name)?);
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
        out.extend(self.close(layout, open, ")", Duplicate::Error, name)?);
        Ok(wild)
    }

    fn puts(
        &self,
        layout: &Layout,
        nets: &[&Net<'_>],
        verb: Verb,
        name: &TableName,
        out: &mut Vec<(Job, Claim)>,
    ) -> Result<bool, Error> {
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
                out.extend(self.close_put(layout, open.take(), verb, name)?);
            }
            let current = open.get_or_insert_with(|| Open {
                sql: statement::marked_insert_head(verb.word(), self.mark, layout, &bound),
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
        out.extend(self.close_put(layout, open, verb, name)?);
        Ok(wild)
    }

    fn is_full(&self, open: &Open<'_>, more: usize) -> bool {
        open.rows >= self.rows || open.sql.len() + more >= self.server.statement_bytes
    }

    fn close_put(
        &self,
        layout: &Layout,
        open: Option<Open<'_>>,
        verb: Verb,
        name: &TableName,
    ) -> Result<Option<(Job, Claim)>, Error> {
        let update = || {
            let columns = open.as_ref().map(|o| o.columns.as_slice()).unwrap_or_default();
            statement::update_from_values(layout, columns)
        };
        let (tail, duplicate) = match verb {
            Verb::Replace => (String::new(), Duplicate::Error),
            Verb::Upsert => (update(), Duplicate::Error),
            Verb::Insert if layout.has_more && !layout.uniques.has_others() => {
                (String::new(), Duplicate::Update(Arc::from(update())))
            }
            Verb::Insert => (String::new(), Duplicate::Replace),
        };
        self.close(layout, open, &tail, duplicate, name)
    }

    fn close(
        &self,
        layout: &Layout,
        open: Option<Open<'_>>,
        tail: &str,
        duplicate: Duplicate,
        name: &TableName,
    ) -> Result<Option<(Job, Claim)>, Error> {
        let Some(mut open) = open else { return Ok(None) };
        open.sql.push_str(tail);
        let place = layout.place(open.last.commit_ts);
        fits(&open.sql, &place, self.server.packet)?;
        let statement = Statement { sql: Arc::new(open.sql), place, duplicate };
        Ok(Some((Job::Rows(statement), Claim::Rows(name.clone(), open.keys))))
    }

    /// What finds a row: its key or, where that is not in the row, all that is.
    fn condition(&self, layout: &Layout, row: &Row) -> String {
        if layout.binds_key(row) {
            return statement::key_condition(layout, row);
        }
        let whole = statement::whole_row_condition(layout, row, self.server.dialect.has_json_type());
        if whole.is_empty() { "TRUE LIMIT 1".to_owned() } else { format!("{whole} LIMIT 1") }
    }

    /// A change that must not be folded, because an update leaves columns as they are that only the target knows.
    fn step(&self, step: &Ordered<'_>) -> Result<StepSql, Error> {
        let layout = &*step.layout;
        let place = layout.place(step.commit_ts);
        let put = |verb: &str, row: &Row| {
            let columns = layout.bound(row);
            let mut sql = statement::insert_head(verb, layout, &columns);
            statement::push_values(&mut sql, layout, &columns, row);
            sql
        };
        // Writing what a row binds, and nothing over what is there beside it.
        let upsert = |row: &Row| {
            let set = statement::assignments(layout, row);
            format!("{} ON DUPLICATE KEY UPDATE {set}", put("INSERT", row))
        };
        let (sql, otherwise, clear) = match step.kind {
            ChangeKind::Insert(row) => {
                let row = filled(layout, row, step.after);
                match layout.has_more {
                    true => (upsert(&row), None, statement::delete_in_the_way(layout, &row, &row)),
                    false => (put("REPLACE", &row), None, None),
                }
            }
            ChangeKind::Delete(row) => {
                let condition = self.condition(layout, row);
                (format!("DELETE FROM {} WHERE {condition}", statement::table(layout)), None, None)
            }
            ChangeKind::Update { before, after } if !layout.binds_key(before) => {
                let (set, condition) =
                    (statement::assignments(layout, after), self.condition(layout, before));
                (format!("UPDATE {} SET {set} WHERE {condition}", statement::table(layout)), None, None)
            }
            ChangeKind::Update { before, after } => {
                let set = statement::assignments(layout, after);
                let condition = statement::key_condition(layout, before);
                // Repeated after a crash: the row has moved on to its later key already, or was deleted by a later change that will
                // come again. Then it is put in.
                let update = format!("UPDATE {} SET {set} WHERE {condition}", statement::table(layout));
                (update, Some(upsert(after)), statement::delete_in_the_way(layout, before, after))
            }
        };
        // The comment leads: a later run looks for it wherever it stands.
        let marked = |sql: String| Arc::new(format!("{}{sql}", self.mark));
        let step =
            StepSql { sql: marked(sql), place, otherwise: otherwise.map(marked), clear: clear.map(marked) };
        for sql in [Some(&step.sql), step.otherwise.as_ref(), step.clear.as_ref()].into_iter().flatten() {
            fits(sql, &step.place, self.server.packet)?;
        }
        Ok(step)
    }
}
