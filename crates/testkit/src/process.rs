//! Child processes whose output shows when a test fails.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Below the ports that the system gives to connections, so that none of those takes it before the program that it is for.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// A port of 127.0.0.1 that nobody listens on just now. In one process none comes twice, for programs take their time to listen.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Tests that run beside these begin elsewhere.
    let begin = std::process::id() as usize * 97;
    let mut candidates = std::iter::repeat_with(|| {
        PORTS.start + ((begin + NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS.len()) as u16
    });
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    candidates.by_ref().take(PORTS.len()).find(is_free).expect("no free port")
}

/// Waits until somebody listens on a port of 127.0.0.1; false when `limit` is over.
pub fn wait_for_port(port: u16, limit: Duration) -> bool {
    wait_until(limit, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
}

/// Looks every few milliseconds until `done`; false when `limit` is over.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if done() {
            return true;
        }
        if start.elapsed() >= limit {
            return false;
        }
        sleep(Duration::from_millis(20));
    }
}

/// A running program. Its output goes to a file, and to the test's output if the test panics. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    folder: TempDir,
}

impl Process {
    /// Starts a program, in a fresh working directory of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<S: AsRef<OsStr>>(
        program: impl AsRef<Path>,
        args: impl IntoIterator<Item = S>,
    ) -> anyhow::Result<Self> {
        Self::start_with_env(program, args, &[])
    }

    /// As [`Self::start`], with more environment variables.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_with_env<S: AsRef<OsStr>>(
        program: impl AsRef<Path>,
        args: impl IntoIterator<Item = S>,
        env: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let program = program.as_ref();
        let folder = tempfile::tempdir()?;
        let output = File::create(folder.path().join("output"))?;
        let child = Command::new(program)
            .args(args)
            .envs(env.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| program.display().to_string())?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Process { name, child, folder })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it wrote so far, to standard output and standard error.
    pub fn output(&self) -> String {
        let bytes = fs::read(self.folder.path().join("output")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until its output holds `text`.
    ///
    /// # Errors
    /// When `limit` is over, or it ended before.
    pub fn wait_for_output(&mut self, text: &str, limit: Duration) -> anyhow::Result<()> {
        self.wait_for(limit, &format!("{text:?} in its output"), |process| process.output().contains(text))
    }

    /// Waits until it listens on a port of 127.0.0.1.
    ///
    /// # Errors
    /// When `limit` is over, or it ended before.
    pub fn wait_for_port(&mut self, port: u16, limit: Duration) -> anyhow::Result<()> {
        self.wait_for(limit, &format!("port {port}"), |_| {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        })
    }

    /// Waits until `done`; `what` says in errors what was waited for.
    ///
    /// # Errors
    /// When `limit` is over, or it ended before.
    pub fn wait_for(
        &mut self,
        limit: Duration,
        what: &str,
        done: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            if done(self) {
                return Ok(());
            }
            if let Some(status) = ended {
                bail!("{} ended ({status}) before {what}:\n{}", self.name, self.output());
            }
            ensure!(start.elapsed() < limit, "{}: no {what} within {limit:?}:\n{}", self.name, self.output());
            sleep(Duration::from_millis(20));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it at once, as a crash would, and waits until it is gone.
    pub fn kill9(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Errors
    /// When it did not end in time.
    pub fn stop(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(limit)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it did not end in time.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(
                start.elapsed() < limit,
                "{} did not end within {limit:?}:\n{}",
                self.name,
                self.output()
            );
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the test harness shows it when the test failed")]
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("---- output of {} ----\n{}---- end ----", self.name, self.output());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn output_and_end_are_seen() {
        let mut shell = Process::start("/bin/sh", ["-c", "echo one; echo two >&2; exit 3"]).unwrap();
        assert_eq!(shell.wait(LIMIT).unwrap().code(), Some(3));
        assert_eq!(shell.output(), "one\ntwo\n");
        assert!(shell.wait_for_output("three", LIMIT).unwrap_err().to_string().contains("ended"));
    }

    #[test]
    fn it_can_be_asked_and_forced_to_end() {
        let script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done";
        let mut shell = Process::start("/bin/sh", ["-c", script]).unwrap();
        shell.wait_for_output("up", LIMIT).unwrap();
        assert!(shell.stop(LIMIT).unwrap().success());
        assert!(shell.output().ends_with("bye\n"));

        let mut shell = Process::start("/bin/sh", ["-c", script]).unwrap();
        shell.wait_for_output("up", LIMIT).unwrap();
        shell.kill9();
        assert!(!shell.is_running() && !shell.output().contains("bye"));
    }
}
