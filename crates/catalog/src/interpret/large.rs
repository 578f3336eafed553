//! Transactions that are too large to be in memory at once: their rows, part by part.
//!
//! A table's rows lie in three lists, one of each kind of change, and the order in which they were written comes behind them. So four places
//! of the record are read at once, and it must lie where any place can be read: in a file.

use std::fmt::Debug;
use std::sync::Arc;

use binlog_proto::binlog::MutationType;
use binlog_types::{CommitTs, SchemaVersion, StartTs, TableId};
use bytes::Bytes;

use super::cursor::{Content, Cursor};
use super::{Interpreter, Start};
use crate::row::Plan;
use crate::{Ddl, Error, Part, RowChange, TableRef, Transaction};

/// Bytes of rows in a part, about …
const PART_BYTES: usize = 1 << 20;
/// … and rows at most. Where parts are cut must not change: an interrupted sink counts rows within them.
const PART_ROWS: usize = 8192;

/// A record's payload that lies somewhere else.
#[allow(clippy::len_without_is_empty, reason = "what is large is not empty")]
pub trait Blob: Debug + Send + Sync {
    /// Bytes in it.
    fn len(&self) -> u64;

    /// Fills `out` with what lies from `offset` on.
    ///
    /// # Errors
    /// When it cannot be read, or ends before.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()>;
}

/// What a large record turned out to be.
#[derive(Debug)]
pub enum LargeStep {
    /// Rows: to be taken with [`Interpreter::next_part`].
    Rows(Box<Large>),
    /// As [`Step::NeedVersion`](super::Step::NeedVersion).
    NeedVersion(SchemaVersion),
    /// As [`Step::Ahead`](super::Step::Ahead).
    Ahead(Ddl),
    /// No rows, or not only: to be read as other records are.
    Whole,
}

/// A large transaction on its way.
#[derive(Debug)]
pub struct Large {
    start_ts: StartTs,
    commit_ts: CommitTs,
    schema_version: SchemaVersion,
    blob: Arc<dyn Blob>,
    /// The tables whose rows are still to come.
    tables: std::vec::IntoIter<Rows>,
    open: Option<Open>,
    /// Row changes passed, and all of them.
    done: u64,
    changes: u64,
}

/// Where one table's rows lie.
#[derive(Clone, Copy, Debug, Default)]
struct Rows {
    table: i64,
    end: u64,
    /// The first row of each kind of change, and the first of the order; 0: none.
    first: [u64; 4],
    /// How many there are of each.
    count: [u64; 4],
}

const INSERTED: usize = 0;
const UPDATED: usize = 1;
const DELETED: usize = 2;
const SEQUENCE: usize = 3;
/// Their numbers in `TableMutation`.
const FIELDS: [u64; 4] = [2, 3, 6, 7];

/// One table's rows on their way.
#[derive(Debug)]
struct Open {
    table: TableRef,
    plan: Arc<Plan>,
    rows: [Cursor; 3],
    order: Order,
    left: u64,
    at: u64,
}

/// Kinds of changes, in the order in which they were written.
#[derive(Debug)]
struct Order {
    cursor: Cursor,
    /// Up to here, numbers follow without keys.
    packed: u64,
}

