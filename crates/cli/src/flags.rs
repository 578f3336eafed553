//! The definition of one option.

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A signed integer.
    Integer,
    /// `-x`, `-x=true`, `-x=false`.
    Bool,
    /// Comma-separated on the command line and in the environment; an array or a comma-separated text in TOML. Always an array in the result.
    List,
    /// A value, accepted for compatibility, and ignored.
    IgnoredValue,
    /// As [`Kind::Bool`], accepted for compatibility, and ignored.
    IgnoredBool,
}

/// One option of a program.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The name on the command line, without dashes.
    pub name: &'static str,
    /// The dotted TOML key; empty: command line and environment only, and the value is found under `name`.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The default as text; empty: the key is absent unless given.
    pub default: &'static str,
    /// One or two sentences for `--help`.
    pub help: &'static str,
}
