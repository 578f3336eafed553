//! TLS: who gets in, and with which certificate. The certificates under `certs/` are for these tests only.

use std::path::{Path, PathBuf};

use binlog_proto::store::HelloRequest;
use binlog_proto::store::store_client::StoreClient;
use binlog_server::Config;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::harness::{Root, config, text};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/certs").join(name)
}

fn pem(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn tls_config(root: &Root, allowed: &[&str]) -> Config {
    let mut config = config(root);
    config.security.ssl_ca = text(&path("ca.pem"));
    config.security.ssl_cert = text(&root.0.path().join("node.pem"));
    config.security.ssl_key = text(&root.0.path().join("node.key"));
    config.security.cert_allowed_cn = allowed.iter().map(|name| (*name).to_owned()).collect();
    config
}

fn put_certificate(root: &Root, name: &str) {
    std::fs::copy(path(&format!("{name}.key")), root.0.path().join("node.key")).unwrap();
    std::fs::copy(path(&format!("{name}.pem")), root.0.path().join("node.pem")).unwrap();
}

async fn hello(port: u16, identity: Option<&str>) -> Result<(), String> {
    let mut tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem("ca.pem"))).domain_name("localhost");
    if let Some(name) = identity {
        tls = tls.identity(Identity::from_pem(pem(&format!("{name}.pem")), pem(&format!("{name}.key"))));
    }
    let endpoint =
        Channel::from_shared(format!("https://127.0.0.1:{port}")).unwrap().tls_config(tls).unwrap();
    let channel = endpoint.connect().await.map_err(|e| e.to_string())?;
    StoreClient::new(channel)
        .hello(HelloRequest { cluster_id: 0 })
        .await
        .map(|_| ())
        .map_err(|e| e.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_list_of_names_nobody_needs_a_certificate() {
    let root = Root::new();
    put_certificate(&root, "binlog");
    let pump = binlog_server::start(tls_config(&root, &[])).await.unwrap();
    let port = pump.addr().port();
    let running = tokio::spawn(pump.until(std::future::pending()));
    hello(port, None).await.unwrap();
    // A renewed certificate is taken up without a restart, a torn one is not.
    std::fs::write(root.0.path().join("node.pem"), "torn").unwrap();
    hello(port, None).await.unwrap();
    put_certificate(&root, "other");
    hello(port, None).await.unwrap();
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok());
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_list_only_those_on_it_get_in() {
    let root = Root::new();
    put_certificate(&root, "binlog");
    let pump = binlog_server::start(tls_config(&root, &[" binlog "])).await.unwrap();
    let port = pump.addr().port();
    let running = tokio::spawn(pump.until(std::future::pending()));
    hello(port, Some("binlog")).await.unwrap();
    hello(port, Some("other")).await.unwrap_err();
    hello(port, None).await.unwrap_err();
    running.abort();
}

#[tokio::test]
async fn a_list_without_an_authority_is_refused() {
    let root = Root::new();
    let mut config = tls_config(&root, &["binlog"]);
    config.security.ssl_ca = String::new();
    let error = binlog_server::start(config).await.unwrap_err();
    assert!(error.to_string().contains("cert-allowed-cn needs ssl-ca"), "{error}");
}
