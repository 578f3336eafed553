//! Turns writes into a batch: checks each against the pairing state and puts what is new under its keys.

use binlog_types::{CommitTs, StartTs, Ts};
use bytes::Bytes;
use parking_lot::MutexGuard;

use crate::bundles::{self, Mark, Place};
use crate::format::bundle::Draft;
use crate::format::keys::{BundleId, LogKey, PendingKey, bundle_key, commit_key};
use crate::format::marker::{self, Kind};
use crate::format::packed::Packer;
use crate::format::record::{self, Header};
use crate::pairing::{BelowStep, Body, CommitStep, LoseStep, Pairing, PrewriteStep, RollbackStep};
use crate::rocks::{Batch, Cf, Db};
use crate::shared::Shared;
use crate::{Commit, Error, Prewrite, Write, WriteResult};

/// The longest key or extra: far above what TiDB sends, far below what a header can say.
const MAX_ATTACHMENT: usize = 64 << 20;
/// The most pieces of a transaction.
const MAX_FRAGMENTS: usize = 1 << 20;

/// Prewrites up to this length, with their keys, go into bundles.
const SMALL: usize = 64 << 10;
/// A bundle is full with so many bytes: whoever needs one of its prewrites reads all of it.
const BUNDLE_BYTES: usize = 256 << 10;

/// What is used again from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    value: Vec<u8>,
    draft: Draft,
    packer: Packer,
}

/// What [`Admission::finish`] gives.
pub(crate) struct Admitted<'db> {
    pub(crate) batch: Batch<'db>,
    /// The largest commit_ts seen.
    pub(crate) max_commit: CommitTs,
    /// Bytes put into `bundle` and `pending`.
    pub(crate) pending_bytes: usize,
    /// Writes that were known already.
    pub(crate) duplicates: usize,
}

/// Admits writes into one batch.
pub(crate) struct Admission<'a, 'db> {
    shared: &'a Shared,
    db: &'db Db,
    pairing: MutexGuard<'a, Pairing>,
    batch: Batch<'db>,
    scratch: &'a mut Scratch,
    /// The bundle that `scratch` has the draft of.
    open: Option<BundleId>,
    pending_bytes: usize,
    duplicates: usize,
}

impl<'a, 'db> Admission<'a, 'db> {
    pub(crate) fn new(shared: &'a Shared, db: &'db Db, scratch: &'a mut Scratch, capacity: usize) -> Self {
        let batch = db.batch(capacity);
        let pairing = shared.pairing.lock();
        scratch.draft.clear();
        Admission { shared, db, pairing, batch, scratch, open: None, pending_bytes: 0, duplicates: 0 }
    }

    /// Admits one write. An error is the write's own and leaves the batch as it was.
    pub(crate) fn write(&mut self, write: Write) -> WriteResult {
        match write {
            Write::Prewrite(prewrite) => self.prewrite(prewrite),
            Write::Commit(commit) => self.commit(commit),
            Write::Rollback(start_ts) => self.rollback(start_ts),
            Write::Lost { start_ts, through } => self.lost(start_ts, through),
            Write::Fake(ts) => self.fake(ts),
        }
    }

    /// Notes a timestamp that the oracle gave out before.
    pub(crate) fn offer(&mut self, ts: CommitTs) {
        if ts.ts() <= Ts::MAX {
            self.pairing.offer(ts);
        }
    }

