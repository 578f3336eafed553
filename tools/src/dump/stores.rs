//! Stores on disk, read without their pumps: merged as pumps are merged, decoded by the schema history inside them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use binlog_catalog::{Event, Interpreter, SkipReason, Start, Step, TableFilter};
use binlog_proto::store::SchemaObject;
use binlog_pull::{Record, narrow};
use binlog_reparo::{Bounds, utc};
use binlog_storage::{Fragment, Scan, Store};
use binlog_types::{Range, SchemaVersion};
use prost::Message;

use super::{Flow, Printer};

const BATCH_BYTES: usize = 4 << 20;

/// Open stores, and what is to be read of them.
pub(crate) struct Stores {
    stores: Vec<(PathBuf, Store)>,
    range: Range,
    notes: Vec<String>,
}

impl Stores {
    /// Opens the directories read-only; each is a store, or a pump's data directory with a store in it.
    pub(crate) fn open(dirs: &[PathBuf], bounds: &Bounds, allow_gaps: bool) -> anyhow::Result<Self> {
        let mut stores: Vec<(PathBuf, Store)> = Vec::new();
        for dir in dirs {
            let inner = dir.join("binlog");
            let path = if inner.is_dir() { inner } else { dir.clone() };
            ensure!(path.is_dir(), "{} is no directory", path.display());
            let store =
                Store::open_read_only(&path).with_context(|| format!("open store {}", path.display()))?;
            if let Some((other, first)) = stores.first() {
                let (ours, theirs) = (store.cluster_id(), first.cluster_id());
                ensure!(
                    ours == theirs,
                    "{} is of cluster {ours}, {} of {theirs}",
                    path.display(),
                    other.display()
                );
            }
            stores.push((path, store));
        }
        let newest = stores.iter().map(|(_, s)| s.watermark()).max().unwrap_or_default();
        let mut range = Range { after: bounds.after, through: bounds.through.unwrap_or(newest).min(newest) };
        let mut notes = Vec::new();
        for (path, store) in &stores {
            let (name, safe_point, watermark) = (path.display(), store.safe_point(), store.watermark());
            if safe_point > range.after {
                if bounds.after.raw() != 0 && !allow_gaps {
                    bail!(
                        "{name}: binlogs at or below {safe_point} are purged; start after it, or say --allow-gaps"
                    );
                }
                notes.push(format!("HOLE: ({}, {safe_point}] is purged in {name}", range.after));
                range.after = safe_point;
            }
            if watermark < range.through {
                notes.push(format!("{name} is complete only through {watermark} ({})", utc(watermark.ts())));
            }
            for gap in store.gaps() {
                if gap.range.through > range.after && gap.range.after < range.through {
                    notes.push(format!("HOLE: {gap} in {name}"));
                }
            }
        }
        Ok(Stores { stores, range, notes })
    }

    /// What a reader should know before.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Reads the range and prints it.
    pub(crate) fn dump<W: Write>(
        &mut self,
        filter: &TableFilter,
        printer: &mut Printer<W>,
    ) -> anyhow::Result<()> {
        if self.range.is_empty() {
            return Ok(());
        }
        let mut interpreter = Interpreter::new(Start::At(self.range.after));
        if !printer.is_raw() {
            let (objects, complete) = self.schema()?;
            interpreter.extend(objects, complete).context("read the schema history")?;
        }
        let mut merge = Merge::new(&self.stores, self.range)?;
        while let Some(record) = merge.next()? {
            let flow = if printer.is_raw() {
                printer.record(&record)?
            } else {
                match decode(&mut interpreter, &record)?.and_then(|event| narrow(event, filter)) {
                    Some(event) => printer.event(&event)?,
                    None => Flow::More,
                }
            };
            if flow.is_done() {
                break;
            }
        }
        Ok(())
    }

    /// The schema histories of all stores, united; the same object from two stores must be the same.
    fn schema(&self) -> anyhow::Result<(Vec<SchemaObject>, SchemaVersion)> {
        let mut objects = BTreeMap::new();
        let mut complete = SchemaVersion(0);
        for (path, store) in &self.stores {
            complete = complete.max(store.schema_version());
            for entry in store.schema(SchemaVersion(-1))? {
                let object = SchemaObject::decode(entry.value.clone()).with_context(|| {
                    format!("{}: schema object {} of kind {}", path.display(), entry.id, entry.kind)
                })?;
                objects.insert((entry.schema_version, entry.kind, entry.id), object);
            }
        }
        Ok((objects.into_values().collect(), complete))
    }
}

