//! The `savepoint` file: three TOML keys, replaced as a whole.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use binlog_types::{CommitTs, SchemaVersion};

use super::Checkpoint;
use crate::Error;

/// A checkpoint in the original's `savepoint` TOML file.
#[derive(Clone, Debug)]
pub struct FileCheckpoint {
    path: PathBuf,
}

impl FileCheckpoint {
    /// The file need not be there yet; its folder must be.
    pub fn new(path: &Path) -> Self {
        FileCheckpoint { path: path.to_owned() }
    }

    /// What was saved last; `None`: nothing.
    ///
    /// # Errors
    /// When the file cannot be read or is no savepoint.
    pub fn load(&self) -> Result<Option<Checkpoint>, Error> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io(error)),
        };
        self.parse(&text)
    }

    /// Replaces the file: either the old content or the new one is there after a crash, and the new one once this returned.
    ///
    /// # Errors
    /// When a file operation fails; the old content then still stands.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let text = format!(
            "consistent = {}\ncommitTS = {}\nschema-version = {}\n",
            checkpoint.consistent,
            checkpoint.commit_ts.as_i64(),
            checkpoint.schema_version
        );
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| self.io(error))
    }

    fn parse(&self, text: &str) -> Result<Option<Checkpoint>, Error> {
        let bad = |line: usize, why| Error::BadSavepoint { path: self.path.clone(), line: line + 1, why };
        let mut commit_ts = None;
        let mut schema_version = 0;
        let mut consistent = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            // The original writes flat keys only; a table (`[ts-map]`) of an older file says nothing we need.
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with('[') {
                break;
            }
            let (key, value) = line.split_once('=').ok_or_else(|| bad(number, "expected key = value"))?;
            let value = value.trim();
            match key.trim() {
                "commitTS" => {
                    commit_ts =
                        Some(value.parse::<u64>().map_err(|_| bad(number, "commitTS is no timestamp"))?);
                }
                "schema-version" => {
                    schema_version =
                        value.parse().map_err(|_| bad(number, "schema-version is no whole number"))?;
                }
                "consistent" => {
                    consistent =
                        value.parse().map_err(|_| bad(number, "consistent is neither true nor false"))?;
                }
                _ => {}
            }
        }
        let commit_ts = commit_ts.ok_or_else(|| bad(0, "commitTS is missing"))?;
        Ok((commit_ts != 0).then_some(Checkpoint {
            commit_ts: CommitTs::new(commit_ts),
            schema_version: SchemaVersion(schema_version),
            consistent,
        }))
    }

    fn io(&self, source: std::io::Error) -> Error {
        Error::SavepointIo { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_savepoint_is_the_originals_text_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = FileCheckpoint::new(&folder.path().join("savepoint"));
        assert_eq!(file.load().unwrap(), None);
        let first = Checkpoint {
            commit_ts: CommitTs::new(470_641),
            schema_version: SchemaVersion(58),
            consistent: false,
        };
        file.save(&first).unwrap();
        let text = fs::read_to_string(folder.path().join("savepoint")).unwrap();
        assert_eq!(text, "consistent = false\ncommitTS = 470641\nschema-version = 58\n");
        let last = Checkpoint { commit_ts: CommitTs::new(470_642), consistent: true, ..first };
        file.save(&last).unwrap();
        assert_eq!(file.load().unwrap(), Some(last));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_broken_savepoint_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("savepoint");
        for text in ["commitTS = x\n", "", "commitTS\n", "commitTS = -4\n"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(FileCheckpoint::new(&path).load(), Err(Error::BadSavepoint { .. })), "{text:?}");
        }
        fs::write(&path, "commitTS = 5\nconsistent = true\n\n[ts-map]\n  a = 1\n").unwrap();
        assert!(FileCheckpoint::new(&path).load().unwrap().unwrap().consistent);
    }
}
