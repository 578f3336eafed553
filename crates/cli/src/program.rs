//! A program's command line, laid over its environment, its file and the defaults.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::{Flag, Kind, LogTo, log, show, version_block};

/// A program and its options. `-config`, `-config-check`, `-dump-config`, `-V` and `-h` exist in every program and are not listed.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The name, as in `pump`.
    pub name: &'static str,
    /// The first lines of `--help`.
    pub about: &'static str,
    /// `PUMP_`, `BINLOG_SERVER_`, `Reparo_`; empty: the environment is not read.
    pub env_prefix: &'static str,
    /// The options, in the order of `--help`.
    pub flags: &'static [Flag],
    /// Dotted TOML keys that exist in the file only, down to the last part; `*` is any name. Keys of lists of tables are below the list.
    pub file_keys: &'static [&'static str],
    /// Names of `flags` that are of no use to this program, and whose they are, as in "belongs to a restore": it shares its file with others. On its
    /// command line they are refused, in the file and the environment they are left to the others.
    pub elsewhere: &'static [(&'static str, &'static str)],
}

/// In a file's keys: any name.
const ANY: &str = "*";

/// A key of a file.
struct Known<'a> {
    /// The last part as serde knows it; none: as it is given.
    name: Option<&'a str>,
    flag: Option<&'a Flag>,
    /// Nothing is known of what lies below: it is one value.
    is_whole: bool,
}

/// Why a program ends before it began.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Version, or settings: to stdout, exit 0.
    Print(String),
    /// Help: to stderr, exit 0.
    Help(String),
    /// A malformed command line: to stderr, exit 2.
    Usage(String),
    /// A wrong value, file or environment, or a start that failed: a line of the log, exit 1.
    Fatal {
        /// What could not be done.
        message: String,
        /// Why.
        error: String,
    },
}

impl Stop {
    /// Prints what is to be printed and gives the exit code. There is no log yet: what is fatal goes where a log without a file
    /// would go.
    #[expect(
        clippy::print_stdout,
        clippy::print_stderr,
        reason = "the one place where a command line answers its user"
    )]
    pub fn exit(self, to: LogTo) -> ExitCode {
        match self {
            Stop::Print(text) => {
                println!("{text}");
                ExitCode::SUCCESS
            }
            Stop::Help(text) => {
                eprintln!("{text}");
                ExitCode::SUCCESS
            }
            Stop::Usage(text) => {
                eprintln!("{text}");
                ExitCode::from(2)
            }
            Stop::Fatal { message, error } => {
                let line = log::fatal_line(&message, &error);
                match to {
                    LogTo::Stdout => println!("{line}"),
                    LogTo::Stderr => eprintln!("{line}"),
                }
                ExitCode::from(1)
            }
        }
    }
}

/// A program's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<C> {
    /// As the program takes them.
    pub config: C,
    /// As JSON without secrets, for the log.
    pub shown: String,
}

impl Program {
    /// As [`Program::load`], and takes `check` for what types cannot say. `-config-check` ends here if it found nothing,
    /// `-dump-config` with the settings as a file, whatever they are.
    ///
    /// # Errors
    /// [`Stop`], which knows its exit code.
    pub fn load_checked<C: DeserializeOwned>(
        &self,
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<String>,
        check: impl FnOnce(&C) -> Result<(), String>,
    ) -> Result<Loaded<C>, Stop> {
        let (matches, table) = self.lay_together(args, env)?;
        let config = C::deserialize(Value::Table(table.clone())).map_err(|e| self.refuse(&e.to_string()))?;
        let checks = matches.get_flag("config-check");
        if matches.get_flag("dump-config") && !checks {
            let file = show::as_file(self, &table).map_err(|e| self.refuse(&e.to_string()))?;
            return Err(Stop::Print(file.trim_end().to_owned()));
        }
        check(&config).map_err(|why| self.refuse(&why))?;
        if checks {
            return Err(Stop::Print(format!("{}: the settings are valid", self.name)));
        }
        let shown = serde_json::to_string(&show::without_secrets(&table)).unwrap_or_default();
        Ok(Loaded { config, shown })
    }

