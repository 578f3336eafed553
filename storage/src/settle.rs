//! Moves records into `log`: in commit_ts order, without the WAL. Their prewrites and markers stay under the WAL until a
//! flush of `log` covers them.

use std::sync::Arc;

use binlog_types::StartTs;
use bytes::Bytes;

use crate::Error;
use crate::bundles::{Mark, Place};
use crate::failpoint::{FailPoint, FailPoints};
use crate::format::keys::{LogKey, commit_key};
use crate::format::marker::{self, Kind};
use crate::format::record::{self, Header};
use crate::pairing::{Body, Outcome, Ready};
use crate::rocks::{Batch, Cf, Db, Durability};
use crate::stored::{self, Stored};

/// A transaction that is in `log`: its prewrite and its marker can be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Covered {
    pub(crate) start_ts: StartTs,
    pub(crate) place: Place,
    pub(crate) mark: Mark,
}

/// What a call of [`Settler::settle`] did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settled {
    pub(crate) records: usize,
    /// Commits without prewrite.
    pub(crate) missing: usize,
    pub(crate) bytes: usize,
    pub(crate) read_back: usize,
}

/// Writes `log`.
pub(crate) struct Settler {
    db: Arc<Db>,
    failpoints: FailPoints,
    /// Bytes put into `log` since [`Settler::take_covered`].
    pub(crate) log_bytes: usize,
    covered: Vec<Covered>,
    stored: Stored,
    scratch: Vec<u8>,
}

/// How much goes into one batch: bounds memory, and how long others wait. The watermark shows the records only later.
const BATCH_BYTES: usize = 1 << 20;

/// Called between batches.
pub(crate) type Breathe<'a> = &'a mut dyn FnMut() -> Result<(), Error>;

impl Settler {
    pub(crate) fn new(db: Arc<Db>, failpoints: FailPoints) -> Self {
        Settler {
            db,
            failpoints,
            log_bytes: 0,
            covered: Vec::new(),
            stored: Stored::default(),
            scratch: Vec::new(),
        }
    }

    /// Puts records into `log`.
    pub(crate) fn settle(&mut self, ready: &[Ready], breathe: Breathe<'_>) -> Result<Settled, Error> {
        let mut done = Settled::default();
        if ready.is_empty() {
            return Ok(done);
        }
        self.failpoints.hit(FailPoint::BeforeSettle)?;
        let db = Arc::clone(&self.db);
        let mut batch = db.batch(64 << 10);
        let mut staying = db.batch(0);
        for record in ready {
            let Ready { start_ts, mark, .. } = *record;
            let place = match &record.outcome {
                // The marker stays and says what is missing.
                Outcome::Missing => {
                    done.missing += 1;
                    if mark != Mark::Key {
                        // Not in its bundle, which would stay for it alone.
                        self.put_marker(record, &mut staying);
                        self.covered.push(Covered { start_ts, place: Place::NONE, mark });
                    }
                    tracing::error!(
                        start_ts = %record.start_ts, commit_ts = %record.commit_ts,
                        "Matching P-binlog not found: the transaction is left out, and its place is a gap"
                    );
                    continue;
                }
                Outcome::Fake => {
                    self.put_fake(record, &mut batch);
                    Place::NONE
                }
                Outcome::Joined(body) => {
                    match &body.held {
                        Some(payload) => self.put_held(record, body, payload, &mut batch),
                        None => {
                            done.read_back += 1;
                            self.put_stored(record, body, &db, &mut batch, &mut done, breathe)?;
                        }
                    }
                    body.place
                }
            };
            done.records += 1;
            self.covered.push(Covered { start_ts, place, mark });
            if batch.bytes() >= BATCH_BYTES {
                done.bytes += batch.bytes();
                db.write(std::mem::replace(&mut batch, db.batch(64 << 10)), Durability::Memory)?;
                breathe()?;
            }
        }
        if !batch.is_empty() {
            done.bytes += batch.bytes();
            db.write(batch, Durability::Memory)?;
        }
        if !staying.is_empty() {
            db.write(staying, Durability::Logged)?;
        }
        self.log_bytes += done.bytes;
        self.failpoints.hit(FailPoint::AfterSettle)?;
        Ok(done)
    }

    /// Whether `log` has a record already; if so, its marker may go with the next flush.
    pub(crate) fn has(&mut self, ready: &Ready) -> Result<bool, Error> {
        let known = in_log(&self.db, ready)?;
        if known {
            let Ready { start_ts, mark, .. } = *ready;
            self.covered.push(Covered { start_ts, place: Place::NONE, mark });
        }
        Ok(known)
    }

    /// What a flush of `log` from now on covers.
    pub(crate) fn take_covered(&mut self) -> Vec<Covered> {
        self.log_bytes = 0;
        std::mem::take(&mut self.covered)
    }

    fn put_marker(&mut self, ready: &Ready, batch: &mut Batch<'_>) {
        marker::encode(ready.commit_ts, Kind::Commit, &ready.extra, &mut self.scratch);
        batch.put(Cf::Commit, &commit_key(ready.start_ts), &self.scratch);
    }

    fn put_fake(&mut self, ready: &Ready, batch: &mut Batch<'_>) {
        record::encode(&fake_header(), &ready.extra, &[], &mut self.scratch);
        batch.put(Cf::Log, &log_key(ready, 0), &self.scratch);
    }

    fn put_held(&mut self, ready: &Ready, body: &Body, payload: &Bytes, batch: &mut Batch<'_>) {
        let header = Header {
            ddl: body.ddl,
            fake: false,
            last: true,
            schema_version: body.schema_version,
            sequence: 0,
            payload_check: body.check,
        };
        record::encode(&header, &ready.extra, payload, &mut self.scratch);
        batch.put(Cf::Log, &log_key(ready, 0), &self.scratch);
    }

    fn put_stored<'db>(
        &mut self,
        ready: &Ready,
        body: &Body,
        db: &'db Db,
        batch: &mut Batch<'db>,
        done: &mut Settled,
        breathe: Breathe<'_>,
    ) -> Result<(), Error> {
        for fragment in 0..body.place.fragments() {
            let value = self.stored.piece(db, ready.start_ts, body.place, fragment)?;
            let position = || stored::position(ready.start_ts, body.place, fragment);
            let (header, _, payload) = record::verify(&value).map_err(|error| error.at(position))?;
            let extra: &[u8] = if fragment == 0 { &ready.extra } else { &[] };
            record::encode(&header, extra, payload, &mut self.scratch);
            batch.put(Cf::Log, &log_key(ready, fragment), &self.scratch);
            if batch.bytes() >= BATCH_BYTES {
                done.bytes += batch.bytes();
                db.write(std::mem::replace(batch, db.batch(64 << 10)), Durability::Memory)?;
                breathe()?;
            }
        }
        Ok(())
    }
}

/// Whether `log` has a record.
pub(crate) fn in_log(db: &Db, ready: &Ready) -> Result<bool, Error> {
    Ok(db.get(Cf::Log, &log_key(ready, 0))?.is_some())
}

fn log_key(ready: &Ready, fragment: u32) -> [u8; crate::format::keys::LOG_LEN] {
    LogKey { commit_ts: ready.commit_ts, start_ts: ready.start_ts, fragment }.encode()
}

/// The header of a filler.
pub(crate) fn fake_header() -> Header {
    Header {
        ddl: false,
        fake: true,
        last: true,
        schema_version: binlog_types::SchemaVersion(0),
        sequence: 0,
        payload_check: record::payload_check(&[]),
    }
}
