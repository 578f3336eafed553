//! `tools verify`: whether stores still hold what was written.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use binlog_cli::ReadLock;
use binlog_storage::Store;
use binlog_types::{CommitTs, GapReason, Range};

/// Reads each store (a pump's data directory, of a pump that is stopped) and prints what is damaged or missing.
///
/// # Errors
/// When something is damaged or missing, or a store cannot be opened.
pub fn run(stores: &[PathBuf]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut bad = 0;
    for dir in stores {
        let inner = dir.join("binlog");
        let path = if inner.is_dir() { inner } else { dir.clone() };
        let _lock = ReadLock::take(&path)?;
        let store = Store::open_read_only(&path).with_context(|| format!("open {}", path.display()))?;
        let found = store.verify().with_context(|| format!("verify {}", path.display()))?;
        writeln!(
            out,
            "{}: pump {}, {}: {} records, {} bytes of payload",
            path.display(),
            store.node_id(),
            found.range,
            found.records,
            found.bytes
        )?;
        for damage in &found.damage {
            writeln!(out, "DAMAGED {}: {}", place(damage.range), damage.what)?;
        }
        for gap in &found.gaps {
            writeln!(out, "GAP {gap}")?;
        }
        // That somebody had not read what was purged says nothing of what is here.
        let missing = found.gaps.iter().filter(|gap| gap.reason != GapReason::Purged);
        bad += found.damage.len() + missing.count();
    }
    if bad > 0 {
        bail!("{bad} stretch(es) damaged or missing: restore them from another pump or a replica");
    }
    Ok(())
}

/// A range, where it has an end.
fn place(range: Range) -> String {
    match (range.after, range.through) {
        (CommitTs::ZERO, CommitTs::MAX) => "everywhere".to_owned(),
        (after, CommitTs::MAX) => format!("above {after}"),
        _ => range.to_string(),
    }
}
