//! The cluster around a node: PD, etcd and TiKV over gRPC, the registry of nodes, and their embedded stand-ins.

mod embedded;
mod error;
mod node;
mod oracle;
mod pd;
mod registry;
mod tikv;

pub use embedded::EmbeddedCluster;
pub use error::Error;
pub use node::{NodeKind, NodeState, NodeStatus};
pub use oracle::Oracle;
pub use pd::{PdClient, TlsFiles};
pub use registry::Registry;
pub use tikv::{KeyValue, TikvClient};
