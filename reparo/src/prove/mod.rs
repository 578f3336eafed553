//! `reparo prove`: counts and digests of a range, and whether a destination holds what the range leaves.
//!
//! The digest of a table is a chain over its changes in their order: it is equal wherever the same changes came from. The comparison folds the
//! range to the last state of each row, and lets the server count the rows that are so; what the range did not touch is not looked at,
//! but for tables that began in the range: of those all rows are known.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::future::Future;

use binlog_catalog::{ChangeKind, Column, Event, Row, RowChange, SchemaChange, TableRef, Transaction, Value};
use binlog_sink::Session;
use binlog_types::{CommitTs, TableId};
use sha2::{Digest as _, Sha256};

use crate::fold::Fold;
use crate::undo::{Tables, UndoReport, shown};
use crate::{Config, Error, Selection, Summary, database};

/// Rows of one question to the server.
const CHUNK: usize = 100;
/// Rows that are named; more are only counted.
const NAMED: u64 = 20;

/// What a range did to a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Rows inserted, updated, deleted.
    pub rows: [u64; 3],
    /// Over all its changes, in their order.
    pub digest: [u8; 32],
}

/// What a table holds in the destination, against what it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows that should be there as the range left them.
    pub expected: u64,
    /// Rows that should not be there.
    pub gone: u64,
    /// Rows that differ from that.
    pub wrong: u64,
    /// All rows that the table should have, and those that it has; None: the range does not tell.
    pub whole: Option<(u64, u64)>,
}

/// All that was proved.
#[derive(Clone, Debug)]
pub struct Proofs {
    /// Range, sources, holes and counts.
    pub summary: Summary,
    /// By table, as it was called when its rows were written.
    pub tables: BTreeMap<String, Proof>,
    /// By table, as it is called now; None: no destination was given.
    pub compared: Option<BTreeMap<String, Compared>>,
    /// The first rows that differ.
    pub differences: Vec<String>,
    /// What could not be compared.
    pub notes: Vec<String>,
}

impl Proofs {
    /// Whether the destination is as it should be, as far as it was compared.
    pub fn holds(&self) -> bool {
        let wrong = |c: &Compared| c.wrong > 0 || c.whole.is_some_and(|(expected, found)| expected != found);
        !self.compared.as_ref().is_some_and(|tables| tables.values().any(wrong))
    }
}

/// Reads the range that `config` asks for, and compares the destination where it is a database.
///
/// # Errors
/// As those of a restore. Differences are no errors: they are in the result.
pub async fn prove(config: &Config, shutdown: impl Future<Output = ()>) -> Result<Proofs, Error> {
    let target = database::target(config)?;
    if config.dest()? == crate::DestType::Sqlite {
        return Err(Error::Config(
            "prove compares mysql and tidb destinations; without one it prints digests".to_owned(),
        ));
    }
    let selection = Selection::open(config).await?;
    let mut prover = Prover::new(config, &selection)?;
    if !selection.range.is_empty() {
        let mut reading = selection.read().await?;
        let compare = target.is_some();
        selection
            .each(&mut reading, "reading", shutdown, |event| prover.event(event, compare).map(|()| true))
            .await?;
        prover.proofs.summary.holes.extend_from_slice(reading.holes());
    }
    let Some(target) = target else { return Ok(prover.proofs) };
    let position = selection.range.through;
    let mut session = Session::open(&target).await.map_err(|source| Error::Sink { position, source })?;
    let proofs = prover.compare(&mut session, position).await;
    session.close().await;
    proofs
}

struct Prover {
    fold: Fold,
    tables: Tables,
    report: UndoReport,
    /// Tables that began in the range, so that all their rows are known.
    born: HashSet<TableId>,
    filter: binlog_catalog::TableFilter,
    proofs: Proofs,
}

impl Prover {
    fn new(config: &Config, selection: &Selection) -> Result<Self, Error> {
        let proofs = Proofs {
            summary: Summary::new(selection),
            tables: BTreeMap::new(),
            compared: None,
            differences: Vec::new(),
            notes: Vec::new(),
        };
        Ok(Prover {
            fold: Fold::new(config.limits()?),
            tables: Tables::default(),
            report: UndoReport::new(selection.range),
            born: HashSet::new(),
            filter: config.filter()?,
            proofs,
        })
    }

