//! PD over gRPC.
use binlog_types::{ClusterId, Ts};
use crate::Error;
/// TLS settings: paths of PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles { pub ca: String, pub cert: String, pub key: String }
/// A client of PD; finds the leader, fails over; cheap to clone.
#[derive(Clone, Debug)]
pub struct PdClient { }
impl PdClient {
    pub async fn connect(urls: &[String], tls: Option<&TlsFiles>) -> Result<Self, Error> { todo!() }
    pub fn cluster_id(&self) -> ClusterId { todo!() }
    pub async fn ts(&self) -> Result<Ts, Error> { todo!() }
}
