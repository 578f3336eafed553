//! Lets old records go.
//!
//! The safe point is stored durably first; only then are files dropped. What a file still holds below the point is taken
//! out by a compaction filter when RocksDB rewrites that file, once it is old ([`crate::Tuning::rewrite_after`]).
//! Readers are refused at or below the point from the moment it is stored, so they never see a half-dropped range.
//!
//! Schema entries are collected by [`crate::Store::collect_schema`], since only the layer above knows when an object was
//! made. Undecided prewrites survive however old they are.

use binlog_types::{CommitTs, Range};

use crate::Error;
use crate::failpoint::FailPoint;
use crate::format::keys::LogKey;
use crate::format::{meta, sealed};
use crate::queue::Item;
use crate::rocks::{Cf, Durability};
use crate::shared::Shared;

/// Moves the safe point to min(target, W), never down; notes what goes above `read`.
pub(crate) fn gc(shared: &Shared, target: CommitTs, read: Option<CommitTs>) -> Result<CommitTs, Error> {
    let _one_at_a_time = shared.gc_lock.lock();
    let db = shared.writable_db()?;
    let current = shared.safe_point();
    let safe_point = target.min(shared.watermark());
    if safe_point <= current {
        return Ok(current);
    }
    let mut ranges = shared.unread.lock().clone();
    if let Some(read) = read {
        note(&mut ranges, Range { after: read.max(current), through: safe_point });
    }
    let store = || {
        let mut batch = db.batch(64);
        batch.put(Cf::Meta, meta::UNREAD, &sealed::seal(&meta::ranges(&ranges)));
        batch.put(Cf::Meta, meta::SAFE_POINT, &sealed::seal(&meta::number(safe_point.raw())));
        db.write(batch, Durability::Synced)
    };
    store().map_err(|error| shared.health.poison(&error))?;
    shared.set_safe_point(safe_point);
    *shared.unread.lock() = ranges;
    shared.failpoints().hit(FailPoint::AfterSafePoint)?;
    // A closed queue has no gaps to forget: the next open does.
    let _ = shared.queue.push(Item::Purged(safe_point));
    // Inclusive bounds: the point itself goes, the first key above it stays out.
    let last =
        LogKey { commit_ts: safe_point, start_ts: binlog_types::StartTs::new(u64::MAX), fragment: u32::MAX };
    db.drop_files(Cf::Log, &last.encode())?;
    tracing::info!(%safe_point, "garbage collection moved the safe point");
    Ok(safe_point)
}

/// Adds a range that lies behind all others, or goes on where the last one ends.
fn note(ranges: &mut Vec<Range>, range: Range) {
    if range.through <= range.after {
        return;
    }
    match ranges.last_mut() {
        Some(last) if last.through >= range.after => last.through = last.through.max(range.through),
        _ => ranges.push(range),
    }
}
