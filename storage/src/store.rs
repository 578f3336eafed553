//! The store: opening, closing, and the doors to everything else.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use binlog_types::{
    ClockHandle, ClusterId, CommitTs, Gap, GapReason, NodeId, Range, SchemaVersion, StartTs, StoreUuid,
    SystemClock, Ts,
};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::answers::Submission;
use crate::flusher::Flusher;
use crate::format::keys::{LogKey, SchemaKey};
use crate::format::meta;
use crate::identity::{Identity, read_meta, stored_ts};
use crate::overlay::Overlay;
use crate::queue::Item;
use crate::record::{Behind, CompletionSink, RawRecord, SchemaEntry, Unresolved, Write, WriteResult};
use crate::rocks::{Cf, Db, Durability, Setup};
use crate::salvage::Part;
use crate::scan::Scan;
use crate::settle::Settler;
use crate::shared::Shared;
use crate::verify::{Damage, Verified};
use crate::watch::{Waker, WatermarkGuard};
use crate::writer::Writer;
use crate::{Error, Options, Tuning, gc, raw, recovery, salvage, schema, verify};

/// An open store. Cheap to clone; the last clone closes it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("uuid", &self.uuid())
            .field("incarnation", &self.incarnation())
            .field("watermark", &self.watermark())
            .finish_non_exhaustive()
    }
}

struct Inner {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    fn close(&self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::error!("the writer thread panicked");
        }
        self.shared.forget_db();
    }
}

fn setup(tuning: &Tuning, retention: Duration, safe_point: &Arc<AtomicU64>) -> Setup {
    Setup {
        log_file_bytes: tuning.log_file_bytes,
        memory_bytes: tuning.spill_bytes.max(2 * tuning.log_file_bytes),
        block_cache_bytes: tuning.block_cache_bytes,
        rewrite_after: tuning.rewrite_after(retention),
        safe_point: Arc::clone(safe_point),
    }
}

fn stored_unread(db: &Db) -> Result<Vec<Range>, Error> {
    Ok(read_meta(db, meta::UNREAD, meta::decode_ranges)?.unwrap_or_default())
}

fn stored_schema_version(db: &Db) -> Result<SchemaVersion, Error> {
    Ok(SchemaVersion(read_meta(db, meta::SCHEMA_COMPLETE, meta::decode_signed)?.unwrap_or(0)))
}

