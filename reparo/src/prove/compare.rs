//! Asks a destination whether it holds what is expected, some rows at a time.

use std::collections::{BTreeMap, HashMap, HashSet};

use binlog_catalog::{Row, TableRef};
use binlog_sink::Session;
use binlog_types::{CommitTs, TableId};
use tokio::sync::mpsc;

use super::Proofs;
use super::expected::{Expected, Name, name_of};
use crate::Error;
use crate::fold::Fold;
use crate::undo::{Tables, shown};

/// Rows of one question to the server.
const CHUNK: usize = 100;
/// Rows that are named; more are only counted.
const NAMED: usize = 20;
/// Questions that wait for the server.
const AHEAD: usize = 16;

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
    /// Whether there should be such a table, where there is one and should not be, or the reverse.
    pub misplaced: Option<bool>,
}

impl Compared {
    /// Whether all is as it should be.
    pub(super) fn holds(&self) -> bool {
        self.wrong == 0
            && self.misplaced.is_none()
            && self.whole.is_none_or(|(expected, found)| expected == found)
    }
}

/// A row whose state is known.
#[derive(Debug)]
struct Pending {
    table: TableRef,
    row: Row,
    keyed: bool,
    /// How often it should be there.
    copies: u64,
}

/// Compares everything.
pub(super) async fn compare(
    mut expected: Expected,
    session: &mut Session,
    mut proofs: Proofs,
    position: CommitTs,
) -> Result<Proofs, Error> {
    let failed = |source| Error::Sink { position, source };
    let mut comparison =
        Comparison { session, tables: BTreeMap::new(), there: HashMap::new(), differences: Vec::new() };
    let (born, required) = (expected.born.clone(), std::mem::take(&mut expected.required));
    let absent = std::mem::take(&mut expected.absent);
    let (sender, mut chunks) = mpsc::channel(AHEAD);
    let reader = tokio::task::spawn_blocking(move || hand_out(expected, &sender));
    let compared = async {
        while let Some(chunk) = chunks.recv().await {
            comparison.chunk(&chunk).await?;
        }
        Ok(())
    };
    let compared = compared.await;
    drop(chunks);
    let read = reader.await.unwrap_or(Err(Error::ReaderDied { position }));
    compared.map_err(failed)?;
    let Handed { tables, left_out, partial, totals } = read?;
    for name in &absent {
        comparison.is_there(name, false).await.map_err(failed)?;
    }
    for name in &required {
        comparison.is_there(name, true).await.map_err(failed)?;
    }
    let whole = |table: &&TableRef| born.contains(&table.table.id) && !partial.contains(&table.table.id);
    for table in tables.all().filter(whole) {
        comparison.whole(table, None).await.map_err(failed)?;
    }
    for table in tables.all().filter(|table| born.contains(&table.table.id)) {
        if let Some(total) = totals.get(&table.table.id) {
            let total = u64::try_from(*total).unwrap_or(0);
            comparison.whole(table, Some(total)).await.map_err(failed)?;
        }
    }
    let Comparison { tables, differences, .. } = comparison;
    proofs.differences = differences;
    proofs.not_compared = left_out.values().sum();
    proofs
        .notes
        .extend(left_out.into_iter().map(|(why, changes)| format!("{changes} row(s) NOT compared: {why}")));
    proofs.gone_tables = absent.len() as u64;
    proofs.compared = Some(tables);
    Ok(proofs)
}

/// What is left when all rows were handed out.
struct Handed {
    tables: Tables,
    left_out: BTreeMap<String, u64>,
    /// Tables of which some rows were left out.
    partial: HashSet<TableId>,
    /// How many rows tables have whose rows cannot be compared one by one.
    totals: HashMap<TableId, i64>,
}

