//! The stores of pumps that do not run: merged as pumps are merged, decoded by the schema history inside them. Nothing is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use binlog_catalog::{
    Event, Interpreter, SkipReason, Start, Step, TableFilter, UnknownDdl, object_key, same_object,
};
use binlog_cli::ReadLock;
use binlog_proto::store::SchemaObject;
use binlog_pull::{EventBatch, Feed, Record, narrow};
use binlog_storage::{Fragment, Scan, Store};
use binlog_types::{ClusterId, CommitTs, NodeId, Peers, REGISTRATION_META, Range, SchemaVersion, Ts};
use prost::Message as _;
use tokio::sync::mpsc;

use super::missing::{Finding, Survey, absent, judge, missing, purged, unknown};
use super::reading::{Parcel, hand_over};
use super::{Hole, Reading};
use crate::{Error, utc};

/// Bytes read from a store at once, and payload of a batch.
const BATCH_BYTES: usize = 4 << 20;
/// Batches that wait for the destination.
const BATCHES: usize = 4;
/// Records that wait for those of running pumps, before the budget counts them.
const FEED_RECORDS: usize = 64;

/// Open stores.
#[derive(Debug)]
pub struct Stores {
    stores: Vec<Opened>,
    /// What becomes of DDLs of kinds that are not known.
    pub unknown_ddl: UnknownDdl,
    /// Pumps whose stores are not here: who knows of it, which, and when it was last seen.
    absent: Vec<(String, NodeId, Ts)>,
}

#[derive(Clone, Debug)]
struct Opened {
    path: PathBuf,
    store: Store,
    /// It took its first binlog after that; 0: not known.
    begins: CommitTs,
    /// No pump may start on it meanwhile.
    _lock: Arc<ReadLock>,
}

impl Opened {
    fn open(dir: &Path, abandoned: bool) -> Result<Self, Error> {
        let inner = dir.join("binlog");
        let path = if inner.is_dir() { inner } else { dir.to_owned() };
        if !path.is_dir() {
            return Err(Error::BadStore { path, why: "it is no directory".to_owned() });
        }
        let lock = ReadLock::take(&path).map_err(|_| Error::BadStore {
            path: path.clone(),
            why: "a pump is running on it: read its binlogs with -from-pump, or stop it first".to_owned(),
        })?;
        let failed = |source| Error::Store { path: path.clone(), source: Box::new(source) };
        let store = if abandoned { Store::open_abandoned(&path) } else { Store::open_read_only(&path) };
        let store = store.map_err(failed)?;
        let begins = begins(&store).map_err(failed)?;
        Ok(Opened { path, store, begins, _lock: Arc::new(lock) })
    }

    fn name(&self) -> String {
        format!("store {} of pump {}", self.path.display(), self.store.node_id())
    }

    fn failed(&self, source: binlog_storage::Error) -> Error {
        Error::Store { path: self.path.clone(), source: Box::new(source) }
    }
}

impl Stores {
    /// Opens directories read-only; each is a store, or a pump's data directory with a store in it. Of `abandoned` ones nobody will hear any more what
    /// became of their last prewrites: these are gaps, and the last commit is the end.
    ///
    /// # Errors
    /// When one of them is no store, is in use, or is of another cluster.
    pub async fn open(dirs: &[PathBuf], abandoned: bool) -> Result<Self, Error> {
        let dirs = dirs.to_vec();
        let opened = tokio::task::spawn_blocking(move || Self::open_now(&dirs, abandoned)).await;
        opened.unwrap_or(Err(Error::ReaderDied { position: CommitTs::ZERO }))
    }

    fn open_now(dirs: &[PathBuf], abandoned: bool) -> Result<Self, Error> {
        let mut stores: Vec<Opened> = Vec::new();
        for dir in dirs {
            let opened = Opened::open(dir, abandoned)?;
            if let Some(first) = stores.first() {
                let (ours, theirs) = (opened.store.cluster_id(), first.store.cluster_id());
                if ours != theirs {
                    let why = format!("it is of cluster {ours}, {} of {theirs}", first.path.display());
                    return Err(Error::BadStore { path: opened.path, why });
                }
            }
            if let Some(twin) = stores.iter().find(|s| s.store.uuid() == opened.store.uuid()) {
                let why = format!("it is the same store as {}", twin.path.display());
                return Err(Error::BadStore { path: opened.path, why });
            }
            stores.push(opened);
        }
        let absent = unread(&stores)?;
        Ok(Stores { stores, absent, unknown_ddl: UnknownDdl::default() })
    }

