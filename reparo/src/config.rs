//! What a person can ask for: the original's flags and TOML keys, and our own.

use std::ffi::OsString;
use std::path::PathBuf;

use binlog_catalog::TableFilter;
use binlog_cli::{Flag, Kind, Program};
use serde::Deserialize;

use crate::Error;

/// The command line.
pub const PROGRAM: Program = Program {
    name: "reparo",
    about: "Restores a range of binlogs, read from the pumps, to a database or as text.\n\
            Times: a TSO, 2026-11-22T12:57:55Z, \"2026-11-22 12:57:55 +08:00\", \"2026-11-22 12:57:55 Europe/Berlin\", @SECONDS; \
            without a zone they are local.",
    env_prefix: "Reparo_",
    flags: FLAGS,
    file_keys: &[
        "dest-db",
        "replicate-do-db",
        "replicate-do-table",
        "replicate-ignore-db",
        "replicate-ignore-table",
    ],
};

const fn flag(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag { name, key: name, kind, default, help }
}

const FLAGS: &[Flag] = &[
    flag(
        "from-pump",
        Kind::Text,
        "",
        "Read from the pumps that the registry lists (-pd-urls or -cluster-dir), or from =HOST:PORT,…",
    ),
    flag("pd-urls", Kind::List, "", "PD's addresses: where the registry of pumps is."),
    flag("cluster-dir", Kind::Text, "", "The directory of a cluster without PD."),
    flag("data-dir", Kind::Text, "", "A directory of the original drainer's binlog files."),
    flag("start-datetime", Kind::Text, "", "Where to start, inclusive; goes before -start-tso."),
    flag(
        "stop-datetime",
        Kind::Text,
        "",
        "Where to stop, inclusive; goes before -stop-tso. Without either: what the pumps hold now.",
    ),
    flag("start-tso", Kind::Integer, "0", "Where to start, inclusive; 0 is the beginning."),
    flag("stop-tso", Kind::Integer, "0", "Where to stop, inclusive; 0 is what the pumps hold now."),
    flag(
        "after-tso",
        Kind::Integer,
        "0",
        "Where to start, exclusive: the TSO of the backup that was restored before.",
    ),
    flag("db", Kind::List, "", "Only these databases; adds to replicate-do-db."),
    flag("table", Kind::List, "", "Only these tables, as DB.TABLE; adds to replicate-do-table."),
    flag("dest-type", Kind::Text, "print", "print, sql, mysql, tidb or sqlite."),
    flag(
        "dest-path",
        Kind::Text,
        "",
        "The file: of sqlite (needed), of sql and print (default: stdout; it must not exist yet).",
    ),
    flag(
        "allow-gaps",
        Kind::Bool,
        "false",
        "Restore what is there where binlogs are purged or missing; the summary lists the holes.",
    ),
    flag("txn-batch", Kind::Integer, "20", "Rows of one transaction at the destination."),
    Flag {
        name: "c",
        key: "worker-count",
        kind: Kind::Integer,
        default: "16",
        help: "Parallel connections to the destination.",
    },
    flag(
        "safe-mode",
        Kind::Bool,
        "false",
        "Accepted for compatibility; rows are always written so that repeating is safe.",
    ),
    flag("log-file", Kind::Text, "", "Where the log goes; default: stderr."),
    Flag {
        name: "L",
        key: "log-level",
        kind: Kind::Text,
        default: "info",
        help: "debug, info, warn, error or fatal.",
    },
];

/// Value of `-from-pump` that asks for the registry's pumps.
const REGISTRY: &str = "registry";

/// Lets `-from-pump` stand without a value, and with one after a blank, beside `-from-pump=HOST:PORT,…`.
pub fn prepare_args(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut out: Vec<OsString> = Vec::new();
    let mut args = args.into_iter().peekable();
    while let Some(arg) = args.next() {
        if arg != "-from-pump" && arg != "--from-pump" {
            out.push(arg);
            continue;
        }
        let value = args.next_if(|next| !next.to_string_lossy().starts_with('-'));
        let mut joined = OsString::from("-from-pump=");
        joined.push(value.unwrap_or_else(|| REGISTRY.into()));
        out.push(joined);
    }
    out
}

/// Which pumps to read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromPump {
    /// All that the registry lists and that are not offline.
    Registry,
    /// These, as `host:port`.
    Addresses(Vec<String>),
}

/// Where to restore to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestType {
    /// The original's text for people.
    Print,
    /// SQL text.
    Sql,
    /// A MySQL, MariaDB or TiDB server.
    MySql,
    /// A SQLite file.
    Sqlite,
}

