//! How much of an original pump's files was checked and may be left behind, as `DATA-DIR/.original` keeps it.
//!
//! The check needs what the registry said when the original stopped. That is gone as soon as this program has registered, and drainers go offline
//! later: so what was found good once stays good. The files only grow, and do so only while the original runs: what is new is checked then.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use binlog_cli::replace_file;
use serde::{Deserialize, Serialize};

use super::original::ValueLog;
use crate::Error;

/// Sizes in bytes by file name.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Passed(BTreeMap<String, u64>);

fn path(dir: &Path) -> PathBuf {
    dir.join(".original")
}

impl Passed {
    /// What an earlier start wrote; nothing where there was none, or where it cannot be understood.
    pub(super) fn load(dir: &Path) -> Result<Self, Error> {
        let path = path(dir);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, ?path, "the original pump's files are checked anew");
                Passed::default()
            })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Passed::default()),
            Err(e) => Err(Error::file("read", path)(e)),
        }
    }

    /// Writes down that these files have passed as they are.
    pub(super) fn save(dir: &Path, files: &[ValueLog]) -> Result<(), Error> {
        let passed = Passed(files.iter().map(|file| (file.name.clone(), file.size)).collect());
        let path = path(dir);
        let bytes = serde_json::to_vec(&passed).map_err(io::Error::other);
        bytes.and_then(|bytes| replace_file(&path, &bytes)).map_err(Error::file("write", path))
    }

    /// How many bytes of a file have passed. One that is shorter by now is another file.
    pub(super) fn of(&self, file: &ValueLog) -> u64 {
        self.0.get(&file.name).copied().filter(|size| *size <= file.size).unwrap_or(0)
    }
}
