//! Everything in order. Also what the other readers share.

use anyhow::ensure;
use binlog_storage::Store;
use binlog_types::{CommitTs, Range};

use crate::process::Meter;
use crate::report::Report;
use crate::session::Session;
use crate::store;

const BATCH_BYTES: usize = 1 << 20;

/// Reads a range; gives records and bytes of payload.
pub(super) fn scan(store: &Store, range: Range) -> anyhow::Result<(u64, u64)> {
    let mut scan = store.scan(range)?;
    let (mut records, mut bytes) = (0, 0);
    loop {
        let batch = scan.next_batch(BATCH_BYTES)?;
        if batch.is_empty() {
            return Ok((records, bytes));
        }
        records += batch.iter().filter(|f| f.last).count() as u64;
        bytes += batch.iter().map(|f| f.payload.len() as u64).sum::<u64>();
    }
}

/// All that can be read now.
pub(super) fn everything(store: &Store) -> Range {
    Range { after: store.safe_point(), through: store.watermark().max(CommitTs::new(1)) }
}

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let store = store::open(&session.store_dir()?)?;
    let meter = Meter::start(None)?;
    let (records, bytes) = scan(&store, everything(&store))?;
    let spent = meter.spent()?;
    store.close()?;
    ensure!(records > 0, "the store is empty: put a fill benchmark first");
    Ok(Report::new("readseq", records, bytes, &spent))
}