    fn event(&mut self, event: &Event, compare: bool) -> Result<(), Error> {
        self.proofs.summary.counts.add(event);
        match event {
            Event::Transaction(txn) => {
                txn.changes.iter().try_for_each(|change| self.change(txn, change, compare))
            }
            Event::Ddl(ddl) => {
                for change in &ddl.changes {
                    match change {
                        SchemaChange::CreateTable(table)
                        | SchemaChange::TruncateTable { after: table, .. } => {
                            self.born.insert(table.table.id);
                            self.tables.meet(table);
                        }
                        SchemaChange::RecoverTable(table)
                        | SchemaChange::DropPartitions { after: table, .. }
                        | SchemaChange::ExchangePartition { partitioned: table, .. } => {
                            self.born.remove(&table.table.id);
                        }
                        _ => {}
                    }
                }
                self.tables.ddl(ddl, true, &self.filter, &mut self.report);
                Ok(())
            }
        }
    }

    fn change(&mut self, txn: &Transaction, change: &RowChange, compare: bool) -> Result<(), Error> {
        let name = format!("{}.{}", change.table.schema, change.table.table.name);
        self.proofs.tables.entry(name).or_default().add(txn.commit_ts, change);
        if compare {
            self.tables.row(txn.commit_ts, change, true);
            self.fold.change(txn.commit_ts, change, true)?;
        }
        Ok(())
    }

    async fn compare(self, session: &mut Session, position: CommitTs) -> Result<Proofs, Error> {
        let Prover { fold, mut tables, born, mut proofs, .. } = self;
        let failed = |source| Error::Sink { position, source };
        let mut folded = fold.finish()?;
        let mut compared: BTreeMap<String, Compared> = BTreeMap::new();
        let mut notes: BTreeMap<String, u64> = BTreeMap::new();
        let mut pending: Vec<Pending> = Vec::new();
        folded.for_each(|versions, net| {
            let Some(image) = net.now.as_ref().or(net.before.as_ref()) else { return Ok(()) };
            let Some(version) = versions.get(image.version) else { return Ok(()) };
            let id = version.table.table.id;
            let table = match tables.now(id) {
                Ok(table) => table.clone(),
                Err(why) => {
                    *notes.entry(why.to_owned()).or_default() += 1;
                    return Ok(());
                }
            };
            let keyed = version.key.is_some();
            if !keyed && !born.contains(&id) {
                let why = format!(
                    "{}.{} has no key: its rows are known only from its beginning on",
                    table.schema, table.table.name
                );
                *notes.entry(why).or_default() += 1;
                return Ok(());
            }
            let exists = net.now.is_some();
            let copies = if keyed { u64::from(exists) } else { u64::try_from(net.copies).unwrap_or(0) };
            match tables.project(versions, image, exists) {
                Ok(row) => pending.push(Pending { table, row, keyed, copies }),
                Err(why) => *notes.entry(why).or_default() += 1,
            }
            Ok(())
        })?;
        pending.sort_by(|a, b| a.order().cmp(&b.order()));
        for chunk in pending.chunk_by(|a, b| a.order() == b.order()) {
            let Some(first) = chunk.first() else { continue };
            let name = format!("{}.{}", first.table.schema, first.table.table.name);
            let entry = compared.entry(name.clone()).or_default();
            for rows in chunk.chunks(if first.keyed { CHUNK } else { 1 }) {
                entry.expected += rows.iter().map(|p| p.copies).sum::<u64>();
                entry.gone += rows.iter().filter(|p| p.copies == 0).count() as u64;
                if wrong(session, rows).await.map_err(failed)? == 0 {
                    continue;
                }
                for row in rows {
                    if wrong(session, std::slice::from_ref(row)).await.map_err(failed)? > 0 {
                        entry.wrong += 1;
                        if proofs.differences.len() < NAMED as usize {
                            proofs.differences.push(row.difference());
                        }
                    }
                }
            }
        }
        for table in tables.all().filter(|t| born.contains(&t.table.id)) {
            let name = format!("{}.{}", table.schema, table.table.name);
            let entry = compared.entry(name).or_default();
            let sql = format!("SELECT COUNT(*) FROM {}", session.table(&table.schema, &table.table.name));
            entry.whole = Some((entry.expected, session.number(&sql).await.map_err(failed)?));
        }
        proofs
            .notes
            .extend(notes.into_iter().map(|(why, rows)| format!("{rows} row(s) not compared: {why}")));
        proofs.compared = Some(compared);
        Ok(proofs)
    }
}