    pub(super) fn cluster(&self) -> ClusterId {
        self.stores.first().map(|s| s.store.cluster_id()).unwrap_or_default()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.stores.iter().map(Opened::name).collect()
    }

    /// What is to be said about how far the stores reach.
    pub fn notes(&self) -> Vec<String> {
        let newest = self.stores.iter().map(|s| s.store.watermark()).max().unwrap_or_default();
        let behind = self.stores.iter().filter(|s| s.store.watermark() < newest);
        let notes = behind.map(|s| {
            let watermark = s.store.watermark();
            format!("note: {} is complete only through {watermark} ({})", s.name(), utc(watermark.ts()))
        });
        let damaged = self.stores.iter().flat_map(|s| {
            let damage = s.store.damage().into_iter();
            damage.map(|damage| format!("note: {} is damaged: {}", s.name(), damage.what))
        });
        notes.chain(damaged).collect()
    }

    /// What all stores are complete through.
    pub fn newest(&self) -> CommitTs {
        self.stores.iter().map(|s| s.store.watermark()).min().unwrap_or_default()
    }

    /// As [`Input::check`](super::Input::check).
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, range: Range, allow: bool) -> Result<(Range, Vec<Hole>), Error> {
        judge(self.survey(range), allow)
    }

    /// As [`Input::survey`](super::Input::survey).
    pub(super) fn survey(&self, range: Range) -> Survey {
        let (kept, mut findings) = self.survey_beside(range, |_| false);
        findings.extend(unknown(self.begins(), range));
        (kept, findings)
    }

    /// The same, but for what only all that are read can tell, beside pumps that are running.
    pub(super) fn survey_beside(&self, range: Range, running: impl Fn(&NodeId) -> bool) -> Survey {
        let mut after = range.after;
        let gone = self.absent.iter().filter(|(_, pump, _)| !running(pump));
        let gone = gone.filter_map(|(knows, pump, seen)| absent(knows, pump, *seen, range));
        let mut findings: Vec<Finding> = gone.collect();
        for opened in &self.stores {
            let (holder, store) = (opened.name(), &opened.store);
            let (safe_point, watermark) = (store.safe_point(), store.watermark());
            if let Some(finding) = purged(&holder, range, safe_point) {
                after = after.max(safe_point);
                findings.push(finding);
            }
            for gap in store.gaps() {
                let reason = gap.reason.to_string();
                findings.extend(missing(&holder, range, safe_point, (gap.range, &reason)));
            }
            if watermark < range.through {
                let refusal = Error::NotYet { holder: holder.clone(), watermark, through: range.through };
                let range = Range { after: watermark.max(range.after), through: range.through };
                let hole = Hole { holder, range, reason: "after the store's end".to_owned() };
                findings.push(Finding { hole, refusal });
            }
        }
        (Range { after, through: range.through }, findings)
    }

    /// After which position each took its first binlog.
    pub(super) fn begins(&self) -> impl Iterator<Item = CommitTs> {
        self.stores.iter().map(|opened| opened.begins)
    }

    /// Whether it is the store of this pump.
    pub(super) fn holds(&self, pump: &NodeId) -> bool {
        self.stores.iter().any(|opened| opened.store.node_id() == *pump)
    }

    /// The records of each, read on threads of their own, for the stream of the pumps that run. It ends with the store, though the range may not.
    pub(super) fn feeds(&self, range: Range) -> Vec<(NodeId, Feed)> {
        let one = |opened: &Opened| {
            let (sender, feed) = mpsc::channel(FEED_RECORDS);
            let opened = opened.clone();
            let pump = opened.store.node_id();
            tokio::task::spawn_blocking(move || {
                let mut cursor = match Cursor::new(&opened, range) {
                    Ok(cursor) => cursor,
                    Err(error) => return drop(sender.blocking_send(Err(chain(&error)))),
                };
                loop {
                    let record = cursor.advance().map_err(|error| chain(&error));
                    let last = !matches!(record, Ok(Some(_)));
                    // A receiver that is gone wants no more.
                    if sender.blocking_send(record).is_err() || last {
                        return;
                    }
                }
            });
            (pump, feed)
        };
        self.stores.iter().map(one).collect()
    }

    /// The records of a range, in order, as they are stored.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub fn records(&self, range: Range) -> Result<StoreRecords, Error> {
        let cursors = self.stores.iter().map(|opened| Cursor::new(opened, range));
        Ok(StoreRecords { cursors: cursors.collect::<Result<_, Error>>()? })
    }

    /// Reads and decodes on a thread of its own.
    pub(super) fn read(&self, range: Range, filter: TableFilter) -> Result<Reading, Error> {
        let (objects, known) = self.schema()?;
        let mut interpreter = Interpreter::new(Start::At(range.after));
        interpreter.set_unknown_ddl(self.unknown_ddl);
        interpreter.extend(objects, known).map_err(|e| Error::Record {
            commit_ts: range.after,
            what: format!("the schema history is unreadable: {e}"),
        })?;
        let records = self.records(range)?;
        let mut decoder = Decoder { records, interpreter, filter, known, through: range.through };
        let (sender, receiver) = mpsc::channel(BATCHES);
        tokio::task::spawn_blocking(move || hand_over(&sender, || decoder.batch()));
        Ok(Reading::of_thread(receiver, range.after))
    }

    /// The schema histories of all stores, united.
    fn schema(&self) -> Result<(Vec<SchemaObject>, SchemaVersion), Error> {
        let mut objects: BTreeMap<_, SchemaObject> = BTreeMap::new();
        let mut complete = SchemaVersion(0);
        for opened in &self.stores {
            complete = complete.max(opened.store.schema_version());
            let entries = opened.store.schema(SchemaVersion(-1)).map_err(|e| opened.failed(e))?;
            for entry in entries {
                let bad = |what: &str| Error::BadStore {
                    path: opened.path.clone(),
                    why: format!("schema object {} of kind {}: {what}", entry.id, entry.kind),
                };
                let object = SchemaObject::decode(entry.value.clone()).map_err(|e| bad(&e.to_string()))?;
                let key = object_key(&object);
                match objects.get(&key) {
                    Some(known) if same_object(known, &object) => {}
                    // Snapshots of two moments: the one that was written first.
                    Some(known) if object.schema_version == 0 => {
                        if (object.finished_ts, &object.json) < (known.finished_ts, &known.json) {
                            objects.insert(key, object);
                        }
                    }
                    Some(_) => return Err(bad("another store says something else of the same version")),
                    None => {
                        objects.insert(key, object);
                    }
                }
            }
        }
        Ok((objects.into_values().collect(), complete))
    }
}

