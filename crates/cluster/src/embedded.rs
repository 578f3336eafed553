//! A cluster without PD: one directory that all nodes of one machine share.
//!
//! ```text
//! DIR/cluster.json    {"clusterId": …}        made once
//! DIR/oracle.json     {"nodeId": …, "host": …} the pump that hands out timestamps: the first one to register
//! DIR/pumps/ID.json   DIR/drainers/ID.json     the registry
//! ```
use std::path::Path;
use binlog_types::{ClusterId, NodeId};
use crate::{Error, Registry};
/// The embedded cluster of a directory; cheap to clone.
#[derive(Clone, Debug)]
pub struct EmbeddedCluster { }
impl EmbeddedCluster {
    /// Opens the directory, or makes it with a new random cluster id.
    pub fn open_or_create(dir: &Path) -> Result<Self, Error> { todo!() }
    /// Opens an existing one.
    pub fn open(dir: &Path) -> Result<Self, Error> { todo!() }
    pub fn cluster_id(&self) -> ClusterId { todo!() }
    pub fn registry(&self) -> Registry { todo!() }
    /// Makes `node` the oracle's host if nobody is yet (and again after its host:port changed); true if `node` is it.
    pub fn claim_oracle(&self, node: &NodeId, host: &str) -> Result<bool, Error> { todo!() }
    /// Where the oracle is, as `host:port`.
    pub fn oracle_host(&self) -> Result<Option<String>, Error> { todo!() }
}
