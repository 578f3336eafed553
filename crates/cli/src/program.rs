//! A program's command line.
use std::ffi::OsString;
use std::process::ExitCode;
use crate::Flag;
/// A program and its options. `-config`, `-V`, `-h`, `-L`/`-log-file` as any other flag must be in `flags` except config, V, h and help, which every program has.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// `pump`
    pub name: &'static str,
    /// The first lines of `--help`.
    pub about: &'static str,
    /// `PUMP_`, `BINLOG_SERVER_`, `Reparo_`; empty: no environment.
    pub env_prefix: &'static str,
    /// The options in the order of `--help`.
    pub flags: &'static [Flag],
    /// TOML keys (dotted; a table name stands for all below it) that exist only in the file.
    pub file_keys: &'static [&'static str],
}
/// Why a program ends before it began.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help or version: print to stdout, exit 0.
    Print(String),
    /// A malformed command line: stderr, exit 2.
    Usage(String),
    /// A wrong value, file or environment: stderr, exit 1.
    Config(String),
}
impl Program {
    /// Reads command line, environment and file into `C`. `args` are without the program's name.
    ///
    /// # Errors
    /// [`Stop`], to be turned into the exit code by [`Stop::exit`].
    pub fn load<C: serde::de::DeserializeOwned>(&self, args: impl IntoIterator<Item = OsString>, env: impl Fn(&str) -> Option<String>) -> Result<C, Stop> { todo!() }
}
impl Stop {
    /// Prints what is to be printed and gives the exit code.
    pub fn exit(self) -> ExitCode { todo!() }
}
