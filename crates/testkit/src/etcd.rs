//! A private etcd.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{Authority, Process, free_port};

/// A real etcd with a data directory of its own; dropping it ends it.
#[derive(Debug)]
pub struct Etcd {
    url: String,
    port: u16,
    health_port: u16,
    args: Vec<String>,
    process: Process,
    _data: TempDir,
}

impl Etcd {
    /// Starts one. `etcd` must be in the path.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_members(1, &[], "http").map(|mut members| members.remove(0))
    }

    /// As [`Self::start`], behind TLS: clients need a certificate of this authority.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_tls(authority: &Authority) -> anyhow::Result<Self> {
        let own = authority.issue("etcd", "etcd")?;
        let mut tls = vec!["--client-cert-auth".to_owned()];
        for (name, path) in
            [("cert-file", &own.cert), ("key-file", &own.key), ("trusted-ca-file", &authority.ca())]
        {
            tls.push(format!("--{name}={}", path.display()));
        }
        Self::start_members(1, &tls, "https").map(|mut members| members.remove(0))
    }

    /// Starts three that elect a leader among them.
    ///
    /// # Errors
    /// When they do not come up.
    pub fn start_three() -> anyhow::Result<Vec<Self>> {
        Self::start_members(3, &[], "http")
    }

    fn start_members(count: usize, more: &[String], scheme: &str) -> anyhow::Result<Vec<Self>> {
        let mut last = None;
        // Somebody may take a port between its choice and its use.
        for _ in 0..3 {
            match Self::try_members(count, more, scheme) {
                Ok(members) => return Ok(members),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no attempt was made")?)
    }

    fn try_members(count: usize, more: &[String], scheme: &str) -> anyhow::Result<Vec<Self>> {
        let peers: Vec<String> = (0..count).map(|_| format!("http://127.0.0.1:{}", free_port())).collect();
        let named: Vec<String> = peers.iter().enumerate().map(|(n, peer)| format!("m{n}={peer}")).collect();
        let mut members = Vec::new();
        for (n, peer) in peers.iter().enumerate() {
            let data = tempfile::tempdir()?;
            let (port, health_port) = (free_port(), free_port());
            let url = format!("{scheme}://127.0.0.1:{port}");
            let mut args = vec![
                format!("--name=m{n}"),
                format!("--data-dir={}", data.path().join("etcd").display()),
                format!("--listen-client-urls={url}"),
                format!("--advertise-client-urls={url}"),
                // Health without TLS.
                format!("--listen-metrics-urls=http://127.0.0.1:{health_port}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster={}", named.join(",")),
                "--logger=zap".to_owned(),
            ];
            args.extend_from_slice(more);
            let process = Process::start("etcd", &args).context("etcd must be installed")?;
            members.push(Etcd { url, port, health_port, args, process, _data: data });
        }
        // Only together are they healthy.
        for member in &mut members {
            member.wait_for_health()?;
        }
        Ok(members)
    }

    fn wait_for_health(&mut self) -> anyhow::Result<()> {
        let port = self.health_port;
        self.process
            .wait_for(Duration::from_secs(30), "sign of health", |_| is_healthy(port).unwrap_or(false))
    }

    /// Its client URL.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Its client port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it, as a crash would.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts it again with the same data and port.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill9();
        self.process = Process::start("etcd", &self.args)?;
        self.wait_for_health()
    }
}

/// Whether it serves: its words in the log differ from version to version, its health does not.
fn is_healthy(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.contains("\"health\":\"true\""))
}
