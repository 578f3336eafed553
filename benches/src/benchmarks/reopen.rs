//! Opening what a crash left: a copy of the directory of an open store, with a log that was not flushed.

use std::fs;
use std::path::Path;

use anyhow::ensure;

use super::fillsync::{work, write_through};
use crate::latency::Latencies;
use crate::load::Oracle;
use crate::process::Meter;
use crate::report::Report;
use crate::session::Session;
use crate::store;

const ATTEMPTS: usize = 50;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let dir = session.store_dir()?;
    let store = store::open(&dir)?;
    let oracle = Oracle::above(&store);
    let written = work(session, &store, &oracle, &Latencies::new(), write_through)?;
    store::settle(&store, oracle.last())?;
    let copy = session.dir("reopen")?;
    let copied = (0..ATTEMPTS).any(|_| image(&dir, &copy).is_ok());
    ensure!(copied, "{} changed while it was copied", dir.display());
    store.close()?;
    let log_bytes = bytes_of(&copy, "log")?;
    let meter = Meter::start(None)?;
    let store = store::open(&copy)?;
    let spent = meter.spent()?;
    let recovered = store.watermark();
    store.close()?;
    fs::remove_dir_all(&copy)?;
    ensure!(recovered >= oracle.last(), "only {recovered} of {} came back", oracle.last());
    Ok(Report::new("reopen", 1, 0, &spent)
        .with("WAL MB", log_bytes as f64 / 1e6)
        .with("written MB before", written.bytes as f64 / 1e6))
}

/// Finished files are linked, growing ones copied. Fails when a file goes meanwhile.
fn image(from: &Path, to: &Path) -> std::io::Result<()> {
    for old in fs::read_dir(to)? {
        fs::remove_file(old?.path())?;
    }
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.extension().is_some_and(|extension| extension == "sst") {
            fs::hard_link(&path, to.join(name))?;
        } else {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

fn bytes_of(dir: &Path, extension: &str) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == extension) {
            bytes += path.metadata()?.len();
        }
    }
    Ok(bytes)
}
