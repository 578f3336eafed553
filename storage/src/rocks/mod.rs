//! RocksDB as this store uses it. No other module names the `rocksdb` crate.

mod cursor;
mod error;
mod numbers;
mod setup;
mod wal;

use std::path::{Path, PathBuf};

use rocksdb::{ColumnFamily, DB, DBRecoveryMode, FlushOptions, WriteBatch, WriteOptions};

use crate::Error;
pub(crate) use cursor::{Cursor, OwnedEntry, Pass};
use error::translate;
pub(crate) use setup::Setup;

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cf {
    Bundle,
    Pending,
    Commit,
    Log,
    Schema,
    Meta,
}

impl Cf {
    pub(crate) const ALL: [Cf; 6] = [Cf::Bundle, Cf::Pending, Cf::Commit, Cf::Log, Cf::Schema, Cf::Meta];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Cf::Bundle => "bundle",
            Cf::Pending => "pending",
            Cf::Commit => "commit",
            Cf::Log => "log",
            Cf::Schema => "schema",
            Cf::Meta => "meta",
        }
    }
}

/// How far a write must have got when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// On the disk: survives a power failure.
    Synced,
    /// With the system: survives the death of the process.
    Logged,
    /// In memory only: survives nothing.
    Memory,
}

/// What fills a page.
static ZEROS: [u8; 4096] = [0; 4096];

/// An open database.
pub(crate) struct Db {
    db: DB,
    options: rocksdb::Options,
    dir: PathBuf,
    tail: wal::Tail,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Db {
    /// Opens `dir`, making it if needed.
    pub(crate) fn open(dir: &Path, setup: &Setup) -> Result<Self, Error> {
        let options = setup.db();
        let families = Cf::ALL.map(|cf| (cf.name(), setup.family(cf)));
        let db = DB::open_cf_with_opts(&options, dir, families).map_err(translate("open", dir))?;
        Ok(Db { db, options, dir: dir.to_owned(), tail: wal::Tail::new(dir) })
    }

    /// Opens `dir` without writing to it.
    pub(crate) fn open_read_only(dir: &Path, setup: &Setup) -> Result<Self, Error> {
        Self::open_for_reading(dir, setup, setup.db())
    }

    /// As [`Db::open_read_only`], with what can be read of a damaged write-ahead log.
    pub(crate) fn open_damaged(dir: &Path, setup: &Setup) -> Result<Self, Error> {
        let mut options = setup.db();
        options.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
        Self::open_for_reading(dir, setup, options)
    }

    fn open_for_reading(dir: &Path, setup: &Setup, mut options: rocksdb::Options) -> Result<Self, Error> {
        if !dir.join("CURRENT").is_file() {
            return Err(Error::NotAStore { dir: dir.to_owned() });
        }
        options.create_if_missing(false);
        options.create_missing_column_families(false);
        let there = DB::list_cf(&options, dir).map_err(translate("open for reading", dir))?;
        let families = Cf::ALL
            .into_iter()
            // Stores of format 1 have none, and none can be made here.
            .filter(|cf| *cf != Cf::Bundle || there.iter().any(|name| name == cf.name()))
            .map(|cf| (cf.name(), setup.family(cf)));
        let db = DB::open_cf_with_opts_for_read_only(&options, dir, families, false)
            .map_err(translate("open for reading", dir))?;
        Ok(Db { db, options, dir: dir.to_owned(), tail: wal::Tail::new(dir) })
    }

    fn family(&self, cf: Cf) -> &ColumnFamily {
        self.db.cf_handle(cf.name()).expect("open made sure of every column family")
    }

    /// Whether a column family is there: a store of an earlier version that is only read may lack one.
    pub(crate) fn has(&self, cf: Cf) -> bool {
        self.db.cf_handle(cf.name()).is_some()
    }

    /// An empty batch.
    pub(crate) fn batch(&self, capacity: usize) -> Batch<'_> {
        // What is only read is not written to.
        let families =
            Cf::ALL.map(|cf| self.db.cf_handle(cf.name()).unwrap_or_else(|| self.family(Cf::Meta)));
        Batch { inner: WriteBatch::with_capacity_bytes(capacity), families }
    }