/// `[dest-db]`.
#[derive(Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct DestDb {
    /// Host name or address.
    pub host: String,
    /// TCP port; 0 is 3306.
    pub port: u16,
    /// User name.
    pub user: String,
    /// Never shown.
    pub password: String,
}

impl std::fmt::Debug for DestDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)
    }
}

/// An entry of `[[replicate-do-table]]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TableName {
    /// The database, or a pattern.
    pub db_name: String,
    /// The table, or a pattern.
    pub tbl_name: String,
}

/// All settings, as laid over one another by [`PROGRAM`]. `Default` is an empty command line.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[expect(
    missing_docs,
    reason = "each field is the flag or key of its name, documented in the table of flags"
)]
pub struct Config {
    pub from_pump: String,
    pub pd_urls: Vec<String>,
    pub cluster_dir: PathBuf,
    pub data_dir: String,
    pub start_datetime: String,
    pub stop_datetime: String,
    pub start_tso: i64,
    pub stop_tso: i64,
    pub after_tso: i64,
    pub db: Vec<String>,
    pub table: Vec<String>,
    pub dest_type: String,
    pub dest_path: PathBuf,
    pub dest_db: Option<DestDb>,
    pub allow_gaps: bool,
    pub txn_batch: i64,
    pub worker_count: i64,
    pub safe_mode: bool,
    pub log_file: String,
    pub log_level: String,
    pub replicate_do_db: Vec<String>,
    pub replicate_do_table: Vec<TableName>,
    pub replicate_ignore_db: Vec<String>,
    pub replicate_ignore_table: Vec<TableName>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            from_pump: String::new(),
            pd_urls: Vec::new(),
            cluster_dir: PathBuf::new(),
            data_dir: String::new(),
            start_datetime: String::new(),
            stop_datetime: String::new(),
            start_tso: 0,
            stop_tso: 0,
            after_tso: 0,
            db: Vec::new(),
            table: Vec::new(),
            dest_type: "print".to_owned(),
            dest_path: PathBuf::new(),
            dest_db: None,
            allow_gaps: false,
            txn_batch: 20,
            worker_count: 16,
            safe_mode: false,
            log_file: String::new(),
            log_level: "info".to_owned(),
            replicate_do_db: Vec::new(),
            replicate_do_table: Vec::new(),
            replicate_ignore_db: Vec::new(),
            replicate_ignore_table: Vec::new(),
        }
    }
}

fn invalid<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::Config(text.into()))
}

impl Config {
    /// Checks what can be checked without asking anyone, and says where to read from.
    ///
    /// # Errors
    /// [`Error::Config`] for contradictions and values that make no sense.
    pub fn validate(&self) -> Result<FromPump, Error> {
        self.dest()?;
        if self.txn_batch < 1 || self.worker_count < 1 {
            return invalid("-txn-batch and -c must be at least 1");
        }
        if !self.data_dir.is_empty() {
            return invalid(
                "-data-dir (binlog files) is not supported yet: restore from the pumps with -from-pump",
            );
        }
        if self.safe_mode {
            tracing::info!(
                "safe-mode has nothing to change: rows are always written so that repeating is safe"
            );
        }
        self.filter()?;
        let has_registry = self.has_registry();
        match self.from_pump.as_str() {
            "" | "false" => invalid(
                "say where to read from: -from-pump with -pd-urls or -cluster-dir, or -from-pump=HOST:PORT,…",
            ),
            REGISTRY | "true" if has_registry => Ok(FromPump::Registry),
            REGISTRY | "true" => {
                invalid("-from-pump needs -pd-urls or -cluster-dir to find the pumps, or =HOST:PORT,…")
            }
            list => {
                let hosts: Vec<String> =
                    list.split(',').map(|h| h.trim().to_owned()).filter(|h| !h.is_empty()).collect();
                match hosts.iter().find(|h| !h.contains(':') || h.contains('/')) {
                    Some(bad) => invalid(format!("-from-pump: {bad:?} is not HOST:PORT")),
                    None => Ok(FromPump::Addresses(hosts)),
                }
            }
        }
    }

    /// Whether the registry of pumps can be asked.
    pub fn has_registry(&self) -> bool {
        !self.pd_urls.is_empty() || !self.cluster_dir.as_os_str().is_empty()
    }

    /// The kind of destination.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown kind, or one that lacks its settings.
    pub fn dest(&self) -> Result<DestType, Error> {
        match self.dest_type.as_str() {
            "print" => Ok(DestType::Print),
            "sql" => Ok(DestType::Sql),
            "mysql" | "tidb" if self.dest_db.as_ref().is_none_or(|db| db.host.is_empty()) => invalid(
                "dest-db config must not be empty: -dest-type mysql needs a file with [dest-db] host, port, user, password",
            ),
            "mysql" | "tidb" => Ok(DestType::MySql),
            "sqlite" if self.dest_path.as_os_str().is_empty() => {
                invalid("-dest-type sqlite needs -dest-path=FILE")
            }
            "sqlite" => Ok(DestType::Sqlite),
            other => {
                invalid(format!("dest type {other} is not supported: use print, sql, mysql, tidb or sqlite"))
            }
        }
    }

