//! What stands under one timestamp, for people who debug.

use binlog_types::{CommitTs, Range, StartTs, Ts};
use bytes::{Bytes, BytesMut};

use crate::format::record;
use crate::record::RawRecord;
use crate::rocks::Db;
use crate::scan::Scan;
use crate::shared::Shared;
use crate::stored::{self, Stored};
use crate::{Commit, Error, Prewrite};
use std::sync::Arc;

/// Looks a timestamp up: as a commit_ts of a record, then as a start_ts that is still pending, then as a gap.
pub(crate) fn lookup(shared: &Arc<Shared>, ts: Ts) -> Result<Option<RawRecord>, Error> {
    if let Some(record) = record_at(shared, CommitTs::from(ts))? {
        return Ok(Some(record));
    }
    let db = shared.db()?;
    let start_ts = StartTs::from(ts);
    let committed = shared.pairing.lock().committed(start_ts);
    if let Some(prewrite) = read_prewrite(shared, &db, start_ts)? {
        return Ok(Some(RawRecord::Prewrite {
            prewrite,
            commit_ts: committed.map(|(commit_ts, _)| commit_ts),
        }));
    }
    if let Some((commit_ts, extra)) = committed {
        // The watermark has passed it, and no file was made since.
        if let Some(record) = record_at(shared, commit_ts)? {
            return Ok(Some(record));
        }
        return Ok(Some(RawRecord::Commit(Commit { start_ts, commit_ts, extra })));
    }
    let commit_ts = CommitTs::from(ts);
    let orphan = shared.pairing.lock().orphan_at(commit_ts);
    Ok(orphan.map(|(start_ts, extra)| RawRecord::Commit(Commit { start_ts, commit_ts, extra })))
}

fn record_at(shared: &Arc<Shared>, commit_ts: CommitTs) -> Result<Option<RawRecord>, Error> {
    if commit_ts <= shared.safe_point() || commit_ts > shared.watermark() {
        return Ok(None);
    }
    let range = Range { after: CommitTs::from(commit_ts.ts().prev()), through: commit_ts };
    let mut scan = Scan::new(Arc::clone(shared), range)?;
    let mut fragments = Vec::new();
    loop {
        let batch = scan.next_batch(usize::MAX)?;
        if batch.is_empty() {
            return Ok((!fragments.is_empty()).then_some(RawRecord::Record(fragments)));
        }
        fragments.extend(batch);
    }
}

fn read_prewrite(shared: &Shared, db: &Db, start_ts: StartTs) -> Result<Option<Prewrite>, Error> {
    let Some(place) = shared.pairing.lock().place_of(start_ts) else { return Ok(None) };
    let mut prewrite: Option<Prewrite> = None;
    let mut payload = BytesMut::new();
    for fragment in 0..place.fragments() {
        let piece = record::decode(&Stored::default().piece(db, start_ts, place, fragment)?)
            .map_err(|error| error.at(|| stored::position(start_ts, place, fragment)))?;
        payload.extend_from_slice(&piece.payload);
        prewrite.get_or_insert_with(|| Prewrite {
            start_ts,
            schema_version: piece.header.schema_version,
            ddl: piece.header.ddl,
            key: piece.attachment.clone(),
            payload: Bytes::new(),
        });
    }
    Ok(prewrite.map(|prewrite| Prewrite { payload: payload.freeze(), ..prewrite }))
}
