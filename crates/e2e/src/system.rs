//! A whole system of real programs around the fake cluster: pumps, a drainer, reparo.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use binlog_testkit::{FakeCluster, Mariadb, Process, free_port, wait_until};
use tempfile::TempDir;

use crate::program;

const START: Duration = Duration::from_secs(30);

/// The programs of one captured cluster. Dropping it kills them.
#[derive(Debug)]
pub struct System {
    /// PD, etcd and TiKV.
    pub cluster: FakeCluster,
    /// More lines of the drainer's `[syncer]`.
    pub syncer: String,
    folder: TempDir,
    pumps: Vec<Pump>,
    drainer: Option<Process>,
}

#[derive(Debug)]
struct Pump {
    port: u16,
    process: Option<Process>,
}

impl System {
    /// Starts `pumps` pumps in the cluster of a capture; its schema is visible as far as the replay has come.
    ///
    /// # Errors
    /// When a program does not start.
    pub fn start(fixture: &str, pumps: usize) -> anyhow::Result<Self> {
        let cluster = FakeCluster::for_fixture(fixture)?;
        let pumps = (0..pumps).map(|_| Pump { port: free_port(), process: None }).collect();
        let mut system =
            System { cluster, syncer: String::new(), folder: tempfile::tempdir()?, pumps, drainer: None };
        for i in 0..system.pumps.len() {
            system.start_pump(i)?;
        }
        Ok(system)
    }

    /// The pumps' ports.
    pub fn ports(&self) -> Vec<u16> {
        self.pumps.iter().map(|p| p.port).collect()
    }

    /// The pumps' addresses.
    pub fn hosts(&self) -> Vec<String> {
        self.pumps.iter().map(|p| format!("127.0.0.1:{}", p.port)).collect()
    }

    /// Where pump `i` keeps its data.
    pub fn pump_dir(&self, i: usize) -> PathBuf {
        self.folder.path().join(format!("pump{i}"))
    }

    /// Starts pump `i` on its data, and waits until it listens.
    ///
    /// # Errors
    /// When it ends by itself.
    pub fn start_pump(&mut self, i: usize) -> anyhow::Result<()> {
        let port = self.pumps.get(i).context("no such pump")?.port;
        let args = [
            format!("-addr=127.0.0.1:{port}"),
            format!("-pd-urls={}", self.cluster.url()),
            format!("-data-dir={}", self.pump_dir(i).display()),
            format!("-node-id=pump{i}"),
            "-fake-binlog-interval=1".to_owned(),
        ];
        let mut process = Process::start(program("pump"), args)?;
        process.wait_for_port(port, START)?;
        self.pumps[i].process = Some(process);
        Ok(())
    }

    /// Kills pump `i` as a crash would.
    pub fn kill_pump(&mut self, i: usize) {
        if let Some(mut process) = self.pumps.get_mut(i).and_then(|p| p.process.take()) {
            process.kill9();
        }
    }

    /// Starts the drainer into `target`, from the beginning or from its checkpoint.
    ///
    /// # Errors
    /// When it ends by itself.
    pub fn start_drainer(&mut self, target: &Mariadb) -> anyhow::Result<()> {
        let port = target.port();
        let to = format!("host = \"127.0.0.1\"\nport = {port}\nuser = \"root\"\npassword = \"\"");
        self.start_drainer_to("mysql", &to)
    }

    /// The same into a SQLite file.
    ///
    /// # Errors
    /// When it ends by itself.
    pub fn start_file_drainer(&mut self, file: &Path) -> anyhow::Result<()> {
        self.start_drainer_to("sqlite", &format!("path = \"{}\"", file.display()))
    }

