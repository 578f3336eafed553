//! RocksDB's error texts become types here and nowhere else.

use std::path::Path;

use rocksdb::ErrorKind;

use crate::Error;

/// Makes a translator for errors met while `doing` something in `dir`.
pub(super) fn translate(doing: &'static str, dir: &Path) -> impl Fn(rocksdb::Error) -> Error {
    move |error| {
        let kind = error.kind();
        let message = error.into_string();
        if message.contains("No space left on device") || message.contains("NoSpace") {
            return Error::NoSpace { doing, message };
        }
        if message.contains("While lock file") || message.contains("lock hold by current process") {
            return Error::Locked { dir: dir.to_owned() };
        }
        match kind {
            ErrorKind::Corruption => Error::Corrupt { position: dir.display().to_string(), what: message },
            ErrorKind::NotFound
            | ErrorKind::NotSupported
            | ErrorKind::InvalidArgument
            | ErrorKind::IOError
            | ErrorKind::MergeInProgress
            | ErrorKind::Incomplete
            | ErrorKind::ShutdownInProgress
            | ErrorKind::TimedOut
            | ErrorKind::Aborted
            | ErrorKind::Busy
            | ErrorKind::Expired
            | ErrorKind::TryAgain
            | ErrorKind::CompactionTooLarge
            | ErrorKind::ColumnFamilyDropped
            | ErrorKind::Unknown => Error::Internal { doing, message },
        }
    }
}
