//! The unified log format of TiDB's programs.
/// Where the log goes when no file is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTo { Stdout, Stderr }
/// Installs the subscriber: `level` is debug, info, warn, error or fatal; `file` empty means `to`.
///
/// # Errors
/// An unknown level, or a file that cannot be opened.
pub fn init_logging(level: &str, file: &str, to: LogTo) -> anyhow::Result<()> { todo!() }