    fn start_drainer_to(&mut self, kind: &str, to: &str) -> anyhow::Result<()> {
        let config = self.folder.path().join("drainer.toml");
        let text = format!("[syncer]\ndb-type = \"{kind}\"\n{}\n[syncer.to]\n{to}\n", self.syncer);
        fs::write(&config, text)?;
        let port = free_port();
        let args = [
            format!("-addr=127.0.0.1:{port}"),
            format!("-pd-urls={}", self.cluster.url()),
            format!("-data-dir={}", self.folder.path().join(format!("drainer-{kind}")).display()),
            format!("-node-id=drainer-{kind}"),
            "-initial-commit-ts=0".to_owned(),
            "-detect-interval=1".to_owned(),
            format!("-config={}", config.display()),
        ];
        let mut process = Process::start(program("drainer"), args)?;
        process.wait_for_port(port, START)?;
        self.drainer = Some(process);
        Ok(())
    }

    /// Kills the drainer as a crash would.
    pub fn kill_drainer(&mut self) {
        if let Some(mut process) = self.drainer.take() {
            process.kill9();
        }
    }

    /// Waits until the drainer's checkpoint in `target` is at or past `commit_ts`.
    ///
    /// # Errors
    /// When it does not get there within `limit`, or the drainer ended.
    pub fn wait_for_checkpoint(
        &mut self,
        target: &Mariadb,
        commit_ts: u64,
        limit: Duration,
    ) -> anyhow::Result<()> {
        self.wait_until(commit_ts, limit, || checkpoint(target))
    }

    /// Waits until `read` shows the drainer's checkpoint at or past `commit_ts`.
    ///
    /// # Errors
    /// When it does not get there within `limit`, or the drainer ended.
    pub fn wait_until(
        &mut self,
        commit_ts: u64,
        limit: Duration,
        mut read: impl FnMut() -> Option<u64>,
    ) -> anyhow::Result<()> {
        let drainer = self.drainer.as_mut().context("no drainer runs")?;
        let mut last = 0;
        let done = wait_until(limit, || {
            last = read().unwrap_or(last);
            last >= commit_ts || !drainer.is_running()
        });
        ensure!(drainer.is_running(), "the drainer ended:\n{}", drainer.output());
        ensure!(done, "the checkpoint stopped at {last}, before {commit_ts}:\n{}", drainer.output());
        Ok(())
    }

    /// Runs `reparo`, or a command of it, on the pumps' binlogs with more arguments, to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn reparo(&self, word: Option<&str>, args: &[String]) -> anyhow::Result<Output> {
        let mut command = Command::new(program("reparo"));
        command.args(word).arg("-from-pump").arg(format!("-pd-urls={}", self.cluster.url())).args(args);
        command.output().context("start reparo")
    }

    /// Restores everything up to `stop` (inclusive) into `target`.
    ///
    /// # Errors
    /// When reparo says so.
    pub fn restore(&self, target: &Mariadb, stop: u64) -> anyhow::Result<()> {
        let config = self.folder.path().join("reparo.toml");
        fs::write(
            &config,
            format!(
                "[dest-db]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"root\"\npassword = \"\"\n",
                target.port()
            ),
        )?;
        self.restore_to(&["-dest-type=mysql".to_owned(), format!("-config={}", config.display())], stop)
    }

    /// Restores everything up to `stop` (inclusive) into a SQLite file.
    ///
    /// # Errors
    /// When reparo says so.
    pub fn restore_file(&self, file: &Path, stop: u64) -> anyhow::Result<()> {
        self.restore_to(&["-dest-type=sqlite".to_owned(), format!("-dest-path={}", file.display())], stop)
    }

    fn restore_to(&self, destination: &[String], stop: u64) -> anyhow::Result<()> {
        let args = [&[format!("-stop-tso={stop}")], destination].concat();
        let output = self.reparo(None, &args)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "reparo ended with {}:\n{said}", output.status);
        Ok(())
    }
}

/// The drainer's checkpoint, as scripts read it.
pub fn checkpoint(target: &Mariadb) -> Option<u64> {
    commit_ts_of(&target.sql("SELECT checkPoint FROM tidb_binlog.checkpoint").ok()?)
}

/// The commit_ts in a checkpoint's text.
pub fn commit_ts_of(text: &str) -> Option<u64> {
    let digits = text.split_once("\"commitTS\":")?.1;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