    /// The batch is complete.
    pub(crate) fn finish(self) -> Admitted<'db> {
        let Admission { shared, pairing, mut batch, scratch, open, mut pending_bytes, duplicates, .. } = self;
        let max_commit = pairing.max_commit();
        // Others may have it while the bundle is compressed.
        drop(pairing);
        if let Some(id) = open {
            pending_bytes += put_bundle(shared, id, scratch, &mut batch);
        }
        Admitted { batch, max_commit, pending_bytes, duplicates }
    }

    fn prewrite(&mut self, prewrite: Prewrite) -> WriteResult {
        self.check_room()?;
        self.rest(prewrite, 0)
    }

    /// Whether anything came of a transaction.
    pub(crate) fn knows(&self, start_ts: StartTs) -> bool {
        self.pairing.knows(start_ts)
    }

    /// Whether a prewrite of which nothing is known may be written piece by piece; gives how many pieces.
    pub(crate) fn begin(&self, prewrite: &Prewrite) -> Result<u32, Error> {
        self.check_room()?;
        fragments_of(prewrite, self.shared.tuning.fragment_bytes)
    }

    /// Admits a prewrite whose first `written` pieces are in `pending` already.
    pub(crate) fn rest(&mut self, prewrite: Prewrite, written: u32) -> WriteResult {
        let piece = self.shared.tuning.fragment_bytes.max(1);
        let fragments = fragments_of(&prewrite, piece)?;
        let Prewrite { start_ts, schema_version, ddl, key, payload } = &prewrite;
        let small = fragments == 1 && record::HEADER_LEN + key.len() + payload.len() <= SMALL;
        let place = if small { Place::Bundle(self.bundle()) } else { Place::Pieces(fragments) };
        let body = Body {
            schema_version: *schema_version,
            ddl: *ddl,
            place,
            bytes: payload.len() as u64,
            check: record::payload_check(&payload[..payload.len().min(piece)]),
            held: (fragments == 1).then(|| payload.clone()),
        };
        let now = self.shared.clock.monotonic();
        match self.pairing.prewrite(*start_ts, key.clone(), body, now) {
            Ok(PrewriteStep::Store) => {}
            Ok(PrewriteStep::Duplicate) => {
                self.duplicates += 1;
                return Ok(());
            }
            Err(error) => {
                bundles::delete_pieces(*start_ts, written, &mut self.batch);
                return Err(error);
            }
        }
        self.shared.counters.payload_bytes.add(payload.len());
        if let Place::Bundle(id) = place {
            self.encode_piece(&prewrite, 0, 1);
            self.scratch.draft.add(*start_ts, &self.scratch.value);
            self.shared.bundles.lock().add(id);
            return Ok(());
        }
        for fragment in written..fragments {
            self.put_piece(&prewrite, fragment, fragments);
        }
        Ok(())
    }

    /// The bundle that the next small prewrite or commit goes into.
    fn bundle(&mut self) -> BundleId {
        if let Some(id) = self.open.take_if(|_| self.scratch.draft.bytes() >= BUNDLE_BYTES) {
            self.pending_bytes += put_bundle(self.shared, id, self.scratch, &mut self.batch);
        }
        *self.open.get_or_insert_with(|| self.shared.bundles.lock().begin())
    }

    /// Puts one piece into the batch.
    pub(crate) fn put_piece(&mut self, prewrite: &Prewrite, fragment: u32, fragments: u32) {
        self.encode_piece(prewrite, fragment, fragments);
        let value = self.scratch.packer.pack(&self.scratch.value);
        self.pending_bytes += value.len();
        let key = PendingKey { start_ts: prewrite.start_ts, fragment };
        self.batch.put(Cf::Pending, &key.encode(), value);
    }

    fn encode_piece(&mut self, prewrite: &Prewrite, fragment: u32, fragments: u32) {
        let piece = self.shared.tuning.fragment_bytes.max(1);
        let from = fragment as usize * piece;
        let bytes = &prewrite.payload[from..prewrite.payload.len().min(from + piece)];
        let header = Header {
            ddl: prewrite.ddl,
            fake: false,
            last: fragment + 1 == fragments,
            schema_version: prewrite.schema_version,
            sequence: fragment,
            payload_check: record::payload_check(bytes),
        };
        let attachment: &[u8] = if fragment == 0 { &prewrite.key } else { &[] };
        record::encode(&header, attachment, bytes, &mut self.scratch.value);
    }

    /// What waits for the watermark is kept in memory, and so are gaps: there must be an end to it.
    fn check_room(&self) -> Result<(), Error> {
        let (records, gaps) = (self.pairing.open_count(), self.pairing.gap_count());
        let limit = self.shared.tuning.open_transactions;
        if records + gaps < limit {
            return Ok(());
        }
        if gaps > limit / 2 {
            return Err(Error::TooManyGaps { gaps });
        }
        let oldest = self.pairing.unresolved(1, self.shared.clock.monotonic());
        // Without an undecided prewrite the watermark moves at the end of this batch.
        oldest
            .first()
            .map_or(Ok(()), |oldest| Err(Error::Stuck { oldest: oldest.start_ts, age: oldest.age, records }))
    }

    fn commit(&mut self, commit: Commit) -> WriteResult {
        let Commit { start_ts, commit_ts, extra } = commit;
        check_ts(start_ts.ts())?;
        check_ts(commit_ts.ts())?;
        if commit_ts.ts() <= start_ts.ts() {
            return Err(Error::invalid(format!(
                "transaction {start_ts}: its commit_ts {commit_ts} is not above its start_ts"
            )));
        }
        if extra.len() > MAX_ATTACHMENT {
            return Err(Error::invalid(format!(
                "transaction {start_ts}: its commit has {} bytes",
                extra.len()
            )));
        }
        let small = extra.len() <= SMALL;
        let mark = if small { Mark::Bundle(self.bundle()) } else { Mark::Key };
        match self.pairing.commit(start_ts, commit_ts, extra.clone(), mark)? {
            CommitStep::Store { lost } => {
                if lost {
                    self.batch.delete(Cf::Commit, &commit_key(start_ts));
                }
                self.put_commit(start_ts, commit_ts, mark, &extra);
            }
            CommitStep::Duplicate => self.duplicates += 1,
            CommitStep::AskLog => return self.commit_below(start_ts, commit_ts, &extra),
        }
        Ok(())
    }

    /// A commit at or below the watermark: known, or a gap.
    fn commit_below(&mut self, start_ts: StartTs, commit_ts: CommitTs, extra: &Bytes) -> WriteResult {
        let key = LogKey { commit_ts, start_ts, fragment: 0 }.encode();
        let db = self.db;
        // Rare, and the only read here: let others at the pairing state meanwhile.
        let stored =
            MutexGuard::unlocked(&mut self.pairing, || db.get(Cf::Log, &key).map(|value| value.is_some()))?;
        // What was purged cannot be told from what never was, unless its prewrite is still here.
        let known = stored || (commit_ts <= self.shared.safe_point() && !self.pairing.knows(start_ts));
        match self.pairing.commit_below(start_ts, commit_ts, extra, known) {
            BelowStep::Known { forget } => {
                self.duplicates += 1;
                self.delete_prewrite(start_ts, forget.unwrap_or(Place::NONE));
                Ok(())
            }
            BelowStep::Late => {
                self.put_marker(start_ts, commit_ts, Kind::Late, extra);
                let error = Error::Late { start_ts, commit_ts, watermark: self.pairing.watermark() };
                self.shared.late_commit(&error);
                Err(error)
            }
        }
    }

    fn fake(&mut self, ts: CommitTs) -> WriteResult {
        check_ts(ts.ts())?;
        match self.pairing.fake(ts)? {
            CommitStep::Store { .. } => self.put_marker(StartTs::from(ts.ts()), ts, Kind::Fake, &[]),
            CommitStep::Duplicate | CommitStep::AskLog => self.duplicates += 1,
        }
        Ok(())
    }

    fn rollback(&mut self, start_ts: StartTs) -> WriteResult {
        match self.pairing.rollback(start_ts)? {
            RollbackStep::Delete(place) => self.delete_prewrite(start_ts, place),
            RollbackStep::Find(place) => {
                self.delete_prewrite(start_ts, place);
                self.batch.delete(Cf::Commit, &commit_key(start_ts));
            }
            RollbackStep::Unknown => tracing::debug!(%start_ts, "a rollback without prewrite"),
        }
        Ok(())
    }

    fn lost(&mut self, start_ts: StartTs, through: CommitTs) -> WriteResult {
        check_ts(through.ts())?;
        match self.pairing.lose(start_ts, through) {
            LoseStep::Store(range) => {
                marker::encode_lost(range, &mut self.scratch.value);
                self.batch.put(Cf::Commit, &commit_key(start_ts), &self.scratch.value);
            }
            LoseStep::Delete(place) => self.delete_prewrite(start_ts, place),
            LoseStep::Unknown => self.duplicates += 1,
        }
        Ok(())
    }

    fn put_commit(&mut self, start_ts: StartTs, commit_ts: CommitTs, mark: Mark, extra: &[u8]) {
        match mark {
            Mark::Key => self.put_marker(start_ts, commit_ts, Kind::Commit, extra),
            Mark::Bundle(id) => {
                self.scratch.draft.commit(start_ts, commit_ts, extra);
                self.shared.bundles.lock().add(id);
            }
        }
    }

    fn put_marker(&mut self, start_ts: StartTs, commit_ts: CommitTs, kind: Kind, extra: &[u8]) {
        marker::encode(commit_ts, kind, extra, &mut self.scratch.value);
        self.batch.put(Cf::Commit, &commit_key(start_ts), &self.scratch.value);
    }

    fn delete_prewrite(&mut self, start_ts: StartTs, place: Place) {
        bundles::delete(&mut self.shared.bundles.lock(), start_ts, place, &mut self.batch);
    }
}

