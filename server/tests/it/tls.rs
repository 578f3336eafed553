//! TLS: who gets in, with which certificate, and a pump whose PD is behind it too.

use std::path::Path;
use std::sync::Arc;

use binlog_cluster::{NodeKind, NodeState, Registry, TlsFiles};
use binlog_proto::store::HelloRequest;
use binlog_proto::store::store_client::StoreClient;
use binlog_server::Config;
use binlog_testkit::{Authority, CertFiles, FakeCluster};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::harness::{Client, Root, commit, config, joined, prewrite, text};

fn pem(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn tls_config(root: &Root, authority: &Authority, own: &CertFiles, allowed: &[&str]) -> Config {
    let mut config = config(root);
    config.security.ssl_ca = text(&authority.ca());
    config.security.ssl_cert = text(&own.cert);
    config.security.ssl_key = text(&own.key);
    config.security.cert_allowed_cn = allowed.iter().map(|name| (*name).to_owned()).collect();
    config
}

async fn channel(port: u16, authority: &Authority, own: Option<&CertFiles>) -> Result<Channel, String> {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(pem(&authority.ca())))
        .domain_name("localhost");
    if let Some(own) = own {
        tls = tls.identity(Identity::from_pem(pem(&own.cert), pem(&own.key)));
    }
    let endpoint =
        Channel::from_shared(format!("https://127.0.0.1:{port}")).unwrap().tls_config(tls).unwrap();
    endpoint.connect().await.map_err(|e| e.to_string())
}

async fn hello(port: u16, authority: &Authority, own: Option<&CertFiles>) -> Result<(), String> {
    StoreClient::new(channel(port, authority, own).await?)
        .hello(HelloRequest { cluster_id: 0 })
        .await
        .map(|_| ())
        .map_err(|e| e.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_list_of_names_nobody_needs_a_certificate() {
    let (root, authority) = (Root::new(), Authority::new("ca").unwrap());
    let own = authority.issue("node", "pump").unwrap();
    let pump = binlog_server::start(tls_config(&root, &authority, &own, &[])).await.unwrap();
    let port = pump.addr().port();
    let running = tokio::spawn(pump.until(std::future::pending()));
    hello(port, &authority, None).await.unwrap();
    // A renewed certificate is taken up without a restart, a torn one is not.
    std::fs::write(&own.cert, "torn").unwrap();
    hello(port, &authority, None).await.unwrap();
    let served = async || {
        let mut stream = tls_stream(port, &authority).await;
        let served = stream.get_ref().1.peer_certificates().unwrap()[0].as_ref().to_vec();
        stream.shutdown().await.unwrap();
        served
    };
    let before = served().await;
    authority.issue("node", "renewed").unwrap();
    assert_ne!(served().await, before);
    assert_eq!(served().await, CertificateDer::from_pem_file(&own.cert).unwrap().as_ref());
    hello(port, &authority, None).await.unwrap();
    running.abort();
}

/// A client that names no protocol in the handshake, as Go's programs do over HTTP/1.
async fn tls_stream(port: u16, authority: &Authority) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.ca()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn http_behind_tls_needs_no_alpn() {
    let (root, authority) = (Root::new(), Authority::new("ca").unwrap());
    let own = authority.issue("node", "pump").unwrap();
    let pump = binlog_server::start(tls_config(&root, &authority, &own, &[])).await.unwrap();
    let port = pump.addr().port();
    let running = tokio::spawn(pump.until(std::future::pending()));
    let mut stream = tls_stream(port, &authority).await;
    let head = "GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.contains("\"nodeId\":\"pump-1\""), "{reply}");
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_list_only_those_on_it_get_in() {
    let authority = Authority::new("ca").unwrap();
    let own = authority.issue("node", "pump").unwrap();
    let binlog = authority.issue("binlog", "binlog").unwrap();
    let other = authority.issue("other", "other").unwrap();
    let through = authority.issue_through("through", "between", "leaf").unwrap();
    // A certificate of a listed name beside one's own proves nothing.
    std::fs::write(&other.cert, pem(&other.cert) + &pem(&binlog.cert)).unwrap();
    for (allowed, gets_in) in [
        ([" binlog ", "tidb"], [true, false, false]),
        (["between", "tidb"], [false, false, true]),
        (["leaf", ""], [false, false, true]),
        (["ca", "tidb"], [true, true, true]),
        (["nobody", "tidb"], [false, false, false]),
    ] {
        let root = Root::new();
        let pump = binlog_server::start(tls_config(&root, &authority, &own, &allowed)).await.unwrap();
        let port = pump.addr().port();
        let running = tokio::spawn(pump.until(std::future::pending()));
        for (client, gets_in) in [&binlog, &other, &through].into_iter().zip(gets_in) {
            let answer = hello(port, &authority, Some(client)).await;
            assert_eq!(answer.is_ok(), gets_in, "{allowed:?} {client:?}: {answer:?}");
        }
        hello(port, &authority, None).await.unwrap_err();
        running.abort();
    }
}

#[tokio::test]
async fn a_list_without_an_authority_is_refused() {
    let (root, authority) = (Root::new(), Authority::new("ca").unwrap());
    let own = authority.issue("node", "pump").unwrap();
    let mut config = tls_config(&root, &authority, &own, &["binlog"]);
    config.security.ssl_ca = String::new();
    let error = binlog_server::start(config).await.unwrap_err();
    assert!(error.to_string().contains("cert-allowed-cn needs ssl-ca"), "{error}");
}

/// PD, etcd and TiKV ask for a certificate; so does the pump.
#[tokio::test(flavor = "multi_thread")]
async fn a_pump_lives_in_a_cluster_behind_tls() {
    let (root, authority) = (Root::new(), Authority::new("ca").unwrap());
    let cluster = FakeCluster::start_tls(&authority).unwrap();
    let own = authority.issue("node", "binlog").unwrap();
    let tls = TlsFiles { ca: text(&authority.ca()), cert: text(&own.cert), key: text(&own.key) };
    let registry = Registry::etcd(&[cluster.url()], Some(&tls)).await.unwrap();
    let mut settings = tls_config(&root, &authority, &own, &["binlog"]);
    settings.cluster_dir = String::new();
    settings.pd_urls = vec![cluster.url()];
    let pump = binlog_server::start(settings).await.unwrap();
    let port = pump.addr().port();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(pump.until(async {
        let _ = stopped.await;
    }));
    assert_eq!(registry.list(NodeKind::Pump).await.unwrap()[0].state, NodeState::Online);
    let mut client = Client::over(channel(port, &authority, Some(&own)).await.unwrap()).await;
    let p = prewrite(cluster.now().as_i64(), 1, 10);
    client.send(&p).await.unwrap();
    let c = commit(&p, cluster.now().as_i64());
    client.send(&c).await.unwrap();
    assert_eq!(client.pull(0, c.commit_ts).await, [joined(&p, &c)]);
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(registry.list(NodeKind::Pump).await.unwrap()[0].state, NodeState::Paused);
}
