//! Servers that this program starts: a pump to measure, and the bare server beside it.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{self, Meter, Spent};
use crate::rpc::{self, Target};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// A server that ends with this value.
#[derive(Debug)]
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A pump of an embedded cluster.
#[derive(Debug)]
pub(crate) struct Pump {
    server: Server,
    addr: String,
    cluster_id: u64,
}

impl Pump {
    /// Starts `program` with its data in `dir`, and waits until it serves.
    pub(crate) fn start(program: &Path, dir: &Path) -> anyhow::Result<Self> {
        // The port is free again when the listener is dropped; nobody else is likely to take it in between.
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let log = dir.join("pump.log");
        let file = File::create(&log)?;
        let mut server = Server(
            Command::new(program)
                .args(["-addr", &addr, "-node-id", "bench", "-L", "warn", "-cluster-dir"])
                .arg(dir.join("cluster"))
                .arg("-data-dir")
                .arg(dir.join("data"))
                .stdin(Stdio::null())
                .stderr(file.try_clone()?)
                .stdout(file)
                .spawn()
                .with_context(|| format!("start {}", program.display()))?,
        );
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = server.0.try_wait()? {
                bail!("the pump ended with {status}; see {}", log.display());
            }
            if let Ok(cluster_id) = rpc::cluster_of(&addr) {
                return Ok(Pump { server, addr, cluster_id });
            }
            ensure!(Instant::now() < deadline, "the pump does not serve; see {}", log.display());
            std::thread::sleep(POLL);
        }
    }

    pub(crate) fn target(&self) -> Target {
        Target { addr: self.addr.clone(), cluster_id: self.cluster_id, pid: Some(self.server.0.id()) }
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.terminate()?;
        self.reap()
    }

    /// Stops it, so that all it took is in files, and says what it used by then.
    pub(crate) fn stop_metered(mut self, meter: &Meter) -> anyhow::Result<Spent> {
        self.terminate()?;
        let deadline = Instant::now() + STOP;
        while !process::has_ended(self.server.0.id())? {
            ensure!(Instant::now() < deadline, "the pump does not end");
            std::thread::sleep(POLL);
        }
        let spent = meter.spent()?;
        self.reap()?;
        Ok(spent)
    }

    fn terminate(&self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.server.0.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    fn reap(&mut self) -> anyhow::Result<()> {
        let status = self.server.0.wait()?;
        ensure!(status.success(), "the pump ended with {status}");
        Ok(())
    }
}

/// This program as a bare server: see [`crate::bare`].
#[derive(Debug)]
pub(crate) struct Bare {
    server: Server,
    addr: String,
}

impl Bare {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut child =
            Command::new(program).arg("--serve-bare").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let said = child.stdout.take().context("no standard output")?;
        let server = Server(child);
        let mut addr = String::new();
        BufReader::new(said).read_line(&mut addr)?;
        ensure!(!addr.is_empty(), "the bare server did not start");
        Ok(Bare { server, addr: addr.trim().to_owned() })
    }

    pub(crate) fn target(&self) -> Target {
        Target { addr: self.addr.clone(), cluster_id: 0, pid: Some(self.server.0.id()) }
    }
}