    /// Reads command line (without the program's name), environment, file and defaults into `C`, each beating those after it.
    ///
    /// # Errors
    /// [`Stop`], which knows its exit code.
    pub fn load<C: DeserializeOwned>(
        &self,
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<C, Stop> {
        self.load_checked(args, env, |_| Ok(())).map(|loaded| loaded.config)
    }

    fn lay_together(
        &self,
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<(ArgMatches, Table), Stop> {
        let (args, stray) = self.normalise(args)?;
        let matches = self.command().try_get_matches_from(args).map_err(|e| match e.kind() {
            clap::error::ErrorKind::DisplayHelp => {
                Stop::Help(format!("Usage of {}:\n{}", self.name, e.to_string().trim_end()))
            }
            _ => Stop::Usage(e.to_string().trim_end().to_owned()),
        })?;
        if matches.get_flag("V") {
            return Err(Stop::Print(version_block()));
        }

        let mut table = Table::new();
        for flag in self.flags.iter().filter(|f| !f.default.is_empty()) {
            self.set(&mut table, flag, flag.default, "default")?;
        }
        if let Some(path) = matches.get_one::<String>("config") {
            self.lay_file_over(&mut table, path)?;
        }
        if let Some(stray) = stray {
            return Err(self.refuse(&format!("'{stray}' is not a valid flag")));
        }
        for flag in self.flags {
            let given = matches.get_one::<String>(flag.name);
            if let Some((name, whose)) = self.elsewhere.iter().find(|(name, _)| *name == flag.name) {
                if given.is_some() {
                    return Err(Stop::Usage(format!("{}: -{name} {whose}", self.name)));
                }
            } else if let Some(text) = given {
                self.set(&mut table, flag, text, "command line")?;
            } else if !self.env_prefix.is_empty() {
                let name = format!("{}{}", self.env_prefix, flag.name.to_uppercase().replace('-', "_"));
                if let Some(text) = env(&name).filter(|t| !t.is_empty()) {
                    self.set(&mut table, flag, &text, &name)?;
                }
            }
        }
        Ok((matches, table))
    }

    fn refuse(&self, why: &str) -> Stop {
        Stop::Fatal {
            message: format!("verifying flags failed. See '{} --help'.", self.name),
            error: why.trim_end().to_owned(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.name)
            .about(self.about)
            .no_binary_name(true)
            .disable_version_flag(true)
            .disable_help_flag(true)
            .args_override_self(true)
            .arg(Arg::new("help").long("help").short('h').action(ArgAction::Help).help("Prints this help."))
            .arg(Arg::new("V").long("V").action(ArgAction::SetTrue).help("Prints the version."))
            .arg(
                Arg::new("config")
                    .long("config")
                    .value_name("FILE")
                    .help("A TOML file; the command line and the environment go before it."),
            )
            .arg(
                Arg::new("config-check")
                    .long("config-check")
                    .action(ArgAction::SetTrue)
                    .help("Checks all settings and ends: 0 if they are valid."),
            )
            .arg(
                Arg::new("dump-config")
                    .long("dump-config")
                    .action(ArgAction::SetTrue)
                    .help("Prints the settings in effect as a TOML file, without secrets, and ends."),
            );
        for flag in self.flags {
            let mut help = flag.help.to_owned();
            if !flag.default.is_empty() {
                help.push_str(&format!(" [default: {}]", flag.default));
            }
            if !flag.key.is_empty() {
                help.push_str(&format!(" [file: {}]", flag.key));
            }
            let mut arg = Arg::new(flag.name).long(flag.name).help(help).action(ArgAction::Set);
            arg = arg.hide(self.elsewhere.iter().any(|(name, _)| *name == flag.name));
            arg = match flag.kind {
                Kind::Bool => {
                    arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOL")
                }
                Kind::Integer => arg.allow_hyphen_values(true).value_name("N"),
                Kind::List => arg.allow_hyphen_values(true).value_name("A,B"),
                Kind::Text => arg.allow_hyphen_values(true).value_name("TEXT"),
                Kind::IgnoredValue => arg.allow_hyphen_values(true).hide(true),
                Kind::IgnoredBool => {
                    arg.num_args(0..=1).require_equals(true).default_missing_value("true").hide(true)
                }
            };
            command = command.arg(arg);
        }
        command
    }

    /// Go accepts `-name` and `--name` alike; clap wants two dashes. Values pass through untouched. Go reads flags up to the
    /// first word that is none: that one comes besides.
    fn normalise(
        &self,
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<(Vec<String>, Option<String>), Stop> {
        let mut out = Vec::new();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let text =
                arg.into_string().map_err(|a| Stop::Usage(format!("{}: {a:?} is not UTF-8", self.name)))?;
            if text == "--" {
                return Ok((out, args.next().map(|word| word.to_string_lossy().into_owned())));
            }
            let Some(rest) =
                text.strip_prefix("--").or_else(|| text.strip_prefix('-')).filter(|r| !r.is_empty())
            else {
                return Ok((out, Some(text)));
            };
            let name = rest.split_once('=').map_or(rest, |(name, _)| name);
            if name == "h" || name == "help" {
                out.push("--help".to_owned());
                continue;
            }
            out.push(format!("--{rest}"));
            let takes_value = name == "config"
                || self
                    .flags
                    .iter()
                    .any(|f| f.name == name && !matches!(f.kind, Kind::Bool | Kind::IgnoredBool));
            if takes_value
                && !rest.contains('=')
                && let (Some(value), Some(last)) = (args.next(), out.last_mut())
            {
                // One word: a value that begins with a dash stays a value.
                let value = value
                    .into_string()
                    .map_err(|a| Stop::Usage(format!("{}: {a:?} is not UTF-8", self.name)))?;
                last.push('=');
                last.push_str(&value);
            }
        }
        Ok((out, None))
    }

    fn lay_file_over(&self, table: &mut Table, path: &str) -> Result<(), Stop> {
        let text = fs::read_to_string(path).map_err(|e| self.refuse(&format!("cannot read {path}: {e}")))?;
        let file: Table = text.parse().map_err(|e| self.refuse(&format!("{path}: {e}")))?;
        let mut unknown = BTreeSet::new();
        self.merge(table, file, &mut Vec::new(), &mut unknown);
        if unknown.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = unknown.into_iter().collect();
        Err(self.refuse(&format!(
            "component {}'s config file {path} contained unknown configuration options: {}",
            self.name,
            names.join(", ")
        )))
    }

    fn merge(&self, into: &mut Table, from: Table, path: &mut Vec<String>, unknown: &mut BTreeSet<String>) {
        for (key, value) in from {
            path.push(key.clone());
            match self.known(path) {
                None => {
                    unknown.insert(path.join("."));
                }
                Some(Known {
                    flag: Some(Flag { kind: Kind::IgnoredValue | Kind::IgnoredBool, .. }), ..
                }) => {}
                Some(known) => {
                    let value = match (known.flag.map(|flag| flag.kind), value) {
                        (Some(Kind::List), Value::String(text)) => list(&text),
                        (Some(Kind::Text), Value::Integer(number)) => Value::String(number.to_string()),
                        (_, value) if known.is_whole => value,
                        (_, Value::Table(inner)) => {
                            let mut table = match into.remove(known.name.unwrap_or(&key)) {
                                Some(Value::Table(table)) => table,
                                _ => Table::new(),
                            };
                            self.merge(&mut table, inner, path, unknown);
                            Value::Table(table)
                        }
                        (_, Value::Array(items)) => {
                            let item = |item| match item {
                                Value::Table(inner) => {
                                    let mut table = Table::new();
                                    self.merge(&mut table, inner, path, unknown);
                                    Value::Table(table)
                                }
                                // Its type is refused together with all others.
                                item => item,
                            };
                            Value::Array(items.into_iter().map(item).collect())
                        }
                        (_, value) => value,
                    };
                    into.insert(known.name.map_or(key, str::to_owned), value);
                }
            }
            path.pop();
        }
    }

    /// What a file's key means. The original matches keys without regard to case.
    fn known(&self, path: &[String]) -> Option<Known<'_>> {
        let flags = self.flags.iter().filter(|flag| !flag.key.is_empty()).map(|flag| (flag.key, Some(flag)));
        let mut above = None;
        for (key, flag) in flags.chain(self.file_keys.iter().map(|key| (*key, None))) {
            let mut parts = key.split('.');
            let mut name = None;
            let leads = path.iter().all(|given| {
                name = parts.next();
                name.is_some_and(|part| part == ANY || part.eq_ignore_ascii_case(given))
            });
            let known = Known { name: name.filter(|name| *name != ANY), flag, is_whole: true };
            match parts.next() {
                _ if !leads => {}
                None => return Some(known),
                Some(_) => above = Some(Known { flag: None, is_whole: false, ..known }),
            }
        }
        above
    }

    fn set(&self, table: &mut Table, flag: &Flag, text: &str, origin: &str) -> Result<(), Stop> {
        let invalid = |what: &str| {
            let why = format!("invalid value {text:?} for flag -{}: {what} ({origin})", flag.name);
            if origin == "command line" {
                Stop::Usage(format!("{}: {why}", self.name))
            } else {
                self.refuse(&why)
            }
        };
        let value = match flag.kind {
            Kind::IgnoredValue | Kind::IgnoredBool => return Ok(()),
            Kind::Text => Value::String(text.to_owned()),
            Kind::Integer => Value::Integer(text.trim().parse().map_err(|_| invalid("not an integer"))?),
            Kind::Bool => Value::Boolean(go_bool(text).ok_or_else(|| invalid("not true or false"))?),
            Kind::List => list(text),
        };
        let key = if flag.key.is_empty() { flag.name } else { flag.key };
        let mut segments: Vec<&str> = key.split('.').collect();
        let last = segments.pop().unwrap_or(key);
        let mut table = table;
        for segment in segments {
            let slot = table.entry(segment).or_insert_with(|| Value::Table(Table::new()));
            table = slot.as_table_mut().ok_or_else(|| self.refuse(&format!("{segment} must be a table")))?;
        }
        table.insert(last.to_owned(), value);
        Ok(())
    }
}

fn list(text: &str) -> Value {
    Value::Array(
        text.split(',')
            .map(str::trim)
            .filter(|t| !t.is_empty())
            .map(|t| Value::String(t.to_owned()))
            .collect(),
    )
}

/// The spellings of Go's `strconv.ParseBool`.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