impl Store {
    /// Opens the store in `dir`, making one if there is none, and recovers what the last process left.
    ///
    /// # Errors
    /// [`Error::WrongCluster`], [`Error::NewerFormat`], [`Error::Locked`] when another process has it open,
    /// [`Error::Corrupt`] with the position, [`Error::DamagedWal`], [`Error::NoSpace`], [`Error::Internal`].
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|error| Error::Internal {
            doing: "make the directory",
            message: format!("{}: {error}", dir.display()),
        })?;
        let safe_point = Arc::new(AtomicU64::new(0));
        let setup = setup(&options.tuning, options.retention, &safe_point);
        let db = Arc::new(Db::open(dir, &setup).map_err(|error| recovery::explain(error, dir, &setup))?);
        let identity = Identity::open(&db, dir, &options)?;
        let stored_safe_point = stored_ts(&db, meta::SAFE_POINT)?;
        safe_point.store(stored_safe_point.raw(), Ordering::Release);
        let mut batch = db.batch(1 << 10);
        let (pairing, bundles) = recovery::recover(
            &db,
            stored_ts(&db, meta::WATERMARK)?,
            stored_safe_point,
            options.tuning.held_bytes,
            options.clock.monotonic(),
            &mut batch,
            &mut salvage::refuse,
        )?;
        if !batch.is_empty() {
            db.write(batch, Durability::Logged)?;
        }
        let schema_version = stored_schema_version(&db)?;
        let unread = stored_unread(&db)?;
        tracing::info!(
            dir = %dir.display(), uuid = %identity.uuid, incarnation = identity.incarnation,
            watermark = %pairing.watermark(), safe_point = %stored_safe_point,
            undecided = pairing.pending_count(), recovered = pairing.waiting_count(),
            "the store is open"
        );
        let Options { clock, sync, tuning, .. } = options;
        let settler = Settler::new(Arc::clone(&db), tuning.failpoints.clone());
        let shared = Arc::new(Shared::new(
            Arc::clone(&db),
            identity,
            tuning,
            sync,
            clock,
            pairing,
            bundles,
            safe_point,
            schema_version,
            unread,
            None,
        ));
        let flusher = Flusher::start(Arc::clone(&shared), Arc::clone(&db))?;
        let mut writer = Writer::new(Arc::clone(&shared), db, settler, flusher);
        // Nobody reads yet: what the watermark had passed goes back into `log` first.
        writer.advance()?;
        let writer = std::thread::Builder::new()
            .name("binlog-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| Error::Internal { doing: "start the writer", message: error.to_string() })?;
        Ok(Store { inner: Arc::new(Inner { shared, writer: Mutex::new(Some(writer)) }) })
    }

    /// Opens the store in `dir` without writing to it: for tools, over the directory of a pump that is closed or dead.
    /// Records that had not reached a file are seen too. Where something is damaged that only a restart would need, the
    /// store is read as far as nothing can be missing: see [`Store::damage`]. Over a running pump's directory it shows one moment, and reads
    /// may fail when that pump drops files.
    ///
    /// # Errors
    /// [`Error::NotAStore`], [`Error::NewerFormat`], [`Error::Corrupt`], [`Error::DamagedWal`], [`Error::Internal`].
    pub fn open_read_only(dir: &Path) -> Result<Self, Error> {
        Self::open_dead(dir, false)
    }

    /// The same of a pump that will not come back: prewrites whose outcome it never heard hold nothing up, and its last commit is the end. Each of
    /// those prewrites is a gap, for it may have committed.
    ///
    /// # Errors
    /// As those of [`Store::open_read_only`].
    pub fn open_abandoned(dir: &Path) -> Result<Self, Error> {
        Self::open_dead(dir, true)
    }

    fn open_dead(dir: &Path, abandoned: bool) -> Result<Self, Error> {
        let tuning = Tuning::default();
        let safe_point = Arc::new(AtomicU64::new(0));
        // Nothing is rewritten here.
        let setup = setup(&tuning, Duration::MAX, &safe_point);
        let db =
            Arc::new(Db::open_read_only(dir, &setup).map_err(|error| recovery::explain(error, dir, &setup))?);
        let identity = Identity::read(&db, dir)?;
        let stored_safe_point = stored_ts(&db, meta::SAFE_POINT)?;
        safe_point.store(stored_safe_point.raw(), Ordering::Release);
        let clock: ClockHandle = SystemClock::handle();
        let stored_watermark = stored_ts(&db, meta::WATERMARK)?;
        // Never written: what recovery would delete is only not shown.
        let mut batch = db.batch(64);
        let mut unreadable = Vec::new();
        let (mut pairing, bundles) = recovery::recover(
            &db,
            stored_watermark,
            stored_safe_point,
            0,
            clock.monotonic(),
            &mut batch,
            &mut |found| {
                unreadable.push(found);
                Ok(())
            },
        )?;
        drop(batch);
        if abandoned {
            let end = pairing.max_commit();
            for undecided in pairing.unresolved(usize::MAX, clock.monotonic()) {
                pairing.lose(undecided.start_ts, end);
            }
        }
        let mut overlay = Overlay::build(&db, &mut pairing)?;
        if !unreadable.is_empty() {
            unreadable.retain(|found| found.part != Part::Prewrite || pairing.is_undecided(found.start_ts));
            let whole = salvage::whole_in_files(&db, stored_safe_point)?;
            let reach = salvage::reach(unreadable, whole, stored_watermark, pairing.watermark());
            overlay.forget_through(whole);
            pairing.stop_at(reach.0);
            overlay.damage = reach.1;
        }
        let schema_version = stored_schema_version(&db)?;
        let unread = stored_unread(&db)?;
        let shared = Shared::new(
            db,
            identity,
            tuning,
            true,
            clock,
            pairing,
            bundles,
            safe_point,
            schema_version,
            unread,
            Some(overlay),
        );
        Ok(Store { inner: Arc::new(Inner { shared: Arc::new(shared), writer: Mutex::new(None) }) })
    }

    fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// The cluster whose binlogs these are.
    pub fn cluster_id(&self) -> ClusterId {
        self.shared().identity.cluster_id
    }

    /// The pump that owns the store.
    pub fn node_id(&self) -> NodeId {
        self.shared().identity.node_id.clone()
    }

    /// Drawn when the store was made: stores with the same one are copies.
    pub fn uuid(&self) -> StoreUuid {
        self.shared().identity.uuid
    }

    /// How often the store was opened for writing, this time included.
    pub fn incarnation(&self) -> u64 {
        self.shared().identity.incarnation
    }

    /// Queues writes, in this order; each comes back to `sink` with its token once it is durable, or has failed.
    ///
    /// A write that was stored before succeeds again. One that contradicts what is stored comes back as
    /// [`Error::Conflict`] or [`Error::Late`], without touching the others.
    pub fn submit(&self, writes: Vec<(u64, Write)>, sink: &Arc<dyn CompletionSink>) {
        if writes.is_empty() {
            return;
        }
        let submission = Submission::new(Arc::clone(sink), writes);
        if self.shared().overlay.is_some() {
            return submission.refuse(&Error::ReadOnly);
        }
        if let Err(Item::Writes(submission)) = self.shared().queue.push(Item::Writes(submission)) {
            submission.refuse(&Error::Closed);
        }
    }

    /// Queues one write and waits: for tests and tools.
    ///
    /// # Errors
    /// Those of the write.
    pub fn write(&self, write: Write) -> WriteResult {
        struct Wait(std::sync::mpsc::SyncSender<WriteResult>);
        impl CompletionSink for Wait {
            fn completed(&self, results: Vec<(u64, WriteResult)>) {
                for (_, result) in results {
                    // Room for the one result; the receiver waits for it.
                    let _ = self.0.send(result);
                }
            }
        }
        let (sender, receiver) = sync_channel(1);
        let sink: Arc<dyn CompletionSink> = Arc::new(Wait(sender));
        self.submit(vec![(0, write)], &sink);
        drop(sink);
        receiver.recv().unwrap_or(Err(Error::Closed))
    }

    /// Every transaction with a commit_ts at or below is readable, and none can come there any more.
    pub fn watermark(&self) -> CommitTs {
        self.shared().watermark()
    }

    /// Calls `waker`, which must not block, after every rise of the watermark until the guard is dropped.
    pub fn on_watermark(&self, waker: Waker) -> WatermarkGuard {
        self.shared().watchers.add(waker)
    }

    /// Lets the watermark advance while nothing is written. `ts` must have been fetched from the cluster's oracle
    /// *before* this call: any transaction whose prewrite is not here by now will get a larger commit_ts. Once every
    /// prewrite that is here by now is settled, the watermark may move to `ts`.
    pub fn offer_idle_ts(&self, ts: CommitTs) {
        // A closed or read-only store stands still.
        if self.shared().overlay.is_none() {
            let _ = self.shared().queue.push(Item::IdleTs(ts));
        }
    }

    /// Reads a range, as far as the watermark allows now: see [`Scan::through`].
    ///
    /// # Errors
    /// [`Error::Purged`] when the range begins below the safe point, [`Error::Closed`].
    pub fn scan(&self, range: Range) -> Result<Scan, Error> {
        Scan::new(Arc::clone(&self.inner.shared), range)
    }

    /// Records at or below are gone, or may go at any time.
    pub fn safe_point(&self) -> CommitTs {
        self.shared().safe_point()
    }

    /// Moves the safe point up to `target`, but not above the watermark and never down, and lets RocksDB drop what lies at
    /// or below it. Returns the safe point. It is durable before anything is dropped.
    ///
    /// # Errors
    /// Those of a durable write.
    pub fn gc(&self, target: CommitTs) -> Result<CommitTs, Error> {
        gc::gc(self.shared(), target, None)
    }

    /// As [`Store::gc`], where somebody has read only up to `read`: what goes above that stays on record, as a gap.
    ///
    /// # Errors
    /// Those of a durable write.
    pub fn gc_past(&self, target: CommitTs, read: CommitTs) -> Result<CommitTs, Error> {
        gc::gc(self.shared(), target, Some(read))
    }

    /// The size of the `log` files that hold anything at or below `through`: what a collection up to there has still to
    /// drop, give or take the file that lies across.
    ///
    /// # Errors
    /// [`Error::Internal`], [`Error::Closed`].
    pub fn file_bytes(&self, through: CommitTs) -> Result<u64, Error> {
        self.shared().db()?.file_bytes(Cf::Log, &LogKey::above(through))
    }

    /// Reads everything, checks every checksum, and says which stretches are damaged.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a key is not one, [`Error::Closed`].
    pub fn verify(&self) -> Result<Verified, Error> {
        verify::verify(self.shared(), self.gaps())
    }

    /// Prewrites without a known outcome, oldest first.
    pub fn unresolved(&self, limit: usize) -> Vec<Unresolved> {
        self.shared().pairing.lock().unresolved(limit, self.shared().clock.monotonic())
    }

    /// Stores schema objects, and that all objects up to version `complete` are here. Repeating it is harmless.
    ///
    /// # Errors
    /// [`Error::SchemaConflict`] if other bytes are stored under one of the keys (then nothing is stored), those of a
    /// durable write.
    pub fn put_schema(&self, entries: Vec<SchemaEntry>, complete: SchemaVersion) -> Result<(), Error> {
        schema::put(self.shared(), entries, complete)
    }

    /// Schema entries with a version above `after`, ascending by (version, kind, id).
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Internal`], [`Error::Closed`].
    pub fn schema(&self, after: SchemaVersion) -> Result<Vec<SchemaEntry>, Error> {
        let mut entries = schema::read(self.shared(), None, |key| key.version > after, None)?;
        entries.sort_by_key(|entry| (entry.schema_version, entry.kind, entry.id));
        Ok(entries)
    }

    /// [`Store::schema`] without what lies behind a reader: of the entries of one object that are [`Behind`], only the last is given, and
    /// not if it says that the object is gone, nor if it is of the kind `forgotten`. Never more than the result is in memory.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Internal`], [`Error::Closed`].
    pub fn schema_above(
        &self,
        after: SchemaVersion,
        behind: impl Fn(&SchemaEntry) -> Behind,
        forgotten: u8,
    ) -> Result<Vec<SchemaEntry>, Error> {
        let mut entries = schema::read_above(self.shared(), after, behind, forgotten)?;
        entries.sort_by_key(|entry| (entry.schema_version, entry.kind, entry.id));
        Ok(entries)
    }

    /// Deletes what [`Store::schema_above`] would leave out for a reader that begins at the oldest kept record, which `behind` describes.
    /// Returns how many entries went.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where an entry is not what was written, those of a durable write.
    pub fn collect_schema(
        &self,
        behind: impl Fn(&SchemaEntry) -> Behind,
        forgotten: u8,
    ) -> Result<usize, Error> {
        schema::collect(self.shared(), behind, forgotten)
    }

    /// All versions of one schema object, ascending.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Internal`], [`Error::Closed`].
    pub fn schema_object(&self, kind: u8, id: i64) -> Result<Vec<SchemaEntry>, Error> {
        let lower = SchemaKey { kind, id, version: SchemaVersion(i64::MIN) };
        let mut end = None;
        if let Some(next) = id.checked_add(1) {
            end = Some(SchemaKey { kind, id: next, version: SchemaVersion(i64::MIN) });
        } else if let Some(next) = kind.checked_add(1) {
            end = Some(SchemaKey { kind: next, id: i64::MIN, version: SchemaVersion(i64::MIN) });
        }
        schema::read(self.shared(), Some(lower), |key| (key.kind, key.id) == (kind, id), end)
    }

    /// All schema objects up to this version are stored.
    pub fn schema_version(&self) -> SchemaVersion {
        SchemaVersion(self.shared().schema_version.load(Ordering::Acquire))
    }

    /// The start_ts of the prewrite that began first, of those that may still become a record.
    pub fn oldest_undecided(&self) -> Option<StartTs> {
        self.shared().pairing.lock().oldest_undecided()
    }

    /// Places where something is missing, in order: until a collection passes them, or for ever where collections have dropped
    /// what somebody had not read.
    pub fn gaps(&self) -> Vec<Gap> {
        let unread = self.shared().unread.lock().clone();
        let unread = unread.into_iter().map(|range| Gap { range, reason: GapReason::Purged });
        unread.chain(self.shared().pairing.lock().gaps()).collect()
    }

    /// What a store that is open for reading only could not make out when it was opened. Everything up to the watermark is as
    /// good as ever, but the watermark may stand lower than it would.
    pub fn damage(&self) -> Vec<Damage> {
        self.shared().overlay.as_ref().map_or_else(Vec::new, |overlay| overlay.damage.clone())
    }

    /// Stores a small named value of the layer above; durable when it returns.
    ///
    /// # Errors
    /// Those of a durable write.
    pub fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), Error> {
        schema::put_meta(self.shared(), name, value)
    }

    /// Reads what [`Store::put_meta`] stored.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Internal`], [`Error::Closed`].
    pub fn get_meta(&self, name: &str) -> Result<Option<Bytes>, Error> {
        schema::get_meta(self.shared(), name)
    }

    /// What stands under `ts`: a record with this commit_ts, a prewrite with this start_ts, a commit without prewrite.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Internal`], [`Error::Closed`].
    pub fn raw(&self, ts: Ts) -> Result<Option<RawRecord>, Error> {
        raw::lookup(&self.inner.shared, ts)
    }

    /// The largest commit_ts that is durable here, readable or not; at least the watermark.
    pub fn max_commit_ts(&self) -> CommitTs {
        self.shared().max_commit()
    }

    /// How many prewrites have no outcome yet.
    pub fn pending_count(&self) -> usize {
        self.shared().pairing.lock().pending_count()
    }

    /// Why the store takes no more writes, once a durable write has failed.
    pub fn poisoned(&self) -> Option<String> {
        self.shared().health.reason()
    }

    /// Those of [`Store::numbers`] that only grow, from when the store was opened.
    pub fn counts(&self) -> Vec<(String, u64)> {
        let mut counts = self.shared().counters.numbers();
        if let Ok(db) = self.shared().db() {
            counts.extend(db.counts());
        }
        counts
    }

    /// Counters and sizes for metrics, by name. Names in `_bytes`, `_ms` and `_micros` say their unit.
    pub fn numbers(&self) -> Vec<(String, u64)> {
        let shared = self.shared();
        let mut numbers = self.counts();
        let now = shared.clock.monotonic();
        let pairing = shared.pairing.lock();
        let newest = pairing.newest();
        let oldest = pairing.unresolved(1, now).first().map_or(Duration::ZERO, |unresolved| unresolved.age);
        numbers.extend([
            ("pending_prewrites".to_owned(), pairing.pending_count() as u64),
            ("waiting_records".to_owned(), pairing.waiting_count() as u64),
            ("open_transactions".to_owned(), pairing.open_count() as u64),
            ("open_transactions_limit".to_owned(), shared.tuning.open_transactions as u64),
            ("held_payload_bytes".to_owned(), pairing.held_bytes() as u64),
            ("gaps".to_owned(), pairing.gap_count() as u64),
            ("oldest_unresolved_ms".to_owned(), u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX)),
        ]);
        drop(pairing);
        numbers.extend([
            ("bundles".to_owned(), shared.bundles.lock().len() as u64),
            ("watermark".to_owned(), shared.watermark().raw()),
            // How far what can be read is behind what was written, or behind the oracle's clock as it was told last.
            (
                "watermark_lag_ms".to_owned(),
                newest.ts().physical().saturating_sub(shared.watermark().ts().physical()),
            ),
            ("max_commit_ts".to_owned(), shared.max_commit().raw()),
            ("safe_point".to_owned(), shared.safe_point().raw()),
            ("poisoned".to_owned(), u64::from(shared.health.reason().is_some())),
        ]);
        if let Ok(db) = shared.db() {
            let of =
                |wanted: &str| numbers.iter().find(|(name, _)| name == wanted).map_or(0, |(_, value)| *value);
            let parts = ["rocksdb_wal_bytes", "rocksdb_flush_write_bytes", "rocksdb_compact_write_bytes"];
            let written: u64 = parts.into_iter().map(of).sum();
            let payload = shared.counters.payload_bytes.get().max(1);
            // Since the store was opened; the part of a page that a sync leaves empty is not in it.
            numbers.push(("write_amplification_permille".to_owned(), written.saturating_mul(1000) / payload));
            numbers.extend(db.sizes());
        }
        numbers
    }

    /// Writes everything that is settled into files. Rarely needed: for tests, and before a directory is copied.
    ///
    /// # Errors
    /// Those of a durable write.
    pub fn flush(&self) -> Result<(), Error> {
        self.shared().writable_db()?;
        let (sender, receiver) = sync_channel(1);
        self.shared().queue.push(Item::Flush(sender)).map_err(|_| Error::Closed)?;
        // Dropped with the writer.
        receiver.recv().unwrap_or_else(|_| self.shared().health.check().and(Err(Error::Closed)))
    }

    /// Finishes what is queued, writes everything into files and closes. Later calls fail with [`Error::Closed`].
    ///
    /// # Errors
    /// [`Error::Poisoned`] when a durable write had failed, now or earlier; it is closed all the same.
    pub fn close(&self) -> Result<(), Error> {
        self.inner.close();
        self.shared().health.check()
    }
}
