//! The readers' baseline: the same data through a bare RocksDB iterator.

use anyhow::Context as _;

use crate::process::Meter;
use crate::report::Report;
use crate::session::Session;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let dir = session.store_dir()?;
    let settings = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&settings, &dir)?;
    let db = rocksdb::DB::open_cf_for_read_only(&settings, &dir, &families, false)?;
    let log = db.cf_handle("log").context("the store has no log family")?;
    let meter = Meter::start(None)?;
    let mut reading = rocksdb::ReadOptions::default();
    reading.set_readahead_size(4 << 20);
    let mut iterator = db.raw_iterator_cf_opt(log, reading);
    let (mut records, mut bytes) = (0_u64, 0_u64);
    iterator.seek_to_first();
    while let Some((_, value)) = iterator.item() {
        records += 1;
        bytes += value.len() as u64;
        iterator.next();
    }
    iterator.status()?;
    Ok(Report::new("rawiterate", records, bytes, &meter.spent()?))
}
