//! A private etcd.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{Process, free_port};

/// A real etcd with a data directory of its own; dropping it ends it.
#[derive(Debug)]
pub struct Etcd {
    port: u16,
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
        let data = tempfile::tempdir()?;
        let mut last = None;
        // Somebody may take a port between its choice and its use.
        for _ in 0..3 {
            let (port, peer_port) = (free_port(), free_port());
            let (client, peer) =
                (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
            let args = [
                format!("--data-dir={}", data.path().join(port.to_string()).display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
                "--logger=zap".to_owned(),
            ]
            .to_vec();
            match Self::launch(port, &args) {
                Ok(process) => return Ok(Etcd { port, args, process, _data: data }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no attempt was made")?)
    }

    fn launch(port: u16, args: &[String]) -> anyhow::Result<Process> {
        let mut process = Process::start("etcd", args).context("etcd must be installed")?;
        process.wait_for(Duration::from_secs(30), "sign of health", |_| is_healthy(port).unwrap_or(false))?;
        Ok(process)
    }

    /// Its client URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
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
        self.process = Self::launch(self.port, &self.args)?;
        Ok(())
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