impl Interpreter {
    /// Takes up a record whose payload is too large to be in memory. [`Interpreter::step`] must not be called before all of its parts were taken.
    ///
    /// # Errors
    /// When the record cannot be read. The state is as before.
    pub fn begin_large(
        &mut self,
        start_ts: StartTs,
        commit_ts: CommitTs,
        blob: Arc<dyn Blob>,
    ) -> Result<LargeStep, Error> {
        if let Start::Version(version) = self.start
            && self.history.complete_version() < version
        {
            return Ok(LargeStep::NeedVersion(version));
        }
        let wrap = |source| in_record(commit_ts, "all", "outline", source);
        let (mut value, mut is_ddl) = (0..0, false);
        let mut cursor = Cursor::new(Arc::clone(&blob), 0, blob.len());
        while let Some((number, content)) = cursor.field().map_err(wrap)? {
            if let Content::Bytes(bytes) = content {
                if number == 5 {
                    value = cursor.at()..cursor.at() + bytes;
                }
                cursor.skip(bytes).map_err(wrap)?;
            }
            is_ddl |= number == 7 && matches!(content, Content::Number(job) if job != 0);
        }
        if is_ddl || value.is_empty() {
            return Ok(LargeStep::Whole);
        }
        let mut cursor = Cursor::new(Arc::clone(&blob), value.start, value.end);
        let (mut schema_version, mut tables) = (SchemaVersion(0), Vec::new());
        while let Some((number, content)) = cursor.field().map_err(wrap)? {
            match (number, content) {
                (1, Content::Number(version)) => {
                    schema_version = SchemaVersion(version as i64);
                    if self.history.complete_version() < schema_version {
                        return Ok(LargeStep::NeedVersion(schema_version));
                    }
                }
                (2, Content::Bytes(bytes)) => {
                    let mutation = cursor.at()..cursor.at() + bytes;
                    tables.push(outline(&blob, mutation).map_err(wrap)?);
                    cursor.skip(bytes).map_err(wrap)?;
                }
                (_, Content::Bytes(bytes)) => cursor.skip(bytes).map_err(wrap)?,
                (_, Content::Number(_) | Content::Other) => {}
            }
        }
        if self.history.complete_version() < schema_version {
            return Ok(LargeStep::NeedVersion(schema_version));
        }
        self.ready(schema_version);
        let ids = tables.iter().map(|rows| TableId(rows.table));
        if let Some(ddl) = self.ahead_of_rows(start_ts, commit_ts, schema_version, ids)? {
            return Ok(LargeStep::Ahead(ddl));
        }
        let changes = tables.iter().map(|rows| rows.count[SEQUENCE]).sum();
        let tables = tables.into_iter();
        let (open, done) = (None, 0);
        let large = Large { start_ts, commit_ts, schema_version, blob, tables, open, done, changes };
        Ok(LargeStep::Rows(Box::new(large)))
    }

    /// The next part of a large transaction, and the bytes that its rows have in the record; None: there is no more.
    ///
    /// # Errors
    /// When it cannot be read, or rows are of a table that the history does not know.
    pub fn next_part(&mut self, large: &mut Large) -> Result<Option<(Transaction, usize)>, Error> {
        if large.done >= large.changes {
            return Ok(None);
        }
        let before = large.done;
        let (mut changes, mut bytes) = (Vec::new(), 0);
        while changes.len() < PART_ROWS && bytes < PART_BYTES {
            let Some(open) = &mut large.open else {
                if !self.open_table(large)? {
                    break;
                }
                continue;
            };
            if open.left == 0 {
                large.open = None;
                continue;
            }
            let (commit_ts, at) = (large.commit_ts, open.at);
            let wrap = |table: &TableRef, source| {
                let name = format!("{} ({}.{})", table.table.id, table.schema, table.table.name);
                in_record(commit_ts, &name, &format!("change {at}"), source)
            };
            let (kind, row) = open.next().map_err(|e| wrap(&open.table, e))?;
            bytes += row.len();
            let kind = match kind {
                INSERTED => open.plan.insert(&row),
                UPDATED => open.plan.update(&row),
                _ => open.plan.delete(&row),
            }
            .map_err(|e| wrap(&open.table, e))?;
            changes.push(RowChange { table: open.table.clone(), kind });
            (open.left, open.at, large.done) = (open.left - 1, open.at + 1, large.done + 1);
        }
        let part = Part { before, through: (large.done < large.changes).then_some(large.done) };
        let Large { start_ts, commit_ts, schema_version, .. } = *large;
        Ok(Some((Transaction { start_ts, commit_ts, schema_version, part, changes }, bytes)))
    }

    /// Takes up the next table; false: there is none.
    fn open_table(&mut self, large: &mut Large) -> Result<bool, Error> {
        let Some(rows) = large.tables.next() else { return Ok(false) };
        let (id, changes) = (TableId(rows.table), rows.count[SEQUENCE]);
        let Some((table, plan)) = self.plan(large.commit_ts, id, large.schema_version, changes)? else {
            large.done += changes;
            return Ok(true);
        };
        let cursor = |kind: usize| {
            let start = if rows.first[kind] == 0 { rows.end } else { rows.first[kind] };
            Cursor::new(Arc::clone(&large.blob), start, rows.end)
        };
        large.open = Some(Open {
            table,
            plan,
            rows: [cursor(INSERTED), cursor(UPDATED), cursor(DELETED)],
            order: Order { cursor: cursor(SEQUENCE), packed: 0 },
            left: changes,
            at: 0,
        });
        Ok(true)
    }
}

