//! Addresses, TLS and connections.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::Error;

/// How long a connection may take to come up.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// TLS settings: paths of PEM files. TLS is on where `ca` is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority that signed the servers' certificates.
    pub ca: String,
    /// Our certificate; empty: none is presented.
    pub cert: String,
    /// The key of our certificate.
    pub key: String,
}

impl TlsFiles {
    /// Reads the files; `None` where TLS is off.
    pub(crate) fn load(&self) -> Result<Option<Arc<Tls>>, Error> {
        if self.ca.is_empty() {
            return Ok(None);
        }
        let read_at = self.changed_at();
        let current = Mutex::new((read_at, self.read()?));
        Ok(Some(Arc::new(Tls { files: self.clone(), current })))
    }

    fn read(&self) -> Result<ClientTlsConfig, Error> {
        // gRPC is HTTP/2, whether the server says so in the handshake or not.
        let mut config =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&self.ca)?)).assume_http2(true);
        if !self.cert.is_empty() {
            config = config.identity(Identity::from_pem(read(&self.cert)?, read(&self.key)?));
        }
        Ok(config)
    }

    fn changed_at(&self) -> [Option<SystemTime>; 3] {
        [&self.ca, &self.cert, &self.key]
            .map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
    }
}

/// The TLS settings of connections to be made: read again when the files have changed, so that certificates can be renewed
/// without a restart.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    current: Mutex<([Option<SystemTime>; 3], ClientTlsConfig)>,
}

impl Tls {
    pub(crate) fn config(&self) -> ClientTlsConfig {
        let mut current = self.current.lock();
        let changed_at = self.files.changed_at();
        if changed_at != current.0 {
            match self.files.read() {
                Ok(config) => *current = (changed_at, config),
                // The files are not replaced at one moment: the next connection tries again.
                Err(error) => tracing::warn!(%error, "the renewed certificates cannot be used yet"),
            }
        }
        current.1.clone()
    }
}

fn read(path: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|e| Error::Tls { path: path.to_owned(), why: e.to_string() })
}

/// A URL as tonic takes it, from what people write in `pd-urls`: `host:port` gets its scheme from whether TLS is on.
pub(crate) fn normalize(url: &str, tls: bool) -> Result<String, Error> {
    let bad = |why: &str| Error::BadUrl { url: url.to_owned(), why: why.to_owned() };
    let trimmed = url.trim().trim_end_matches('/');
    if trimmed.is_empty() {
        return Err(bad("it is empty"));
    }
    let (scheme, rest) = trimmed.split_once("://").unwrap_or((if tls { "https" } else { "http" }, trimmed));
    match scheme {
        "http" | "https" => {}
        _ => return Err(bad("it is reached over TCP, so its scheme must be http or https")),
    }
    if scheme == "https" && !tls {
        return Err(bad("https needs ssl-ca"));
    }
    if scheme == "http" && tls {
        return Err(bad("with ssl-ca it must be https"));
    }
    if rest.contains('/') {
        return Err(bad("it has a path"));
    }
    match rest.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(format!("{scheme}://{rest}"))
        }
        _ => Err(bad("it has no host and port")),
    }
}

/// All of `urls` in tonic's form, each once.
pub(crate) fn normalize_all(urls: &[String], tls: bool) -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    for url in urls.iter().flat_map(|list| list.split(',')).filter(|url| !url.trim().is_empty()) {
        let url = normalize(url, tls)?;
        if !all.contains(&url) {
            all.push(url);
        }
    }
    if all.is_empty() {
        return Err(Error::BadUrl { url: urls.join(","), why: "there is none".to_owned() });
    }
    Ok(all)
}

/// A connection that comes up when it is first used, and again after it broke.
pub(crate) fn channel(url: &str, tls: Option<&Tls>) -> Result<Channel, Error> {
    let bad = |e: tonic::transport::Error| Error::BadUrl { url: url.to_owned(), why: format!("{e:?}") };
    let mut endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(bad)?
        .connect_timeout(CONNECT_LIMIT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5));
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls.config()).map_err(bad)?;
    }
    Ok(endpoint.connect_lazy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_people_write_them() {
        for (url, tls, expected) in [
            ("127.0.0.1:2379", false, "http://127.0.0.1:2379"),
            (" http://pd:2379/ ", false, "http://pd:2379"),
            ("pd:2379", true, "https://pd:2379"),
            ("[::1]:2379", false, "http://[::1]:2379"),
        ] {
            assert_eq!(normalize(url, tls).unwrap(), expected);
        }
        for (url, tls) in [
            ("", false),
            ("ftp://pd:1", false),
            ("unix://pd:1", false),
            ("https://pd:1", false),
            ("http://pd:1", true),
            ("pd", false),
            ("http://pd:1/x", false),
            (":2379", false),
            ("pd:123456", false),
        ] {
            assert!(matches!(normalize(url, tls), Err(Error::BadUrl { .. })), "{url}");
        }
    }

    #[test]
    fn lists_hold_each_url_once() {
        let urls = ["a:1,b:2".to_owned(), "http://a:1".to_owned()];
        assert_eq!(normalize_all(&urls, false).unwrap(), ["http://a:1", "http://b:2"]);
        assert!(normalize_all(&[], false).is_err());
    }
}
