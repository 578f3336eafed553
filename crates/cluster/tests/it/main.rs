//! The clients against a fake PD and TiKV over the real protocol, and a real etcd.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod conversations;
mod oracle;
mod pd;
mod registry;
mod schema;
mod tikv;
mod tls;

use binlog_cluster::PdClient;
use binlog_testkit::FakeCluster;

async fn connect(cluster: &FakeCluster) -> PdClient {
    PdClient::connect(&[cluster.url()], None).await.unwrap()
}