impl Open {
    /// The next change's kind and row.
    fn next(&mut self) -> Result<(usize, Bytes), Error> {
        let kind = match MutationType::try_from(self.order.next()?) {
            Ok(MutationType::Insert) => INSERTED,
            Ok(MutationType::Update) => UPDATED,
            Ok(MutationType::DeleteRow) => DELETED,
            // The outline let none through.
            Ok(MutationType::DeleteId | MutationType::DeletePk) | Err(_) => return Err(changed()),
        };
        let cursor = self.rows.get_mut(kind).ok_or_else(changed)?;
        while let Some((number, content)) = cursor.field()? {
            let Content::Bytes(bytes) = content else { continue };
            if FIELDS.get(kind) == Some(&number) {
                return Ok((kind, cursor.take(bytes)?));
            }
            cursor.skip(bytes)?;
        }
        Err(changed())
    }
}

impl Order {
    fn next(&mut self) -> Result<i32, Error> {
        loop {
            if self.cursor.at() < self.packed {
                return Ok(self.cursor.varint()? as i32);
            }
            match self.cursor.field()? {
                Some((number, Content::Number(kind))) if number == FIELDS[SEQUENCE] => return Ok(kind as i32),
                Some((number, Content::Bytes(bytes))) if number == FIELDS[SEQUENCE] => {
                    self.packed = self.cursor.at() + bytes;
                }
                Some((_, Content::Bytes(bytes))) => self.cursor.skip(bytes)?,
                Some((_, Content::Number(_) | Content::Other)) => {}
                None => return Err(changed()),
            }
        }
    }
}

/// What is found is not what the outline counted.
fn changed() -> Error {
    Error::Row("the record was changed while it was read".to_owned())
}

/// Finds out where a table's rows lie, and that the order names each of them once.
fn outline(blob: &Arc<dyn Blob>, mutation: std::ops::Range<u64>) -> Result<Rows, Error> {
    let mut rows = Rows { end: mutation.end, ..Rows::default() };
    let mut cursor = Cursor::new(Arc::clone(blob), mutation.start, mutation.end);
    let (mut wanted, mut obsolete) = ([0u64; 3], 0u64);
    let mut ordered = |rows: &mut Rows, kind: u64| {
        rows.count[SEQUENCE] += 1;
        let slot = match MutationType::try_from(kind as i32) {
            Ok(MutationType::Insert) => INSERTED,
            Ok(MutationType::Update) => UPDATED,
            Ok(MutationType::DeleteRow) => DELETED,
            Ok(MutationType::DeleteId | MutationType::DeletePk) | Err(_) => {
                return Err(Error::row(format!("changes of kind {kind} are no longer written by any TiDB")));
            }
        };
        wanted[slot] += 1;
        Ok(())
    };
    loop {
        let at = cursor.at();
        let Some((number, content)) = cursor.field()? else { break };
        let slot = FIELDS.iter().position(|field| *field == number);
        if let Some(slot) = slot
            && rows.first[slot] == 0
        {
            rows.first[slot] = at;
        }
        match (slot, content) {
            (Some(SEQUENCE), Content::Number(kind)) => ordered(&mut rows, kind)?,
            (Some(SEQUENCE), Content::Bytes(bytes)) => {
                let end = cursor.at() + bytes;
                while cursor.at() < end {
                    let kind = cursor.varint()?;
                    ordered(&mut rows, kind)?;
                }
            }
            (Some(slot), Content::Bytes(bytes)) => {
                rows.count[slot] += 1;
                cursor.skip(bytes)?;
            }
            (None, Content::Number(id)) if number == 1 => rows.table = id as i64,
            (None, Content::Bytes(bytes)) => {
                obsolete += u64::from(number == 5);
                cursor.skip(bytes)?;
            }
            (_, Content::Number(_)) => obsolete += u64::from(number == 4),
            (_, Content::Other) => {}
        }
    }
    for (name, slot) in [("inserted", INSERTED), ("updated", UPDATED), ("deleted", DELETED)] {
        if wanted[slot] > rows.count[slot] {
            return Err(Error::row(format!("the sequence asks for more {name} rows than there are")));
        }
        obsolete += rows.count[slot] - wanted[slot];
    }
    if obsolete > 0 {
        return Err(Error::row(format!("{obsolete} rows are in no sequence")));
    }
    Ok(rows)
}

fn in_record(commit_ts: CommitTs, table: &str, what: &str, source: Error) -> Error {
    // That the file cannot be read says nothing about the record.
    if let Error::PutAside(_) = source {
        return source;
    }
    Error::Record { commit_ts, table: table.to_owned(), what: what.to_owned(), source: Box::new(source) }
}
