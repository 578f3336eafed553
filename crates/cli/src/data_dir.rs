//! The directory that a program keeps for itself, and files in it that outlive it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A directory that no other process uses. Unlocked by the system when it is dropped, or when the process ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Why a directory is not ours.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// Another process holds it.
    #[error("{0:?}: file already locked by another process: stop it, or set another data-dir")]
    Held(PathBuf),
    /// It cannot be made or locked.
    #[error("cannot {action} {path:?}: {cause}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// How it failed.
        cause: io::Error,
    },
}

impl DirLock {
    /// Makes the directory (0700) if need be, and locks its `.lock`.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn take(dir: &Path) -> Result<Self, DirError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |cause| DirError::File { action, path, cause }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("create", dir))?;
        let path = dir.join(".lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&path).map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DirError::Held(dir.to_owned())),
            Err(TryLockError::Error(cause)) => Err(failed("lock", &path)(cause)),
        }
    }
}

/// A directory that no process may begin to write to as long as this lives. Nothing is made or changed in it; several may read it at once.
#[derive(Debug)]
pub struct ReadLock {
    _file: Option<File>,
}

impl ReadLock {
    /// Of a data directory, or of the `binlog` directory in one. What nobody ever locked is taken as it is.
    ///
    /// # Errors
    /// [`DirError::Held`] where a process writes to it.
    pub fn take(dir: &Path) -> Result<Self, DirError> {
        let above = dir.parent().filter(|_| dir.file_name().is_some_and(|name| name == "binlog"));
        for dir in [Some(dir), above].into_iter().flatten() {
            let Ok(file) = File::open(dir.join(".lock")) else { continue };
            match file.try_lock_shared() {
                Ok(()) => return Ok(ReadLock { _file: Some(file) }),
                Err(TryLockError::WouldBlock) => return Err(DirError::Held(dir.to_owned())),
                // A file system without locks has no pump on it that holds one.
                Err(TryLockError::Error(_)) => {}
            }
        }
        Ok(ReadLock { _file: None })
    }
}

/// This machine's name, as the defaults of node ids have it.
///
/// # Errors
/// When the system does not tell.
pub fn hostname() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned())
}

/// Replaces a file (0600): a crash leaves the old one or the new one, and the new one once this returned.
///
/// # Errors
/// Whatever the file system says; the old file then still stands.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let staged = path.with_added_extension("tmp");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&staged, path)?;
    // The rename is durable only once the directory is.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/data");
        let first = DirLock::take(&path).unwrap();
        assert!(matches!(DirLock::take(&path), Err(DirError::Held(_))));
        drop(first);
        DirLock::take(&path).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(matches!(DirLock::take(&dir.path().join("file")), Err(DirError::File { .. })));
    }

    #[test]
    fn who_reads_keeps_writers_out_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, inner) = (dir.path().join("data"), dir.path().join("data/binlog"));
        fs::create_dir_all(&inner).unwrap();
        ReadLock::take(&path).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "no lock file is made");
        let writer = DirLock::take(&path).unwrap();
        for dir in [&path, &inner] {
            assert!(matches!(ReadLock::take(dir), Err(DirError::Held(_))), "{dir:?}");
        }
        drop(writer);
        let (_one, _two) = (ReadLock::take(&path).unwrap(), ReadLock::take(&inner).unwrap());
        assert!(matches!(DirLock::take(&path), Err(DirError::Held(_))));
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        replace_file(&path, b"old and long").unwrap();
        replace_file(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else stays");
    }
}
