//! Certificates for tests, made on the spot.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// An authority, and a folder of PEM files that dies with it.
#[derive(Debug)]
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// The files of one certificate.
#[derive(Clone, Debug)]
pub struct CertFiles {
    /// The certificate, and those between it and the authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority with this common name.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let root = CertifiedIssuer::self_signed(issuer_of(name)?, KeyPair::generate()?)?;
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("ca.pem"), root.pem())?;
        Ok(Authority { root, folder })
    }

    /// The authority's own certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A new certificate for `localhost`, good for servers and clients, in the files `FILE.pem` and `FILE.key`: what was there is
    /// replaced, as a renewal does.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn issue(&self, file: &str, name: &str) -> anyhow::Result<CertFiles> {
        let key = KeyPair::generate()?;
        let certificate = leaf_of(name)?.signed_by(&key, &*self.root)?;
        self.write(file, certificate.pem(), &key)
    }

    /// As [`Self::issue`], signed by an authority between, which has a name of its own.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn issue_through(&self, file: &str, between: &str, name: &str) -> anyhow::Result<CertFiles> {
        let issuer = CertifiedIssuer::signed_by(issuer_of(between)?, KeyPair::generate()?, &*self.root)?;
        let key = KeyPair::generate()?;
        let certificate = leaf_of(name)?.signed_by(&key, &*issuer)?;
        self.write(file, certificate.pem() + &issuer.pem(), &key)
    }

    fn write(&self, file: &str, chain: String, key: &KeyPair) -> anyhow::Result<CertFiles> {
        let path = |end: &str| self.folder.path().join(format!("{file}.{end}"));
        let files = CertFiles { cert: path("pem"), key: path("key") };
        fs::write(&files.key, key.serialize_pem())?;
        fs::write(&files.cert, chain)?;
        Ok(files)
    }

    /// A server's side of TLS that asks clients for a certificate of this authority. It offers no ALPN, as the original's
    /// programs do not.
    pub(crate) fn server(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let own = self.issue("server", "server")?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca())?)?;
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_single_cert(certificates(&own.cert)?, PrivateKeyDer::from_pem_file(&own.key)?)?;
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    Ok(CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?)
}

fn issuer_of(name: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn leaf_of(name: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}