/// After which position a pump took its first binlog: it was registered then, and what is older in the store came before that all the same.
fn begins(store: &Store) -> Result<CommitTs, binlog_storage::Error> {
    let Some(registered) = store.get_meta(REGISTRATION_META)? else { return Ok(CommitTs::ZERO) };
    let Ok(registered) = registered.as_ref().try_into().map(u64::from_be_bytes) else {
        return Ok(CommitTs::ZERO);
    };
    let registered = CommitTs::new(registered);
    let range = Range { after: store.safe_point(), through: registered.min(store.watermark()) };
    if range.is_empty() {
        return Ok(registered);
    }
    let first = store.scan(range)?.next_batch(1)?.into_iter().next();
    Ok(first.map_or(registered, |first| CommitTs::from(first.commit_ts.ts().prev()).min(registered)))
}

/// Pumps that the stores know of and that are not among them.
fn unread(stores: &[Opened]) -> Result<Vec<(String, NodeId, Ts)>, Error> {
    let mut absent: Vec<(String, NodeId, Ts)> = Vec::new();
    for opened in stores {
        let Some(bytes) = opened.store.get_meta(Peers::META).map_err(|e| opened.failed(e))? else { continue };
        let peers = Peers::from_bytes(&bytes).ok_or_else(|| Error::BadStore {
            path: opened.path.clone(),
            why: "its list of the other pumps is unreadable".to_owned(),
        })?;
        for (pump, seen) in peers.iter() {
            if stores.iter().any(|s| s.store.node_id() == *pump) {
                continue;
            }
            match absent.iter_mut().find(|(_, known, _)| known == pump) {
                Some((_, _, last)) => *last = seen.max(*last),
                None => absent.push((opened.name(), pump.clone(), seen)),
            }
        }
    }
    Ok(absent)
}

/// An error with all its causes, for whoever has no more than its words.
fn chain(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(|error| error.to_string()).collect::<Vec<_>>().join(": ")
}

/// Records to events, on the reader's thread.
struct Decoder {
    records: StoreRecords,
    interpreter: Interpreter,
    filter: TableFilter,
    known: SchemaVersion,
    through: CommitTs,
}