    /// Applies a batch as a whole.
    pub(crate) fn write(&self, mut batch: Batch<'_>, durability: Durability) -> Result<(), Error> {
        if batch.is_empty() && durability != Durability::Synced {
            return Ok(());
        }
        if durability == Durability::Synced
            && let Some(padding) = self.tail.padding(batch.bytes())
        {
            // It goes into the log only.
            batch.inner.put_log_data(&ZEROS[..padding]);
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        options.disable_wal(durability == Durability::Memory);
        self.db.write_opt(batch.inner, &options).map_err(translate("write", &self.dir))
    }

    /// One value.
    pub(crate) fn get<'db>(
        &'db self,
        cf: Cf,
        key: &[u8],
    ) -> Result<Option<impl AsRef<[u8]> + use<'db>>, Error> {
        self.db.get_pinned_cf(self.family(cf), key).map_err(translate("read", &self.dir))
    }

    /// Walks the keys in `[lower, upper)`.
    pub(crate) fn cursor(&self, cf: Cf, lower: &[u8], upper: Option<&[u8]>, pass: Pass) -> Cursor<'_> {
        Cursor::open(&self.db, self.family(cf), &self.dir, lower, upper, pass)
    }

    /// The last key and its value.
    pub(crate) fn last_entry(&self, cf: Cf) -> Result<Option<OwnedEntry>, Error> {
        let mut iterator = self.db.raw_iterator_cf(self.family(cf));
        iterator.seek_to_last();
        iterator.status().map_err(translate("iterate", &self.dir))?;
        Ok(iterator.item().map(|(key, value)| (key.to_vec(), value.to_vec())))
    }

    /// Writes a column family's memory into a file; returns when that is durable.
    pub(crate) fn flush(&self, cf: Cf) -> Result<(), Error> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db.flush_cf_opt(self.family(cf), &options).map_err(translate("flush", &self.dir))
    }

    /// Drops the files whose keys are all at or below `last`, which the compaction filter would remove.
    pub(crate) fn drop_files(&self, cf: Cf, last: &[u8]) -> Result<(), Error> {
        let family = self.family(cf);
        self.db.delete_file_in_range_cf(family, &[][..], last).map_err(translate("drop files", &self.dir))?;
        // That leaves those of level 0 alone, and the last one would lie there for as long as no other comes. Its keys are
        // its own, so that a compaction of them takes this file only, and writes none.
        let files = self.db.live_files().map_err(translate("list files", &self.dir))?;
        let of_level_0 = files.into_iter().filter(|f| f.level == 0 && f.column_family_name == cf.name());
        for (start, end) in of_level_0.filter_map(|file| file.start_key.zip(file.end_key)) {
            if end.as_slice() <= last {
                self.db.compact_range_cf(family, Some(start), Some(end));
            }
        }
        Ok(())
    }

    /// The size of all files that begin below `upper`.
    pub(crate) fn file_bytes(&self, cf: Cf, upper: &[u8]) -> Result<u64, Error> {
        let files = self.db.live_files().map_err(translate("list files", &self.dir))?;
        let below = files.iter().filter(|file| {
            file.column_family_name == cf.name()
                && file.start_key.as_deref().is_some_and(|start| start < upper)
        });
        Ok(below.map(|file| file.size as u64).sum())
    }

    /// Which file holds `key`, for error messages.
    pub(crate) fn file_of(&self, cf: Cf, key: &[u8]) -> Option<String> {
        let files = self.db.live_files().ok()?;
        let held = files.into_iter().find(|file| {
            file.column_family_name == cf.name()
                && file.start_key.as_deref().is_some_and(|start| start <= key)
                && file.end_key.as_deref().is_some_and(|end| key <= end)
        });
        held.map(|file| file.name)
    }
}

/// Writes that are applied together.
pub(crate) struct Batch<'db> {
    inner: WriteBatch,
    families: [&'db ColumnFamily; Cf::ALL.len()],
}

impl Batch<'_> {
    pub(crate) fn put(&mut self, cf: Cf, key: &[u8], value: &[u8]) {
        self.inner.put_cf(&self.families[cf as usize], key, value);
    }

    pub(crate) fn delete(&mut self, cf: Cf, key: &[u8]) {
        self.inner.delete_cf(&self.families[cf as usize], key);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.inner.size_in_bytes()
    }
}
