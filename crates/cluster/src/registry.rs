//! The registry of nodes: etcd under `/tidb-binlog/v1/`, or a directory.
use binlog_types::NodeId;
use crate::{Error, NodeKind, NodeStatus, TlsFiles};
/// A handle to the registry; cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry { }
impl Registry {
    /// etcd at PD's client URLs.
    pub async fn etcd(urls: &[String], tls: Option<&TlsFiles>) -> Result<Self, Error> { todo!() }
    /// The embedded registry in a directory: one JSON file a node under flock.
    pub fn directory(path: &std::path::Path) -> Result<Self, Error> { todo!() }
    pub async fn list(&self, kind: NodeKind) -> Result<Vec<NodeStatus>, Error> { todo!() }
    pub async fn get(&self, kind: NodeKind, id: &NodeId) -> Result<Option<NodeStatus>, Error> { todo!() }
    pub async fn put(&self, kind: NodeKind, status: &NodeStatus) -> Result<(), Error> { todo!() }
}
