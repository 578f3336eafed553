//! The playground's programs as child processes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of a log is shown when its program failed.
const LOG_TAIL: usize = 15;

/// A running program.
#[derive(Debug)]
struct Node {
    name: String,
    child: Child,
    log: PathBuf,
}

/// All running programs, in the order in which they were started. Whatever becomes of this, they do not outlive it.
#[derive(Debug, Default)]
pub(crate) struct Nodes(Vec<Node>);

impl Nodes {
    /// Starts a program; what it says goes to `log`.
    pub(crate) fn start(
        &mut self,
        name: &str,
        program: &Path,
        args: &[OsString],
        log: &Path,
    ) -> anyhow::Result<()> {
        let out = File::create(log).with_context(|| format!("make {}", log.display()))?;
        let err = out.try_clone()?;
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // Ctrl-C reaches this program only, which then stops the others in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        self.0.push(Node { name: name.to_owned(), child, log: log.to_owned() });
        Ok(())
    }

    /// Checks that all still run.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for node in &mut self.0 {
            if let Some(status) = node.child.try_wait()? {
                bail!("{} ended with {status}; its log ends with:\n{}", node.name, tail(&node.log));
            }
        }
        Ok(())
    }

    /// Ends all, the last one first, and waits for each.
    pub(crate) async fn stop(&mut self) {
        while let Some(mut node) = self.0.pop() {
            let asked =
                node.child.id().and_then(pid).is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
            if asked && tokio::time::timeout(STOP_TIMEOUT, node.child.wait()).await.is_ok() {
                continue;
            }
            let _ = node.child.kill().await;
        }
    }

    /// Lets all run on, and gives their process ids.
    pub(crate) fn leave(&mut self) -> Vec<u32> {
        let mut ids = Vec::new();
        for node in self.0.drain(..) {
            ids.extend(node.child.id());
            // Dropping it would end the process.
            std::mem::forget(node.child);
        }
        ids
    }
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

fn tail(path: &Path) -> String {
    let Ok(bytes) = fs::read(path) else { return format!("({} is unreadable)", path.display()) };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
}