/// A row whose state is known.
struct Pending {
    table: TableRef,
    row: Row,
    keyed: bool,
    /// How often it should be there.
    copies: u64,
}

impl Pending {
    /// Rows of one table, and of one question, come together.
    fn order(&self) -> (&str, &str, bool) {
        (&self.table.schema, &self.table.table.name, self.copies == 0)
    }

    fn difference(&self) -> String {
        let table = &self.table.table;
        let key = binlog_sink::key_columns(table);
        let row = shown(key.as_deref(), table, &self.row);
        let what =
            if self.copies == 0 { "is there, but should not be" } else { "is not as the binlogs leave it" };
        format!("{}.{} {row} {what}", self.table.schema, table.name)
    }
}

/// How many rows of a chunk are not as they should be; the server compares.
async fn wrong(session: &mut Session, rows: &[Pending]) -> Result<u64, binlog_sink::Error> {
    let Some(first) = rows.first() else { return Ok(0) };
    let images: Vec<&Row> = rows.iter().map(|p| &p.row).collect();
    if first.copies == 0 && first.keyed {
        return session.count_keys(&first.table, &images).await;
    }
    let expected: u64 = rows.iter().map(|p| p.copies).sum();
    Ok(session.count_equal(&first.table, &images).await?.abs_diff(expected))
}

impl Proof {
    fn add(&mut self, commit_ts: CommitTs, change: &RowChange) {
        let mut hash = Sha256::new();
        hash.update(self.digest);
        hash.update(commit_ts.raw().to_be_bytes());
        let columns = &change.table.table.columns;
        let kind = match &change.kind {
            ChangeKind::Insert(row) => {
                update(&mut hash, b'I', columns, row);
                0
            }
            ChangeKind::Update { before, after } => {
                update(&mut hash, b'U', columns, before);
                update(&mut hash, b'>', columns, after);
                1
            }
            ChangeKind::Delete(row) => {
                update(&mut hash, b'D', columns, row);
                2
            }
        };
        self.digest = hash.finalize().into();
        if let Some(rows) = self.rows.get_mut(kind) {
            *rows += 1;
        }
    }
}

/// Values go in as text with their length, numbers of ENUM, SET and BIT as numbers.
fn update(hash: &mut Sha256, kind: u8, columns: &[Column], row: &Row) {
    hash.update([kind]);
    for (column, value) in columns.iter().zip(row) {
        let text = match value {
            None => {
                hash.update([0]);
                continue;
            }
            Some(Value::Null) => {
                hash.update([1]);
                continue;
            }
            Some(Value::Enum(v) | Value::Set(v) | Value::Bit(v)) => v.to_string().into_bytes(),
            Some(value) => value.to_text(column).unwrap_or_default(),
        };
        hash.update([2]);
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(&text);
    }
}

impl fmt::Display for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.summary;
        writeln!(f, "proof of {}", s.range_text())?;
        writeln!(f, "{}", s.counts)?;
        s.write_remarks(f)?;
        for (name, Proof { rows: [inserted, updated, deleted], digest }) in &self.tables {
            let digest = digest.iter().take(16).map(|b| format!("{b:02x}")).collect::<String>();
            writeln!(
                f,
                "{name}: {inserted} inserted, {updated} updated, {deleted} deleted, digest {digest}"
            )?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let Some(compared) = &self.compared else { return write!(f, "no destination was compared") };
        for (name, c) in compared {
            let (expected, gone, wrong) = (c.expected, c.gone, c.wrong);
            write!(f, "{name}: of {expected} rows to be there and {gone} not to be there, {wrong} differ")?;
            match c.whole {
                Some((expected, found)) => writeln!(f, "; in all {found} rows, expected {expected}")?,
                None => writeln!(f)?,
            }
        }
        for line in &self.differences {
            writeln!(f, "DIFFERENT: {line}")?;
        }
        write!(
            f,
            "{}",
            if self.holds() { "the destination is as it should be" } else { "THE DESTINATION DIFFERS" }
        )
    }
}