impl Decoder {
    fn batch(&mut self) -> Result<Parcel, Error> {
        let mut batch = EventBatch::default();
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let Some(record) = self.records.next()? else {
                batch.complete_through = self.through;
                batch.end = true;
                break;
            };
            bytes += record.payload.len();
            // Another record may share the commit_ts: it is complete once the next one is seen.
            batch.complete_through = record.commit_ts.ts().prev().into();
            self.decode(&record, &mut batch)?;
        }
        batch.schema_version = self.interpreter.schema_version();
        batch.recovered = self.interpreter.history().recovered_tables().map(|(table, _)| table).collect();
        Ok(Parcel { batch, holes: Vec::new() })
    }

    fn decode(&mut self, record: &Record, batch: &mut EventBatch) -> Result<(), Error> {
        let commit_ts = record.commit_ts;
        let unreadable = |what: String| Error::Record { commit_ts, what };
        let body = record.body().map_err(|e| unreadable(e.to_string()))?;
        loop {
            let step = self.interpreter.step(record.start_ts, commit_ts, &body);
            match step.map_err(|e| unreadable(e.to_string()))? {
                Step::Ahead(ddl) => {
                    batch.events.extend(narrow(Event::Ddl(ddl), &self.filter));
                    continue;
                }
                Step::Event(event) => match narrow(event, &self.filter) {
                    Some(event) => batch.events.push(event),
                    None => batch.skipped += 1,
                },
                Step::Skipped(SkipReason::Fake) => {}
                Step::Skipped(SkipReason::NoEffect(_)) => batch.skipped += 1,
                Step::NeedVersion(need) => {
                    return Err(Error::NoVersion { commit_ts, need, known: self.known });
                }
                Step::NeedJob(job) => return Err(Error::NoJob { commit_ts, job }),
            }
            return Ok(());
        }
    }
}

/// The records of several stores, in order of commit_ts.
pub struct StoreRecords {
    cursors: Vec<Cursor>,
}

impl StoreRecords {
    /// The next record; None at the end.
    ///
    /// # Errors
    /// When a store cannot be read, or two stores differ on a transaction.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would go on after an error")]
    pub fn next(&mut self) -> Result<Option<Record>, Error> {
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
                (Some(first), Some(second)) if first.payload != second.payload => {
                    let what = "two stores hold different payloads".to_owned();
                    return Err(Error::Record { commit_ts: least.0, what });
                }
                (Some(_), _) => {}
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
    fn new(opened: &Opened, range: Range) -> Result<Self, Error> {
        let through = range.through.min(opened.store.watermark());
        let range = Range { after: range.after.min(through), through };
        let scan = opened.store.scan(range).map_err(|e| opened.failed(e))?;
        let mut cursor =
            Cursor { path: opened.path.clone(), scan, fragments: Vec::new().into_iter(), head: None };
        cursor.advance()?;
        Ok(cursor)
    }

    /// Gives the head away and reads the next record.
    fn advance(&mut self) -> Result<Option<Record>, Error> {
        let next = self.read()?;
        Ok(std::mem::replace(&mut self.head, next))
    }

    fn read(&mut self) -> Result<Option<Record>, Error> {
        let Some(first) = self.fragment()? else { return Ok(None) };
        let mut payload = first.payload;
        let mut last = first.last;
        if !last {
            let mut whole = payload.to_vec();
            while !last {
                let piece = self.fragment()?.filter(|piece| piece.commit_ts == first.commit_ts);
                let piece = piece.ok_or_else(|| Error::Record {
                    commit_ts: first.commit_ts,
                    what: format!("{} lacks its last fragment", self.path.display()),
                })?;
                whole.extend_from_slice(&piece.payload);
                last = piece.last;
            }
            payload = whole.into();
        }
        Ok(Some(Record {
            start_ts: first.start_ts,
            commit_ts: first.commit_ts,
            schema_version: first.schema_version,
            extra: first.extra,
            payload,
        }))
    }

    fn fragment(&mut self) -> Result<Option<Fragment>, Error> {
        if let Some(fragment) = self.fragments.next() {
            return Ok(Some(fragment));
        }
        let batch = self.scan.next_batch(BATCH_BYTES);
        let batch =
            batch.map_err(|source| Error::Store { path: self.path.clone(), source: Box::new(source) })?;
        self.fragments = batch.into_iter();
        Ok(self.fragments.next())
    }
}