/// Hands out the rows by table, and by whether they should be there. On a thread of its own: rows may lie in temporary files.
fn hand_out(expected: Expected, out: &mpsc::Sender<Vec<Pending>>) -> Result<Handed, Error> {
    let Expected { fold, limits, mut tables, born, dropped, unclear, mut left_out, .. } = expected;
    let mut chunks: HashMap<(Name, bool), Vec<Pending>> = HashMap::new();
    let (mut partial, mut totals) = (HashSet::new(), HashMap::<TableId, i64>::new());
    let mut listens = true;
    let mut folded = fold.finish()?;
    let reshaped = folded.versions.reshaped();
    let mut followed = Fold::new(limits);
    folded.for_each(|versions, net| {
        let Some(image) = net.now.as_ref().or(net.before.as_ref()).filter(|_| listens) else { return Ok(()) };
        let Some(version) = versions.get(image.version) else { return Ok(()) };
        let id = version.table.table.id;
        if dropped.contains(&id) {
            return Ok(());
        }
        let mut leave_out = |why: String| {
            partial.insert(id);
            *left_out.entry(why).or_default() += 1;
            Ok(())
        };
        if let Some(why) = unclear.get(&id) {
            *totals.entry(id).or_default() += net.copies;
            return leave_out(why.clone());
        }
        let table = match tables.now(id) {
            Ok(table) => table.clone(),
            Err(why) => return leave_out(why.to_owned()),
        };
        let keyed = version.key.is_some();
        if !keyed && !born.contains(&id) {
            let (schema, name) = (&table.schema, &table.table.name);
            return leave_out(format!(
                "{schema}.{name} has no key: its rows are known only from its beginning on"
            ));
        }
        if reshaped.contains(&id) {
            // It may have come under one version of its table and gone under another: it is counted as a row of the last one.
            return match tables.project(versions, image, true) {
                Ok(row) => followed.count(&table, &row, net.copies),
                Err(why) => leave_out(why),
            };
        }
        let exists = net.now.is_some();
        let copies = if keyed { u64::from(exists) } else { u64::try_from(net.copies).unwrap_or(0) };
        let row = match tables.project(versions, image, exists) {
            Ok(row) => row,
            Err(why) => return leave_out(why),
        };
        let chunk = chunks.entry((name_of(&table), copies == 0)).or_default();
        chunk.push(Pending { table, row, keyed, copies });
        // Copies of rows without a key are counted one row at a time.
        if chunk.len() >= if keyed { CHUNK } else { 1 } {
            listens = out.blocking_send(std::mem::take(chunk)).is_ok();
        }
        Ok(())
    })?;
    followed.finish()?.for_each(|versions, net| {
        let Some(image) = net.now.as_ref().filter(|_| listens) else { return Ok(()) };
        let Some(version) = versions.get(image.version) else { return Ok(()) };
        let (table, row) = (version.table.clone(), image.row.clone());
        let copies = u64::try_from(net.copies).unwrap_or(0);
        listens = out.blocking_send(vec![Pending { table, row, keyed: false, copies }]).is_ok();
        Ok(())
    })?;
    for chunk in chunks.into_values().filter(|chunk| !chunk.is_empty()) {
        if out.blocking_send(chunk).is_err() {
            break;
        }
    }
    Ok(Handed { tables, left_out, partial, totals })
}

struct Comparison<'a> {
    session: &'a mut Session,
    tables: BTreeMap<String, Compared>,
    there: HashMap<Name, bool>,
    differences: Vec<String>,
}

impl Comparison<'_> {
    fn entry(&mut self, (schema, table): &Name) -> &mut Compared {
        self.tables.entry(format!("{schema}.{table}")).or_default()
    }

    fn differs(&mut self, line: String) {
        if self.differences.len() < NAMED {
            self.differences.push(line);
        }
    }

    /// Whether there is a table of this name, which is noted if it should be otherwise.
    async fn is_there(&mut self, name: &Name, should: bool) -> Result<bool, binlog_sink::Error> {
        if let Some(known) = self.there.get(name) {
            return Ok(*known);
        }
        let there = self.session.has_table(&name.0, &name.1).await?;
        self.there.insert(name.clone(), there);
        let entry = self.entry(name);
        if there != should {
            entry.misplaced = Some(should);
            let what = if should { "is not there, but should be" } else { "is there, but was dropped" };
            self.differs(format!("the table {}.{} {what}", name.0, name.1));
        }
        Ok(there)
    }

    async fn chunk(&mut self, rows: &[Pending]) -> Result<(), binlog_sink::Error> {
        let Some(first) = rows.first() else { return Ok(()) };
        let name = (first.table.schema.to_string(), first.table.table.name.clone());
        let there = self.is_there(&name, true).await?;
        let entry = self.entry(&name);
        entry.expected += rows.iter().map(|row| row.copies).sum::<u64>();
        entry.gone += rows.iter().filter(|row| row.copies == 0).count() as u64;
        if !there {
            entry.wrong += rows.iter().filter(|row| row.copies > 0).count() as u64;
            return Ok(());
        }
        if wrong(self.session, rows).await? == 0 {
            return Ok(());
        }
        for row in rows {
            if wrong(self.session, std::slice::from_ref(row)).await? > 0 {
                self.entry(&name).wrong += 1;
                self.differs(row.difference());
            }
        }
        Ok(())
    }

    /// Counts all rows of a table: there should be `total`, or else those that were expected one by one.
    async fn whole(&mut self, table: &TableRef, total: Option<u64>) -> Result<(), binlog_sink::Error> {
        let name = (table.schema.to_string(), table.table.name.clone());
        if !self.is_there(&name, true).await? {
            return Ok(());
        }
        let sql = format!("SELECT COUNT(*) FROM {}", self.session.table(&name.0, &name.1));
        let found = self.session.number(&sql).await?;
        let entry = self.entry(&name);
        entry.whole = Some((total.unwrap_or(entry.expected), found));
        Ok(())
    }
}

impl Pending {
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
