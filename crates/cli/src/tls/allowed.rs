//! Who may connect: the common names that one certificate of a client's chain must have.

use std::sync::Arc;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::WebPkiSupportedAlgorithms;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::common_name;

/// `cert-allowed-cn`, and what it takes to know which certificates a client's chain was verified with.
#[derive(Debug)]
pub(super) struct AllowedNames {
    names: Vec<String>,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AllowedNames {
    pub(super) fn new(
        names: Vec<String>,
        roots: Arc<RootCertStore>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        AllowedNames { names, roots, algorithms }
    }

    /// As the original: any certificate of the chain may have the name, its authority's included. A client may send certificates
    /// that have nothing to do with its own, so the names come from the path that verifies, not from what was sent.
    pub(super) fn check(&self, sent: &[CertificateDer<'_>]) -> Result<(), String> {
        let (own, others) = sent.split_first().ok_or("the client sent no certificate")?;
        let refused = |e: webpki::Error| format!("client certificate authentication failed: {e}");
        let own = EndEntityCert::try_from(own).map_err(refused)?;
        let path = own
            .verify_for_usage(
                self.algorithms.all,
                &self.roots.roots,
                others,
                UnixTime::now(),
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(refused)?;
        let issuers = path.intermediate_certificates().map(|cert| cert.subject());
        let subjects = [own.subject()].into_iter().chain(issuers).chain([path.anchor().subject.as_ref()]);
        if subjects.filter_map(common_name::of).any(|name| self.names.contains(&name)) {
            return Ok(());
        }
        Err(format!(
            "client certificate authentication failed. The Common Name from the client certificate {} was not found in the configuration cluster-verify-cn with value: {}",
            common_name::of(own.subject()).unwrap_or_default(),
            self.names.join(",")
        ))
    }
}
