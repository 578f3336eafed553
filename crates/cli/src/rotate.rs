//! A log file that is put aside when it has grown large, as the original's is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Zoned;

/// The original's limit: 300 MB (it counts in units of 2^20).
pub(crate) const LIMIT: u64 = 300 << 20;

/// Appends to a file. Before a line that would take it above the limit, the file is renamed to `NAME-2006-01-02T15-04-05.000.EXT`
/// (local time) and a new one begun. Old files are neither compressed nor removed.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
}

impl RotatingFile {
    /// Opens or makes the file, and its directory.
    pub(crate) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent)?;
        }
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        Ok(RotatingFile { path: path.to_owned(), file, size, limit })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let stamp = Zoned::now().strftime("%Y-%m-%dT%H-%M-%S%.3f").to_string();
        fs::rename(&self.path, aside(&self.path, &stamp))?;
        self.file = append_to(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let grows_too_large = self.size > 0 && self.size + line.len() as u64 > self.limit;
        if grows_too_large && self.rotate().is_err() {
            // The directory may be read-only by now: a file that is too large is better than no log. Not asked for each line.
            self.size = 0;
        }
        let written = self.file.write(line)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o644).open(path)
}

/// `pump.log` is put aside as `pump-STAMP.log`.
fn aside(path: &Path, stamp: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}-{stamp}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{stamp}"),
    };
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_put_aside_between_two_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/pump.log");
        let mut log = RotatingFile::open(&path, 20).unwrap();
        for line in ["first line\n", "second\n", "a third that is long by itself\n", "x\n"] {
            log.write_all(line.as_bytes()).unwrap();
            // The name is exact to a millisecond.
            std::thread::park_timeout(std::time::Duration::from_millis(2));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "x\n");
        let mut aside: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|found| *found != path)
            .collect();
        aside.sort();
        let texts: Vec<_> = aside.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts, ["first line\nsecond\n", "a third that is long by itself\n"]);
        let name = aside[0].file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("pump-20") && name.ends_with(".log") && name.len() == 32, "{name}");
    }

    #[test]
    fn a_restart_goes_on_where_the_file_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pump");
        RotatingFile::open(&path, 10).unwrap().write_all(b"12345678").unwrap();
        RotatingFile::open(&path, 10).unwrap().write_all(b"abc").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "abc");
        assert!(RotatingFile::open(dir.path(), 10).is_err());
    }
}
