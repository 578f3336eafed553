//! How pumps are dialed.

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// What every connection to a pump has in common.
#[derive(Clone, Debug, Default)]
pub struct Dial {
    /// TLS with these files; None: plain text.
    pub tls: Option<PemFiles>,
    /// Ask original pumps to compress what they send with gzip.
    pub gzip: bool,
}

/// Paths of PEM files. They are read for each connection anew, so that certificates can be renewed without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemFiles {
    /// The authority that signed the pumps' certificates.
    pub ca: String,
    /// Our certificate; empty: none is presented.
    pub cert: String,
    /// Its key.
    pub key: String,
}

impl PemFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// A text that names the file.
    pub(crate) fn load(&self) -> Result<ClientTlsConfig, String> {
        let read = |path: &str| std::fs::read(path).map_err(|e| format!("could not read {path:?}: {e}"));
        // The original's pump speaks HTTP/2 without naming it in the handshake.
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&self.ca)?)).assume_http2(true);
        if self.cert.is_empty() {
            return Ok(tls);
        }
        Ok(tls.identity(Identity::from_pem(read(&self.cert)?, read(&self.key)?)))
    }
}
