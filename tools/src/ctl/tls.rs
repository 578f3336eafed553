//! One HTTP request to a node, behind TLS where a CA is given.

use std::sync::Arc;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Config;

/// `PUT`s to a path of `host:port` and gives the body of the answer.
pub(super) async fn put(config: &Config, host: &str, path: &str) -> anyhow::Result<Bytes> {
    let tcp = TcpStream::connect(host).await.with_context(|| format!("connect to {host}"))?;
    if config.ssl_ca.is_empty() {
        return send(tcp, host, path).await;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let name = ServerName::try_from(name.to_owned()).with_context(|| format!("bad address {host}"))?;
    let connector = TlsConnector::from(Arc::new(client_config(config)?));
    let tls = connector.connect(name, tcp).await.with_context(|| format!("TLS handshake with {host}"))?;
    send(tls, host, path).await
}

async fn send<S>(stream: S, host: &str, path: &str) -> anyhow::Result<Bytes>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = hyper::Request::put(path)
        .header("host", host)
        .body(Empty::<Bytes>::new())
        .with_context(|| format!("bad address {host}{path}"))?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        response.into_body().collect().await
    };
    // The connection does the work; it ends after the answer, or with it.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    let body = tokio::select! {
        body = &mut exchange => body?,
        ended = &mut connection => {
            ended?;
            exchange.await?
        }
    };
    Ok(body.to_bytes())
}

/// The files' certificates: the authority to trust, and our own where one is given.
pub(super) fn client_config(config: &Config) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&config.ssl_ca)? {
        roots.add(certificate).context("failed to append ca certs")?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    if config.ssl_cert.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let key = PrivateKeyDer::from_pem_file(&config.ssl_key)
        .with_context(|| format!("could not load client key pair: {}", config.ssl_key))?;
    builder
        .with_client_auth_cert(certificates(&config.ssl_cert)?, key)
        .context("could not load client key pair")
}

fn certificates(path: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    read().with_context(|| format!("could not read ca certificate: {path}"))
}
