//! Where timestamps come from.
use binlog_types::Ts;
use crate::Error;
/// A timestamp oracle; cheap to clone. Calls of one process share requests.
#[derive(Clone, Debug)]
pub struct Oracle { }
impl Oracle {
    /// PD's oracle.
    pub fn pd(client: crate::PdClient) -> Self { todo!() }
    /// An embedded cluster's oracle: finds the pump that runs it through the cluster's directory and calls `Store/Tso` there.
    pub fn embedded(cluster: &crate::EmbeddedCluster) -> Self { todo!() }
    pub async fn now(&self) -> Result<Ts, Error> { todo!() }
}
