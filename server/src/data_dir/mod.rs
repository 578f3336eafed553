//! The data directory: its lock, the node's name in it, and whose it is.
//!
//! ```text
//! DATA-DIR/.lock    flock, held as long as the process lives
//! DATA-DIR/.node    the node's name
//! DATA-DIR/binlog/  the store
//! ```
//!
//! An original pump keeps `kv/` and `value/` there; see [`original`].

pub(crate) mod original;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use binlog_types::NodeId;
use rustix::fs::{FlockOperation, flock};

use crate::Error;
use crate::config::HostPort;

const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// A locked data directory.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Unlocked by the system when it is closed.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be, and locks it.
    ///
    /// # Errors
    /// When another process holds it.
    pub(crate) fn lock(path: &Path) -> Result<Self, Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(Error::file("create", path))?;
        let lock_path = path.join(".lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(Error::file("open", &lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DataDir { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked(path.to_owned())),
            Err(errno) => Err(Error::file("lock", lock_path)(errno.into())),
        }
    }

    /// Where the store lives.
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("binlog")
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The node's name: the one in the directory, else the configured one, else `HOSTNAME:PORT`. It is written down, so
    /// that a later change of the settings does not make another node of it in silence.
    ///
    /// # Errors
    /// An unreadable or unusable name.
    pub(crate) fn node_id(&self, configured: Option<&NodeId>, listen: &HostPort) -> Result<NodeId, Error> {
        let path = self.path.join(".node");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let id = NodeId::new(&text).map_err(|e| Error::Config(format!("{path:?}: {e}")))?;
                if configured.is_some_and(|configured| configured != &id) {
                    tracing::warn!(node_id = %id, configured = ?configured.map(NodeId::as_str), "you had a node ID in local file, which is used");
                }
                Ok(id)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let id = match configured {
                    Some(id) => id.clone(),
                    None => {
                        let name = fs::read_to_string(HOSTNAME).map_err(Error::file("read", HOSTNAME))?;
                        NodeId::new(&format!("{}:{}", name.trim(), listen.port))
                            .map_err(|e| Error::Config(format!("{e}; set node-id")))?
                    }
                };
                write_durably(&path, id.as_str().as_bytes()).map_err(Error::file("write", &path))?;
                Ok(id)
            }
            Err(e) => Err(Error::file("read", path)(e)),
        }
    }
}

/// A rename over the old file, both synced, so that a crash leaves the one or the other.
fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let staged = path.with_extension("tmp");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&staged, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen() -> HostPort {
        HostPort { host: "127.0.0.1".to_owned(), port: 8250 }
    }

    #[test]
    fn a_directory_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::lock(dir.path()).unwrap();
        assert!(matches!(DataDir::lock(dir.path()), Err(Error::Locked(_))));
        drop(first);
        DataDir::lock(dir.path()).unwrap();
    }

    #[test]
    fn the_name_in_the_directory_wins() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        let given = NodeId::new("mine").unwrap();
        assert_eq!(data.node_id(Some(&given), &listen()).unwrap(), given);
        let other = NodeId::new("other").unwrap();
        assert_eq!(data.node_id(Some(&other), &listen()).unwrap(), given);
    }

    #[test]
    fn a_made_up_name_ends_with_the_port() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        assert!(data.node_id(None, &listen()).unwrap().as_str().ends_with(":8250"));
    }
}
