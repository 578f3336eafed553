//! What can be wrong with binlog files.

use std::path::PathBuf;

use binlog_types::CommitTs;

/// Why an archive cannot be read further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory or a file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The directory holds no binlog file.
    #[error("{dir} holds no binlog file (names begin with `binlog-`)")]
    NoFile {
        /// Where.
        dir: PathBuf,
    },
    /// Two files claim one place.
    #[error("{first} and {second} have the same number: which of them belongs to the archive?")]
    SameIndex {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Bytes that are no record.
    #[error(
        "{path}: no record at offset {offset}: {damage}; the last good one before it is at commit_ts {last}"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where, in the file's uncompressed bytes.
        offset: u64,
        /// What is wrong.
        damage: Damage,
        /// Everything at or below it was read.
        last: CommitTs,
    },
    /// A record of good checksum whose contents mean nothing.
    #[error("{path}: the record of commit_ts {commit_ts} at offset {offset} is unreadable: {what}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Which record; 0 where not even that is known.
        commit_ts: CommitTs,
        /// What is wrong.
        what: String,
    },
    /// A record that is older than what came before it, and no copy of it.
    #[error(
        "{path}: the record at offset {offset} is of commit_ts {commit_ts}, though {last} came before it"
    )]
    Disorder {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Its commit_ts.
        commit_ts: CommitTs,
        /// The greatest before it.
        last: CommitTs,
    },
}

/// What is wrong with bytes that should be a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file ends inside a record.
    #[error("the file ends after {have} of its bytes")]
    Torn {
        /// Bytes of it that are there.
        have: u64,
    },
    /// It does not begin as a record does.
    #[error("magic mismatch: {found:#010x} in the place of 0x1c1b0504")]
    Magic {
        /// What is there.
        found: u32,
    },
    /// A length that no record has.
    #[error("its length of {length} bytes is beyond all bounds")]
    Length {
        /// What is there.
        length: u64,
    },
    /// The checksum is of other bytes.
    #[error("expected crc32 {stored} but got {computed}")]
    Checksum {
        /// In the file.
        stored: u32,
        /// Of the payload that is there.
        computed: u32,
    },
    /// Compressed bytes that do not unpack.
    #[error("it does not unpack: {0}")]
    Unpack(String),
}
