//! Payloads that are too large for memory, in files without a name.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use binlog_catalog::Blob;
use bytes::Bytes;

/// Payloads of more bytes are large. It does not depend on the budget: where the parts of a large transaction are cut must not change from
/// one run to the next.
pub(crate) const LARGE: usize = 4 << 20;

/// Bytes of the disk that one pump's transactions may take; one alone may take more.
pub(crate) const ASIDE: usize = 1 << 30;

/// Bytes that two payloads are compared by at once.
const CHUNK: u64 = 256 << 10;

/// Where large transactions are put aside, and which are large.
#[derive(Clone, Debug)]
pub(crate) struct SpoolDir(pub(crate) PathBuf);

/// A payload in a file, which goes with the last handle on it.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    len: u64,
}

impl SpoolDir {
    /// An empty file.
    pub(crate) async fn create(&self) -> Result<Spool> {
        let directory = self.0.clone();
        blocking(move || Ok(Spool { file: nameless(&directory)?, len: 0 })).await
    }
}

impl Spool {
    /// Writes pieces behind what is there.
    pub(crate) async fn append(self, pieces: Vec<Bytes>) -> Result<Self> {
        blocking(move || {
            let Spool { mut file, mut len } = self;
            for piece in pieces {
                file.write_all(&piece)?;
                len += piece.len() as u64;
            }
            Ok(Spool { file, len })
        })
        .await
    }
}

/// Disks may take their time; the tasks of the stream must not.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::other)?
}

fn nameless(directory: &Path) -> Result<File> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".large-transaction-{}-{number}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            // A process that had this one's number died between the two calls.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

impl Blob for Spool {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(out, offset)
    }
}

/// Whether two payloads are the same, wherever they lie.
pub(crate) fn same(a: (&Bytes, Option<&Arc<Spool>>), b: (&Bytes, Option<&Arc<Spool>>)) -> Result<bool> {
    let len = |(bytes, spool): (&Bytes, Option<&Arc<Spool>>)| spool.map_or(bytes.len() as u64, |s| s.len);
    let (length, mut at) = (len(a), 0);
    if len(b) != length {
        return Ok(false);
    }
    if let ((a, None), (b, None)) = (a, b) {
        return Ok(a == b);
    }
    let read = |(bytes, spool): (&Bytes, Option<&Arc<Spool>>), at: u64, count: u64| match spool {
        Some(spool) => {
            let mut out = vec![0; count as usize];
            spool.read_at(at, &mut out).map(|()| Bytes::from(out))
        }
        None => Ok(bytes.slice(at as usize..(at + count) as usize)),
    };
    while at < length {
        let count = CHUNK.min(length - at);
        if read(a, at, count)? != read(b, at, count)? {
            return Ok(false);
        }
        at += count;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_payload_is_the_same_wherever_it_lies() {
        let dir = SpoolDir(std::env::temp_dir());
        let whole = Bytes::from((0..600_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
        let pieces = vec![whole.slice(..1), whole.slice(1..400_000)];
        let spool = dir.create().await.unwrap().append(pieces).await.unwrap();
        let spool = Arc::new(spool.append(vec![whole.slice(400_000..)]).await.unwrap());
        let empty = Bytes::new();
        assert!(same((&empty, Some(&spool)), (&whole, None)).unwrap());
        assert!(same((&whole, None), (&empty, Some(&spool))).unwrap());
        assert!(same((&empty, Some(&spool)), (&empty, Some(&spool))).unwrap());
        let mut other = whole.to_vec();
        other[599_999] ^= 1;
        assert!(!same((&empty, Some(&spool)), (&other.into(), None)).unwrap());
        assert!(!same((&empty, Some(&spool)), (&whole.slice(1..), None)).unwrap());
        let mut out = [0; 3];
        assert!(spool.read_at(599_998, &mut out).is_err(), "it ends before");
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_an_error() {
        assert!(SpoolDir("/no/such/folder".into()).create().await.is_err());
    }
}
