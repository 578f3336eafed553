//! Addresses as people write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// A checked `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// 0: any that is free.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl HostPort {
    /// Reads `host:port` or `[::1]:port`; no scheme, no path.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        Some(HostPort { host: host.to_owned(), port: port.parse().ok()? })
    }
}

/// PD's addresses: scheme, host and port, and nothing else; each once, sorted. `https`: a bare `host:port` gets that scheme, or `http`; none: it is
/// refused, as the original's pump and drainer do.
///
/// # Errors
/// What is wrong with the first that is no such address.
pub fn check_pd_urls(urls: &[String], https: Option<bool>) -> Result<Vec<String>, String> {
    let mut checked = Vec::with_capacity(urls.len());
    for url in urls.iter().flat_map(|list| list.split(',')).map(str::trim) {
        let refuse = |why: &str| Err(format!("parse EtcdURLs error: {}, {why}: {url}", urls.join(",")));
        let (scheme, rest) = match (url.split_once("://"), https) {
            (Some((scheme, rest)), _) => (scheme, rest),
            (None, Some(https)) => (if https { "https" } else { "http" }, url),
            (None, None) => ("", url),
        };
        match scheme {
            "http" | "https" => {}
            // The original lets them pass, and then cannot reach PD by them.
            "unix" | "unixs" => return refuse("PD is reached over TCP, so URL scheme must be http or https"),
            _ => return refuse("URL scheme must be http or https"),
        }
        let (address, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if HostPort::parse(address).is_none() {
            return refuse("URL address does not have the form \"host:port\"");
        }
        if !path.is_empty() {
            return refuse("URL must not contain a path");
        }
        checked.push(format!("{scheme}://{rest}"));
    }
    if checked.is_empty() {
        let text = "parse EtcdURLs error: no URL given; set pd-urls, or cluster-dir to run without PD";
        return Err(text.to_owned());
    }
    checked.sort_unstable();
    checked.dedup();
    Ok(checked)
}

/// The address that this machine's default route leaves from, or else the first that is not for this machine alone.
pub fn first_address() -> String {
    // Connecting a datagram socket sends nothing.
    let probe = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect("192.0.2.1:9")?;
        Ok(socket.local_addr()?.ip())
    };
    let local = || local_address(&std::fs::read_to_string("/proc/net/fib_trie").ok()?).map(IpAddr::V4);
    probe().ok().or_else(local).unwrap_or(Ipv4Addr::LOCALHOST.into()).to_string()
}

/// The first address in the kernel's table that is one of this machine's and no loopback. An address stands before what it is:
///
/// ```text
/// |-- 10.0.0.5
///    /32 host LOCAL
/// ```
fn local_address(table: &str) -> Option<Ipv4Addr> {
    let mut address: Option<Ipv4Addr> = None;
    for line in table.lines().map(str::trim) {
        match line.strip_prefix("|-- ") {
            Some(text) => address = text.parse().ok(),
            None if line == "/32 host LOCAL" => {
                if let Some(found) = address.filter(|address| !address.is_loopback()) {
                    return Some(found);
                }
            }
            None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_pd_are_checked_before_anybody_is_asked() {
        let checked = |text: &str, https| check_pd_urls(&[text.to_owned()], https);
        let sorted = ["http://a:1", "http://b:1"].map(str::to_owned);
        assert_eq!(checked("http://b:1, http://a:1,http://b:1", None).unwrap(), sorted);
        assert_eq!(checked("[::1]:2379", Some(true)).unwrap(), ["https://[::1]:2379"]);
        for (text, why) in [
            ("a:1", "URL scheme must be http or https: a:1"),
            ("unix://a:1", "PD is reached over TCP, so URL scheme must be http or https: unix://a:1"),
            ("unixs://a:1", "PD is reached over TCP, so URL scheme must be http or https: unixs://a:1"),
            ("unix:///run/pd.sock", "PD is reached over TCP, so URL scheme must be http or https"),
            ("http://a:1/", "URL must not contain a path: http://a:1/"),
            ("http://a/x", "URL address does not have the form \"host:port\": http://a/x"),
            ("http://a", "URL address does not have the form \"host:port\": http://a"),
        ] {
            let error = checked(text, None).unwrap_err();
            assert!(error.starts_with(&format!("parse EtcdURLs error: {text}, {why}")), "{error}");
        }
        assert!(check_pd_urls(&[], None).unwrap_err().contains("no URL given"));
    }

    #[test]
    fn without_a_default_route_there_is_an_address_all_the_same() {
        let table = "Local:\n  +-- 0.0.0.0/0 3 0 5\n  |-- 127.0.0.1\n    /32 host LOCAL\n  +-- 10.0.0.0/30 2 0 2\n    |-- 10.0.0.0\n       /24 link UNICAST\n    |-- 10.0.0.5\n       /32 host LOCAL\n";
        assert_eq!(local_address(table), Some(Ipv4Addr::new(10, 0, 0, 5)));
        assert_eq!(local_address(&table[..70]), None);
    }
}
