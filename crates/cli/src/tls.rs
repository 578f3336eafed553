//! TLS for those who connect here: certificates read again when their files change, and a list of common names.

mod allowed;
mod common_name;
mod stream;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use self::allowed::AllowedNames;
pub use self::stream::Connection;

/// TLS settings, as `[security]` has them: paths of PEM files. TLS is on when `ssl_ca` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Security {
    /// The authority's certificate.
    pub ssl_ca: String,
    /// This node's certificate.
    pub ssl_cert: String,
    /// Its key.
    pub ssl_key: String,
    /// Common names that clients may have; empty: clients need no certificate.
    pub cert_allowed_cn: Vec<String>,
}

/// Why the TLS settings cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("tls config error: {0}")]
pub struct TlsError(String);

/// As the original waits for the first bytes of a connection.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Turns accepted connections into such that speak: with TLS where `ssl-ca` is set.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "rustls' acceptor has none")]
pub struct Handshake {
    tls: Option<TlsAcceptor>,
    /// None: clients need no certificate.
    allowed: Option<Arc<AllowedNames>>,
}

impl Handshake {
    /// From the settings.
    ///
    /// # Errors
    /// When a file cannot be read or is no certificate or key.
    pub fn new(security: &Security) -> Result<Self, TlsError> {
        let allowed: Vec<String> = security
            .cert_allowed_cn
            .iter()
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        if security.ssl_ca.is_empty() {
            if !allowed.is_empty() {
                return Err(tls_error("cert-allowed-cn needs ssl-ca"));
            }
            return Ok(Handshake { tls: None, allowed: None });
        }
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(tls_error)?;
        let roots = Arc::new(roots(&security.ssl_ca)?);
        let (builder, allowed) = if allowed.is_empty() {
            (builder.with_no_client_auth(), None)
        } else {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                    .build()
                    .map_err(tls_error)?;
            let algorithms = provider.signature_verification_algorithms;
            let allowed = Arc::new(AllowedNames::new(allowed, roots, algorithms));
            (builder.with_client_cert_verifier(verifier), Some(allowed))
        };
        let own = OwnCertificate::load(security.ssl_cert.clone(), security.ssl_key.clone(), provider)?;
        let mut config = builder.with_cert_resolver(Arc::new(own));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Handshake { tls: Some(TlsAcceptor::from(Arc::new(config))), allowed })
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// A text for people: the client does not speak TLS, or may not connect.
    pub async fn accept(&self, stream: TcpStream) -> Result<Connection, String> {
        let Some(acceptor) = &self.tls else { return Ok(Connection::Plain(stream)) };
        let stream = timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream))
            .await
            .map_err(|_| format!("no TLS handshake within {HANDSHAKE_DEADLINE:?}"))?
            .map_err(|e| e.to_string())?;
        if let Some(allowed) = &self.allowed {
            let (_, session) = stream.get_ref();
            allowed.check(session.peer_certificates().unwrap_or_default())?;
        }
        Ok(Connection::Tls(Box::new(stream)))
    }
}

/// This node's certificate, read again when its file changes: it can be renewed without a restart.
struct OwnCertificate {
    cert: String,
    key: String,
    provider: Arc<CryptoProvider>,
    current: Mutex<(Option<SystemTime>, Arc<CertifiedKey>)>,
}

impl std::fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnCertificate").field("cert", &self.cert).finish_non_exhaustive()
    }
}

impl OwnCertificate {
    fn load(cert: String, key: String, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let current = Mutex::new((changed_at(&cert), Arc::new(certified_key(&cert, &key, &provider)?)));
        Ok(OwnCertificate { cert, key, provider, current })
    }
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut current = self.current.lock();
        let changed = changed_at(&self.cert);
        if changed != current.0 {
            match certified_key(&self.cert, &self.key, &self.provider) {
                Ok(renewed) => *current = (changed, Arc::new(renewed)),
                // The two files are not replaced at one moment: the next handshake tries again.
                Err(error) => tracing::warn!(%error, "the renewed certificate cannot be used yet"),
            }
        }
        Some(Arc::clone(&current.1))
    }
}

fn changed_at(path: &str) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

fn certified_key(cert: &str, key: &str, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|e| tls_error(format!("{key}: {e}")))?;
    CertifiedKey::from_der(chain, private, provider)
        .map_err(|e| tls_error(format!("could not load client key pair: {e}")))
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let chain = chain.map_err(|e| tls_error(format!("{path}: {e}")))?;
    if chain.is_empty() { Err(tls_error(format!("{path} holds no certificate"))) } else { Ok(chain) }
}

fn roots(path: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|e| tls_error(format!("failed to append ca certs: {e}")))?;
    }
    Ok(roots)
}

fn read(path: &str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|e| tls_error(format!("could not read {path:?}: {e}")))
}

fn tls_error(why: impl std::fmt::Display) -> TlsError {
    TlsError(why.to_string())
}

/// Whether the files can be used, as they are now.
///
/// # Errors
/// What is wrong with them.
pub fn check(security: &Security) -> Result<(), TlsError> {
    Handshake::new(security).map(|_| ())
}

/// TLS for calls to other nodes; None without `ssl-ca`.
///
/// # Errors
/// When a file cannot be read.
pub fn client(security: &Security) -> Result<Option<ClientTlsConfig>, TlsError> {
    if security.ssl_ca.is_empty() {
        return Ok(None);
    }
    // The original's programs speak HTTP/2 without naming it in the handshake.
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(&security.ssl_ca)?))
        .assume_http2(true);
    if !security.ssl_cert.is_empty() {
        tls = tls.identity(Identity::from_pem(read(&security.ssl_cert)?, read(&security.ssl_key)?));
    }
    Ok(Some(tls))
}
