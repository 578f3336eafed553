//! Where the write-ahead log ends, so that a synced batch can end where a page does.
//!
//! A sync writes whole pages. A batch that ends within one has it written again with the next batch: a page a sync, which under many
//! writers is a fourth of all that the log writes. Filling the page up costs half of that. What is said here is a guess that costs nothing
//! but that half page where it is wrong: another thread may have written meanwhile, or RocksDB may have begun another file.

use std::fs::File;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

const PAGE: u64 = 4096;
/// RocksDB's log consists of blocks of this length …
const BLOCK: u64 = 32 << 10;
/// … in which each piece of a record has a header.
const HEADER: u64 = 7;
/// Filling up smaller batches would make the log many times as long.
const WORTHWHILE: usize = 2 << 10;

#[derive(Debug, Default)]
struct State {
    file: Option<File>,
    /// Its length when it was looked at last.
    length: u64,
}

/// The end of the newest file of the log.
#[derive(Debug)]
pub(super) struct Tail {
    dir: PathBuf,
    state: Mutex<State>,
}

impl Tail {
    pub(super) fn new(dir: &Path) -> Self {
        Tail { dir: dir.to_owned(), state: Mutex::default() }
    }

    /// How many bytes to add to a batch of this length, if any.
    pub(super) fn padding(&self, batch: usize) -> Option<usize> {
        if batch < WORTHWHILE {
            return None;
        }
        let mut state = self.state.lock();
        let mut length = state.file.as_ref().and_then(length_of);
        // The last batch went elsewhere if this file has not grown.
        if length.is_none_or(|length| length == state.length) {
            state.file = newest(&self.dir).and_then(|path| File::open(path).ok());
            length = state.file.as_ref().and_then(length_of);
        }
        state.length = length?;
        fill(end_of(state.length, batch as u64))
    }
}

fn length_of(file: &File) -> Option<u64> {
    file.metadata().ok().map(|metadata| metadata.len())
}

/// The file of the log with the highest number.
fn newest(dir: &Path) -> Option<PathBuf> {
    let number = |path: &PathBuf| {
        let log = path.extension().is_some_and(|extension| extension == "log");
        log.then(|| path.file_stem()?.to_str()?.parse::<u64>().ok()).flatten()
    };
    let entries = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    entries.filter_map(|path| Some((number(&path)?, path))).max().map(|(_, path)| path)
}

/// Where a record ends that begins at `from`.
fn end_of(from: u64, length: u64) -> u64 {
    let (mut at, mut left) = (from, length);
    loop {
        let room = BLOCK - at % BLOCK;
        if room < HEADER {
            at += room;
            continue;
        }
        let piece = left.min(room - HEADER);
        at += HEADER + piece;
        left -= piece;
        if left == 0 {
            return at;
        }
    }
}

/// The length of a blob in a batch (behind a tag and a length of its own) with which a record that ended at `end` ends with its page.
fn fill(end: u64) -> Option<usize> {
    let missing = usize::try_from((PAGE - end % PAGE) % PAGE).ok()?;
    // A length of two bytes begins at 128; with 130 missing, neither form fits.
    match missing {
        0..2 | 130 => None,
        2..130 => Some(missing - 2),
        _ => Some(missing - 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_behind_their_headers() {
        assert_eq!(end_of(0, 100), 107);
        assert_eq!(end_of(0, BLOCK - HEADER), BLOCK);
        assert_eq!(end_of(0, BLOCK), BLOCK + 2 * HEADER);
        assert_eq!(end_of(BLOCK - 3, 10), BLOCK + 17);
        assert_eq!(end_of(BLOCK - HEADER, 10), BLOCK + 17);
    }

    #[test]
    fn synced_batches_end_with_a_page_of_the_file() {
        use crate::rocks::{Cf, Db, Durability, Setup};
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), &Setup::small()).unwrap();
        let mut whole = 0;
        for n in 1..100_usize {
            let mut batch = db.batch(64);
            batch.put(Cf::Pending, b"key", &vec![n as u8; 2000 + 997 * (n % 40)]);
            db.write(batch, Durability::Synced).unwrap();
            let length = newest(dir.path()).unwrap().metadata().unwrap().len();
            whole += usize::from(length.is_multiple_of(PAGE));
            if n % 30 == 0 {
                // RocksDB begins another file.
                db.flush(Cf::Pending).unwrap();
            }
        }
        assert!(whole > 90, "{whole} of 99");
    }

    #[test]
    fn what_is_filled_up_ends_with_its_page() {
        for length in 1..3 * PAGE {
            let end = end_of(5000, length);
            if let Some(blob) = fill(end) {
                let blob = blob as u64;
                let whole = length + 1 + if blob < 128 { 1 } else { 2 } + blob;
                assert_eq!(end_of(5000, whole) % PAGE, 0, "{length}");
            } else {
                assert!([0, PAGE - 1, PAGE - 130].contains(&(end % PAGE)), "{length}");
            }
        }
    }
}