fn decode(interpreter: &mut Interpreter, record: &Record) -> anyhow::Result<Option<Event>> {
    let at = || format!("record at commit_ts {}", record.commit_ts);
    let body = record.body().with_context(at)?;
    match interpreter.step(record.start_ts, record.commit_ts, &body).with_context(at)? {
        Step::Event(event) => Ok(Some(event)),
        Step::Skipped(SkipReason::Fake | SkipReason::NoEffect(_)) => Ok(None),
        Step::NeedVersion(version) => {
            bail!("{}: the stores' schema history does not reach version {version}", at())
        }
        Step::NeedJob(job) => bail!("{}: the stores do not know DDL job {job}", at()),
    }
}

/// The records of several stores, in order of commit_ts.
struct Merge {
    cursors: Vec<Cursor>,
}

impl Merge {
    fn new(stores: &[(PathBuf, Store)], range: Range) -> anyhow::Result<Self> {
        let cursors = stores.iter().map(|(path, store)| Cursor::new(path, store, range));
        Ok(Merge { cursors: cursors.collect::<anyhow::Result<_>>()? })
    }

    fn next(&mut self) -> anyhow::Result<Option<Record>> {
        let key = |r: &Record| (r.commit_ts, r.start_ts);
        let Some(least) = self.cursors.iter().filter_map(|c| c.head.as_ref()).map(key).min() else {
            return Ok(None);
        };
        let mut taken: Option<Record> = None;
        for cursor in &mut self.cursors {
            if cursor.head.as_ref().map(key) != Some(least) {
                continue;
            }
            let record = cursor.advance()?;
            match (&taken, record) {
                (None, record) => taken = record,
                // A transaction that was written to two pumps.
                (Some(first), Some(second)) => ensure!(
                    first.payload == second.payload,
                    "two stores hold different payloads for commit_ts {}",
                    least.0
                ),
                (Some(_), None) => {}
            }
        }
        Ok(taken)
    }
}

/// One store's records, put together from their fragments.
struct Cursor {
    path: PathBuf,
    scan: Scan,
    fragments: std::vec::IntoIter<Fragment>,
    head: Option<Record>,
}

impl Cursor {
    fn new(path: &Path, store: &Store, range: Range) -> anyhow::Result<Self> {
        let through = range.through.min(store.watermark());
        let scan = store.scan(Range { after: range.after, through });
        let scan = scan.with_context(|| format!("scan {}", path.display()))?;
        let mut cursor =
            Cursor { path: path.to_owned(), scan, fragments: Vec::new().into_iter(), head: None };
        cursor.advance()?;
        Ok(cursor)
    }

    /// Gives the head away and reads the next record.
    fn advance(&mut self) -> anyhow::Result<Option<Record>> {
        let next = self.read().with_context(|| format!("scan {}", self.path.display()))?;
        Ok(std::mem::replace(&mut self.head, next))
    }

    fn read(&mut self) -> anyhow::Result<Option<Record>> {
        let Some(first) = self.fragment()? else { return Ok(None) };
        let mut payload = first.payload.to_vec();
        let mut last = first.last;
        while !last {
            let piece = self.fragment()?;
            let piece =
                piece.with_context(|| format!("record at {} lacks its last fragment", first.commit_ts))?;
            ensure!(
                piece.commit_ts == first.commit_ts,
                "record at {} lacks its last fragment",
                first.commit_ts
            );
            payload.extend_from_slice(&piece.payload);
            last = piece.last;
        }
        Ok(Some(Record {
            start_ts: first.start_ts,
            commit_ts: first.commit_ts,
            schema_version: first.schema_version,
            extra: first.extra,
            payload: payload.into(),
        }))
    }

    fn fragment(&mut self) -> anyhow::Result<Option<Fragment>> {
        if let Some(fragment) = self.fragments.next() {
            return Ok(Some(fragment));
        }
        self.fragments = self.scan.next_batch(BATCH_BYTES)?.into_iter();
        Ok(self.fragments.next())
    }
}
