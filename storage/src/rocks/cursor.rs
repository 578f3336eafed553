//! A walk over the keys of one column family.

use std::path::{Path, PathBuf};

use rocksdb::{ColumnFamily, DB, DBRawIterator, ReadOptions};

use super::error::translate;
use crate::Error;

/// A key and its value.
pub(crate) type Entry<'a> = (&'a [u8], &'a [u8]);

/// Stands on an entry, or behind the last one.
pub(crate) struct Cursor<'db> {
    iterator: DBRawIterator<'db>,
    dir: PathBuf,
}

impl<'db> Cursor<'db> {
    pub(super) fn open(
        db: &'db DB,
        family: &ColumnFamily,
        dir: &Path,
        lower: &[u8],
        upper: Option<&[u8]>,
        readahead: usize,
    ) -> Self {
        let mut options = ReadOptions::default();
        if let Some(upper) = upper {
            options.set_iterate_upper_bound(upper);
        }
        if readahead > 0 {
            // A long read passes once: it must not push out of the cache what others come back to.
            options.set_readahead_size(readahead);
            options.fill_cache(false);
        }
        let mut iterator = db.raw_iterator_cf_opt(family, options);
        iterator.seek(lower);
        Cursor { iterator, dir: dir.to_owned() }
    }

    /// The entry under the cursor; `None` behind the last one.
    pub(crate) fn entry(&self) -> Result<Option<Entry<'_>>, Error> {
        match self.iterator.item() {
            Some(entry) => Ok(Some(entry)),
            None => self.iterator.status().map(|()| None).map_err(translate("iterate", &self.dir)),
        }
    }

    /// Steps on.
    pub(crate) fn advance(&mut self) {
        self.iterator.next();
    }

    /// Jumps to the first entry at or above `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        self.iterator.seek(key);
    }
}
