//! Names of binlog files.

use std::fmt;

use binlog_types::CommitTs;

/// `binlog-INDEX[-YYYYMMDDhhmmss[-TSO]][.gz|.tar.gz]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName {
    /// The file's place in the archive.
    pub index: u64,
    /// The commit_ts of its first record, where the name holds it.
    pub first: Option<CommitTs>,
    /// The whole name.
    pub text: String,
}

/// A name that no binlog file has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad file name {0:?}")]
pub struct BadName(pub String);

/// Digits that an index has at most.
const INDEX_DIGITS: usize = 16;

impl FileName {
    /// Reads a name as the original does: two or three parts between dashes, or four with a TSO in the last.
    ///
    /// # Errors
    /// [`BadName`].
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let bad = || BadName(text.to_owned());
        let parts: Vec<&str> = text.split('-').collect();
        let [prefix, index, rest @ ..] = parts.as_slice() else { return Err(bad()) };
        if *prefix != "binlog" || rest.len() > 2 {
            return Err(bad());
        }
        let digits: String = index.chars().take(INDEX_DIGITS).take_while(char::is_ascii_digit).collect();
        let index: u64 = digits.parse().map_err(|_| bad())?;
        let first = match rest {
            [_, last] => {
                let number = last.split('.').next().unwrap_or_default();
                let number: u64 = number.parse().map_err(|_| bad())?;
                (number > 0).then(|| CommitTs::new(number))
            }
            _ => None,
        };
        Ok(FileName { index, first, text: text.to_owned() })
    }

    /// Whether a file of that name beside the binlog files is expected there, and is none of them.
    pub fn is_companion(text: &str) -> bool {
        [".lock", ".tmp", "checkpoint", "savepoint"].iter().any(|end| text.ends_with(end))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_original_reads_them() {
        let read = |text: &str| FileName::parse(text).map(|n| (n.index, n.first.map(CommitTs::raw)));
        assert_eq!(read("binlog-0000000000000000-20190101010101"), Ok((0, None)));
        assert_eq!(read("binlog-0000000000000012"), Ok((12, None)));
        assert_eq!(read("binlog-0000000000000001.gz"), Ok((1, None)));
        let four = "binlog-0000000000000002-20190101010101-407623959013752832.tar.gz";
        assert_eq!(read(four), Ok((2, Some(407_623_959_013_752_832))));
        assert_eq!(read("binlog-0000000000000002-20190101010101-0"), Ok((2, None)));
        for bad in
            ["binlog", "binlog-", "binlog-x", "xbinlog-1", "binlog-1-2-3-4", "binlog-1-2-x", "savepoint"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
