//! Where a playground lives: its directory, its programs, its ports.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use super::PlaygroundOptions;

/// How many pumps there are.
pub(crate) const PUMPS: usize = 2;

/// Paths and addresses.
#[derive(Debug)]
pub(crate) struct Site {
    /// Everything is in here.
    pub(crate) dir: PathBuf,
    /// `host:port` of each pump.
    pub(crate) pumps: Vec<String>,
    /// `host:port` of the drainer.
    pub(crate) drainer: String,
    programs: PathBuf,
}

impl Site {
    /// Makes the directory, and checks that nothing is missing.
    pub(crate) fn prepare(options: &PlaygroundOptions) -> anyhow::Result<Self> {
        let exe = std::env::current_exe().context("find this program")?;
        let programs = exe.parent().context("find this program's directory")?.to_owned();
        for name in ["pump", "drainer", "reparo"] {
            let path = programs.join(name);
            ensure!(
                path.is_file(),
                "the program {name} is not beside this one ({} is missing); build them all: ./dev build",
                path.display()
            );
        }
        let dir = match &options.dir {
            Some(dir) => empty_dir(dir)?,
            None => tempfile::Builder::new().prefix("tidb-binlog-playground-").tempdir()?.keep(),
        };
        let mut ports = free_ports(PUMPS + 1)?.into_iter().map(|port| format!("127.0.0.1:{port}"));
        let pumps = ports.by_ref().take(PUMPS).collect();
        let drainer = ports.next().context("one more port")?;
        Ok(Site { dir, pumps, drainer, programs })
    }

    /// A program.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// A file of the playground.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The cluster's directory.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.file("cluster")
    }

    /// The drainer's replica.
    pub(crate) fn replica(&self) -> PathBuf {
        self.file("replica.sqlite")
    }
}

fn empty_dir(dir: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let used = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?.next().is_some();
    if used {
        bail!("{} is not empty: name another directory", dir.display());
    }
    // Programs are started with it: it must hold wherever they look from.
    dir.canonicalize().with_context(|| format!("resolve {}", dir.display()))
}

/// Ports that are free now; all are held until the last is found, so that they differ.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .context("find free ports")?;
    listeners.iter().map(|l| Ok(l.local_addr()?.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ() {
        let mut ports = free_ports(8).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 8);
    }

    #[test]
    fn a_used_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(empty_dir(&dir.path().join("new/deep")).is_ok());
        fs::write(dir.path().join("mine"), "").unwrap();
        assert!(empty_dir(dir.path()).unwrap_err().to_string().contains("not empty"));
    }
}
