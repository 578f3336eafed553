//! A directory of binlog files.

use std::fs;
use std::path::{Path, PathBuf};

use binlog_types::{CommitTs, Range};

use crate::open::open;
use crate::record::{Failure, RecordReader};
use crate::records::{commit_ts_of, damaged};
use crate::{Error, FileName, Records};

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Where it is.
    pub path: PathBuf,
    /// Its name.
    pub name: FileName,
    /// The commit_ts of its first record; None: it is empty.
    pub first: Option<CommitTs>,
}

/// The files of a directory, in order.
#[derive(Clone, Debug)]
pub struct Archive {
    dir: PathBuf,
    files: Vec<FileInfo>,
}

impl Archive {
    /// Lists a directory, and reads the first record of each file. Other files are passed over, with a line of log.
    ///
    /// # Errors
    /// When there is no binlog file, or two of one number, or one begins with damage.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let io = |path: &Path, source| Error::Io { path: path.to_owned(), source };
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).map_err(|e| io(dir, e))? {
            let entry = entry.map_err(|e| io(dir, e))?;
            let text = entry.file_name().to_string_lossy().into_owned();
            if FileName::is_companion(&text) {
                continue;
            }
            match FileName::parse(&text) {
                Ok(name) => files.push(FileInfo { path: entry.path(), name, first: None }),
                Err(_) => tracing::info!(name = text, "ignored file in binlog dir"),
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        for pair in files.windows(2) {
            if let [a, b] = pair
                && a.name.index == b.name.index
            {
                return Err(Error::SameIndex { first: a.path.clone(), second: b.path.clone() });
            }
        }
        for file in &mut files {
            file.first = match file.name.first {
                Some(first) => Some(first),
                None => first_of(&file.path)?,
            };
        }
        if files.is_empty() {
            return Err(Error::NoFile { dir: dir.to_owned() });
        }
        Ok(Archive { dir: dir.to_owned(), files })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its files, in order.
    pub fn files(&self) -> &[FileInfo] {
        &self.files
    }

    /// Where the first record is.
    pub fn first(&self) -> Option<CommitTs> {
        self.files.iter().find_map(|f| f.first)
    }

    /// Stretches that lack a file: (after, through) and the numbers of the files. Numbers begin at 0; what lies before the first file that is there may have been
    /// removed by the drainer's retention.
    pub fn gaps(&self) -> Vec<(Range, String)> {
        let mut gaps = Vec::new();
        let mut next = 0;
        let mut before = CommitTs::ZERO;
        for file in &self.files {
            let index = file.name.index;
            if index > next
                && let Some(first) = file.first
            {
                let text = match index - 1 {
                    last if last == next => format!("file number {next} is not there"),
                    last => format!("files number {next} to {last} are not there"),
                };
                let through = first.ts().prev().into();
                gaps.push((Range { after: before.min(through), through }, text));
            }
            next = index + 1;
            before = file.first.unwrap_or(before);
        }
        gaps
    }

    /// The records of `range`: files that cannot hold any of it are not opened. An empty file never takes the place of the one before it.
    pub fn records(&self, range: Range) -> Records {
        let full: Vec<&FileInfo> = self.files.iter().filter(|f| f.first.is_some()).collect();
        // The last file that begins at or before the start may straddle it; what came before that is below.
        let from = full.iter().rposition(|f| f.first.is_some_and(|first| first <= range.after)).unwrap_or(0);
        let kept = full.into_iter().skip(from);
        let kept = kept.take_while(|f| f.first.is_some_and(|first| first <= range.through));
        let last = self.files.iter().rev().find(|f| f.first.is_some()).map(|f| f.path.clone());
        Records::new(kept.map(|f| f.path.clone()).collect(), range, last)
    }
}

/// The commit_ts of a file's first record; None where it is empty, or holds only the beginning of a record.
fn first_of(path: &Path) -> Result<Option<CommitTs>, Error> {
    let bytes = open(path).map_err(|e| damaged(path, 0, CommitTs::ZERO, e.into()))?;
    let mut reader = RecordReader::new(bytes);
    match reader.read() {
        Ok(None) => {
            tracing::warn!(path = %path.display(), "no binlog find in file");
            Ok(None)
        }
        Ok(Some(record)) => commit_ts_of(path, &record).map(Some),
        Err(Failure::Damage(crate::Damage::Torn { have })) => {
            tracing::warn!(path = %path.display(), bytes = have, "the file holds less than one record");
            Ok(None)
        }
        Err(failure) => Err(damaged(path, 0, CommitTs::ZERO, failure)),
    }
}
