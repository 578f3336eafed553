//! The registry in a directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use binlog_types::NodeId;

use super::{Listing, files};
use crate::{Error, NodeKind, NodeStatus};

/// One JSON file a node, in a folder a kind.
#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub(super) fn at(root: &Path) -> Self {
        Directory { root: root.to_owned() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    fn folder(&self, kind: NodeKind) -> PathBuf {
        self.root.join(kind.folder())
    }

    fn path(&self, kind: NodeKind, id: &NodeId) -> PathBuf {
        self.folder(kind).join(format!("{id}.json"))
    }

    pub(super) fn list(&self, kind: NodeKind) -> Result<Listing, Error> {
        let folder = self.folder(kind);
        let cannot = || Error::file(&folder, "cannot list");
        let mut listing = Listing::default();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(listing),
            Err(e) => return Err(cannot()(e)),
        };
        for entry in entries {
            let path = entry.map_err(|e| cannot()(e))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match files::read_json(&path) {
                Ok(status) => listing.nodes.extend(status),
                Err(Error::Malformed { key, why }) => listing.malformed.push((key, why)),
                Err(other) => return Err(other),
            }
        }
        listing.nodes.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        Ok(listing)
    }

    pub(super) fn get(&self, kind: NodeKind, id: &NodeId) -> Result<Option<NodeStatus>, Error> {
        files::read_json(&self.path(kind, id))
    }

    pub(super) fn put(&self, kind: NodeKind, status: &NodeStatus) -> Result<(), Error> {
        files::make_dir(&self.folder(kind))?;
        let _lock = files::lock(&self.root)?;
        files::write_json(&self.path(kind, &status.node_id), status)
    }
}