/// Puts a bundle into the batch; gives its bytes.
fn put_bundle(shared: &Shared, id: BundleId, scratch: &mut Scratch, batch: &mut Batch<'_>) -> usize {
    if !shared.bundles.lock().end(id, batch) {
        scratch.draft.clear();
        return 0;
    }
    let value = scratch.draft.finish(&mut scratch.packer);
    batch.put(Cf::Bundle, &bundle_key(id), value);
    value.len()
}

/// Into how many pieces a prewrite is cut.
fn fragments_of(prewrite: &Prewrite, piece: usize) -> Result<u32, Error> {
    let Prewrite { start_ts, key, payload, .. } = prewrite;
    check_ts(start_ts.ts())?;
    if key.len() > MAX_ATTACHMENT {
        return Err(Error::invalid(format!("transaction {start_ts}: its key has {} bytes", key.len())));
    }
    let count = payload.len().div_ceil(piece.max(1)).max(1);
    u32::try_from(count).ok().filter(|_| count <= MAX_FRAGMENTS).ok_or_else(|| {
        Error::invalid(format!("transaction {start_ts}: {} bytes are too many", payload.len()))
    })
}

/// Timestamps are positive and fit 63 bits, as etcd, MySQL and Go clients hold them.
fn check_ts(ts: Ts) -> Result<(), Error> {
    if ts == Ts::ZERO || ts > Ts::MAX {
        return Err(Error::invalid(format!("{ts} is no timestamp")));
    }
    Ok(())
}
