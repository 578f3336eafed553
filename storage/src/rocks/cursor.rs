//! A walk over the keys of one column family.

use std::path::{Path, PathBuf};

use rocksdb::{ColumnFamily, DB, DBRawIterator, ReadOptions};

use super::error::translate;
use crate::Error;

/// A key and its value.
pub(crate) type Entry<'a> = (&'a [u8], &'a [u8]);

/// Both, copied.
pub(crate) type OwnedEntry = (Vec<u8>, Vec<u8>);

/// How a cursor will be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// A few entries that others may come back to.
    Few,
    /// A megabyte or so, then the next piece with another cursor. RocksDB reads ahead by itself, more and more as it goes
    /// on: a fixed read-ahead would be paid for once for every file of level 0, whether it lies in the piece or not, and
    /// thrown away at the end of each piece.
    Piece,
    /// Everything.
    Whole,
}

/// Read at a time where everything will be.
const READ_AHEAD: usize = 2 << 20;

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
        pass: Pass,
    ) -> Self {
        let mut options = ReadOptions::default();
        if let Some(upper) = upper {
            options.set_iterate_upper_bound(upper);
        }
        // A long read passes once: it must not push out of the cache what others come back to.
        options.fill_cache(pass == Pass::Few);
        if pass == Pass::Whole {
            options.set_readahead_size(READ_AHEAD);
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