    /// The do and ignore lists, `-db` and `-table` included; TiDB's own databases take part only by name.
    ///
    /// # Errors
    /// [`Error::Config`] for a pattern that is no regular expression, or a `-table` without its database.
    pub fn filter(&self) -> Result<TableFilter, Error> {
        let pairs = |list: &[TableName]| -> Vec<(String, String)> {
            list.iter().map(|t| (t.db_name.clone(), t.tbl_name.clone())).collect()
        };
        let do_dbs = [self.replicate_do_db.as_slice(), self.db.as_slice()].concat();
        let mut do_tables = pairs(&self.replicate_do_table);
        for name in &self.table {
            match name.split_once('.') {
                Some((db, table)) if !db.is_empty() && !table.is_empty() => {
                    do_tables.push((db.to_owned(), table.to_owned()));
                }
                _ => return invalid(format!("-table: {name:?} is not DB.TABLE")),
            }
        }
        TableFilter::user_tables(
            &do_dbs,
            &do_tables,
            &self.replicate_ignore_db,
            &pairs(&self.replicate_ignore_table),
        )
        .map_err(|e| Error::Config(format!("a filter is no regular expression: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &[&str]) -> Config {
        let args = prepare_args(args.iter().map(OsString::from));
        PROGRAM.load(args, |_| None).unwrap()
    }

    #[test]
    fn from_pump_stands_alone_or_with_addresses() {
        let from = |args: &[&str]| load(args).validate();
        assert_eq!(from(&["-from-pump", "-cluster-dir", "d"]).unwrap(), FromPump::Registry);
        assert_eq!(from(&["--from-pump", "-pd-urls=http://a:1"]).unwrap(), FromPump::Registry);
        let hosts = FromPump::Addresses(vec!["a:1".into(), "b:2".into()]);
        assert_eq!(from(&["-from-pump=a:1, b:2"]).unwrap(), hosts);
        assert_eq!(from(&["-from-pump", "a:1,b:2"]).unwrap(), hosts);
        for bad in [&["-from-pump"][..], &[], &["-from-pump=http://a:1"], &["-from-pump=a"]] {
            assert!(from(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_original_flags_are_accepted() {
        let config = load(&[
            "-start-tso",
            "5",
            "-stop-tso=9",
            "--txn-batch=7",
            "-c",
            "3",
            "-L",
            "debug",
            "-dest-type",
            "print",
            "-safe-mode",
            "-start-datetime",
            "",
            "-log-file=x.log",
        ]);
        assert_eq!((config.start_tso, config.stop_tso, config.txn_batch, config.worker_count), (5, 9, 7, 3));
        assert!(config.safe_mode);
        assert_eq!(config.log_file, "x.log");
    }

    #[test]
    fn contradictions_are_refused_in_words() {
        let message = |args: &[&str]| load(args).validate().unwrap_err().to_string();
        let pump = "-from-pump=a:1";
        assert!(message(&[pump, "-data-dir=x"]).contains("not supported yet"));
        assert!(message(&[pump, "-dest-type=oracle"]).contains("dest type oracle is not supported"));
        assert!(message(&[pump, "-dest-type=mysql"]).contains("dest-db config must not be empty"));
        assert!(message(&[pump, "-dest-type=sqlite"]).contains("-dest-path"));
        assert!(message(&[pump, "-c=0"]).contains("at least 1"));
        assert!(message(&[pump, "-table=t"]).contains("DB.TABLE"));
    }

    #[test]
    fn filters_come_from_file_and_flags() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reparo.toml");
        let text = "replicate-do-db = [\"a\"]\n[[replicate-ignore-table]]\ndb-name = \"a\"\ntbl-name = \"skip\"\n[dest-db]\nhost = \"h\"\nport = 4000\n";
        std::fs::write(&path, text).unwrap();
        let config = load(&["-config", path.to_str().unwrap(), "-table=b.t"]);
        assert_eq!(config.dest_db.as_ref().unwrap().port, 4000);
        let filter = config.filter().unwrap();
        assert!(filter.allows("a", "x") && filter.allows("b", "t"));
        assert!(!filter.allows("a", "skip") && !filter.allows("b", "u"));
    }

    #[test]
    fn passwords_are_not_shown() {
        let db = DestDb { password: "secret".into(), ..DestDb::default() };
        assert!(!format!("{db:?}").contains("secret"));
    }
}
