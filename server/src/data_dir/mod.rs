//! The data directory: its lock, the node's name in it, and whose it is.
//!
//! ```text
//! DATA-DIR/.lock      flock, held as long as the process lives
//! DATA-DIR/.node      the node's name
//! DATA-DIR/.original  what of the original's files may be left behind
//! DATA-DIR/binlog/    the store
//! ```
//!
//! An original pump keeps `kv/` and `value/` there; see [`original`].

pub(crate) mod original;
mod passed;

use std::fs;
use std::path::{Path, PathBuf};

use binlog_cli::{DirLock, HostPort, hostname, replace_file};
use binlog_types::NodeId;

use crate::Error;

/// A locked data directory.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: DirLock,
}

impl DataDir {
    /// Makes the directory if need be, and locks it.
    ///
    /// # Errors
    /// When another process holds it.
    pub(crate) fn lock(path: &Path) -> Result<Self, Error> {
        Ok(DataDir { path: path.to_owned(), _lock: DirLock::take(path)? })
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
                        let name = hostname().map_err(Error::file("ask for", "this machine's name"))?;
                        NodeId::new(&format!("{name}:{}", listen.port))
                            .map_err(|e| Error::Config(format!("{e}; set node-id")))?
                    }
                };
                replace_file(&path, id.as_str().as_bytes()).map_err(Error::file("write", &path))?;
                Ok(id)
            }
            Err(e) => Err(Error::file("read", path)(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen() -> HostPort {
        HostPort { host: "127.0.0.1".to_owned(), port: 8250 }
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
