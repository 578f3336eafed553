//! What a person can ask for: the values of flags and TOML keys.

use std::path::PathBuf;

use binlog_catalog::{TableFilter, UnknownDdl};
use binlog_cli::tls::Security;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::flags::REGISTRY;
use crate::undo::Asked;
use crate::{Bounds, Command, Error};

/// Where to read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// All pumps that the registry lists and that are not offline.
    Registry,
    /// These pumps, as `host:port`.
    Addresses(Vec<String>),
    /// The data directories of pumps that do not run.
    Stores(Vec<PathBuf>),
    /// A directory of the original drainer's binlog files.
    Files(PathBuf),
}

/// Where to restore to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestType {
    /// The original's text for people.
    Print,
    /// SQL text.
    Sql,
    /// One JSON object a line.
    Json,
    /// CSV, one line a column of a change.
    Csv,
    /// Nowhere: everything is read and checked.
    Memory,
    /// A MySQL, MariaDB or TiDB server.
    MySql,
    /// A SQLite file.
    Sqlite,
}

/// The environment's name for the password of `[dest-db]`.
pub(crate) const PASSWORD_VARIABLE: &str = "Reparo_DEST_DB_PASSWORD";

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
    /// A file that holds the password, in place of `password`; a line's end behind it is not a part of it.
    #[serde(rename = "password-file")]
    pub password_file: PathBuf,
    /// TLS: `[dest-db.security]` with ssl-ca, ssl-cert, ssl-key.
    pub security: Security,
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
    pub from_store: Vec<PathBuf>,
    pub pd_urls: Vec<String>,
    pub cluster_dir: PathBuf,
    pub data_dir: String,
    pub start_datetime: String,
    pub stop_datetime: String,
    pub start_tso: i64,
    pub stop_tso: i64,
    pub after_tso: i64,
    pub full_backup: PathBuf,
    pub archive_timezone: String,
    pub until_next_ddl: bool,
    #[serde(rename = "continue")]
    pub go_on: bool,
    pub restart: bool,
    pub security: Security,
    pub db: Vec<String>,
    pub table: Vec<String>,
    pub dest_type: String,
    pub sql_dialect: String,
    pub dest_path: PathBuf,
    pub dest_db: Option<DestDb>,
    pub allow_gaps: bool,
    pub unknown_ddl: String,
    pub dry_run: bool,
    #[serde(rename = "where")]
    pub condition: String,
    pub txn: i64,
    pub seen_tso: i64,
    pub overwrite: bool,
    pub leave_conflicts: bool,
    pub key: String,
    pub limit: i64,
    pub by: String,
    pub top: i64,
    pub csv: PathBuf,
    pub svg: PathBuf,
    pub memory: String,
    pub temp_dir: PathBuf,
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
            from_store: Vec::new(),
            pd_urls: Vec::new(),
            cluster_dir: PathBuf::new(),
            data_dir: String::new(),
            start_datetime: String::new(),
            stop_datetime: String::new(),
            start_tso: 0,
            stop_tso: 0,
            after_tso: 0,
            full_backup: PathBuf::new(),
            archive_timezone: String::new(),
            until_next_ddl: false,
            go_on: false,
            restart: false,
            security: Security::default(),
            db: Vec::new(),
            table: Vec::new(),
            dest_type: "print".to_owned(),
            sql_dialect: "mariadb".to_owned(),
            dest_path: PathBuf::new(),
            dest_db: None,
            allow_gaps: false,
            unknown_ddl: "store".to_owned(),
            dry_run: false,
            condition: String::new(),
            txn: 0,
            seen_tso: 0,
            overwrite: false,
            leave_conflicts: false,
            key: String::new(),
            limit: 0,
            by: "1m".to_owned(),
            top: 10,
            csv: PathBuf::new(),
            svg: PathBuf::new(),
            memory: "512MiB".to_owned(),
            temp_dir: PathBuf::new(),
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
    /// Memory for folded rows, and where they go beyond it.
    ///
    /// # Errors
    /// [`Error::Config`] for a size that is none.
    pub fn limits(&self) -> Result<crate::Limits, Error> {
        let size: binlog_types::ByteSize =
            self.memory.parse().map_err(|e| Error::Config(format!("-memory: {e}")))?;
        let memory = usize::try_from(size.0).unwrap_or(usize::MAX);
        let mut limits = crate::Limits { memory, ..crate::Limits::default() };
        if !self.temp_dir.as_os_str().is_empty() {
            limits.directory.clone_from(&self.temp_dir);
        }
        Ok(limits)
    }

    /// The zone of TIMESTAMPs in binlog files: that of the host where the drainer ran.
    ///
    /// # Errors
    /// [`Error::Config`] for a zone that is not known.
    pub fn archive_zone(&self) -> Result<TimeZone, Error> {
        match self.archive_timezone.as_str() {
            "" => Ok(TimeZone::system()),
            name => TimeZone::get(name).map_err(|e| {
                Error::Config(format!("-archive-timezone: {e}; give a name such as UTC or Asia/Shanghai"))
            }),
        }
    }

    /// Reads the password of `[dest-db]` where the file with the settings does not have it: from `password-file`, or from the environment.
    ///
    /// # Errors
    /// [`Error::Config`] for two passwords, and a file that cannot be read.
    pub fn find_password(&mut self, env: impl Fn(&str) -> Option<String>) -> Result<(), Error> {
        let Some(db) = &mut self.dest_db else { return Ok(()) };
        let path = &db.password_file;
        if path.as_os_str().is_empty() {
            if db.password.is_empty() {
                db.password = env(PASSWORD_VARIABLE).unwrap_or_default();
            }
            return Ok(());
        }
        if !db.password.is_empty() {
            return invalid("[dest-db] has both password and password-file: give one of them");
        }
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::Config(format!("[dest-db] password-file {}: {e}", path.display())))?;
        db.password =
            text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t)).to_owned();
        Ok(())
    }

    /// Checks what can be checked without asking anyone, and says where to read from.
    ///
    /// # Errors
    /// [`Error::Config`] for contradictions and values that make no sense.
    pub fn validate(&self) -> Result<Origin, Error> {
        let dest = self.dest()?;
        if self.txn_batch < 1 || self.worker_count < 1 {
            return invalid("-txn-batch and -c must be at least 1");
        }
        if self.safe_mode {
            tracing::info!(
                "safe-mode has nothing to change: rows are always written so that repeating is safe"
            );
        }
        self.filter()?;
        self.unknown_ddl()?;
        let starts = [
            self.go_on,
            self.after_tso != 0,
            !self.full_backup.as_os_str().is_empty(),
            self.start_tso != 0 || !self.start_datetime.trim().is_empty(),
        ];
        if starts.into_iter().filter(|given| *given).count() > 1 {
            return invalid(
                "-continue, -after-tso, -full-backup and a start are different answers to where to start: give one of them",
            );
        }
        if self.go_on && self.restart {
            return invalid(
                "-continue goes on where the last restore ended, -restart begins anew: give one of them",
            );
        }
        if self.restart && !matches!(dest, DestType::MySql | DestType::Sqlite) {
            return invalid("-restart needs a database as destination: text always begins anew");
        }
        self.origin()
    }

    /// What becomes of DDLs of kinds that are not known.
    ///
    /// # Errors
    /// [`Error::Config`] for what is no such policy.
    pub fn unknown_ddl(&self) -> Result<UnknownDdl, Error> {
        self.unknown_ddl.parse().map_err(|e| Error::Config(format!("-unknown-ddl: {e}")))
    }

    /// Checks all that `command` checks before it asks anyone.
    ///
    /// # Errors
    /// [`Error::Config`] for the first setting that cannot be.
    pub fn check(&self, command: Command) -> Result<(), Error> {
        self.limits()?;
        self.sql_dialect()?;
        Bounds::resolve(self, &TimeZone::system())?;
        self.filter()?;
        match command {
            Command::Undo => Asked::of(self).map(|_| ()),
            Command::Look => crate::look::Asked::of(self).map(|_| ()),
            Command::Activity => crate::activity::stretch(&self.by).map(|_| ()),
            Command::Prove => crate::prove::target(self).and_then(|_| self.origin()).map(|_| ()),
            Command::Restore | Command::Plan => self.validate().map(|_| ()),
        }
    }

    /// Where to read from.
    ///
    /// # Errors
    /// [`Error::Config`] where none is named, or more than one.
    pub fn origin(&self) -> Result<Origin, Error> {
        let pump = !matches!(self.from_pump.as_str(), "" | "false");
        if !self.data_dir.is_empty() {
            if pump || !self.from_store.is_empty() {
                return invalid(
                    "-data-dir, -from-pump and -from-store are different sources: give one of them",
                );
            }
            return match self.dest()? {
                DestType::Sqlite => invalid(
                    "-data-dir (binlog files) cannot go to SQLite: their DDL is MySQL's text. Restore into MySQL, MariaDB or TiDB, or from pumps",
                ),
                _ => Ok(Origin::Files(PathBuf::from(&self.data_dir))),
            };
        }
        // With -from-pump, they are read beside the pumps that run.
        if !self.from_store.is_empty() && !pump {
            return Ok(Origin::Stores(self.from_store.clone()));
        }
        if !pump {
            return invalid(
                "say where to read from: -from-pump with -pd-urls or -cluster-dir, -from-pump=HOST:PORT,…, -from-store=DIR,…, or -data-dir=DIR with binlog files",
            );
        }
        match self.from_pump.as_str() {
            REGISTRY | "true" if self.has_registry() => Ok(Origin::Registry),
            REGISTRY | "true" => {
                invalid("-from-pump needs -pd-urls or -cluster-dir to find the pumps, or =HOST:PORT,…")
            }
            list => {
                let hosts: Vec<String> =
                    list.split(',').map(|h| h.trim().to_owned()).filter(|h| !h.is_empty()).collect();
                match hosts.iter().find(|h| !h.contains(':') || h.contains('/')) {
                    Some(bad) => invalid(format!("-from-pump: {bad:?} is not HOST:PORT")),
                    None => Ok(Origin::Addresses(hosts)),
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
            "json" => Ok(DestType::Json),
            "csv" => Ok(DestType::Csv),
            "mysql" | "tidb" if self.dest_db.as_ref().is_none_or(|db| db.host.is_empty()) => invalid(
                "dest-db config must not be empty: -dest-type mysql needs a file with [dest-db] host, port, user, and password, password-file or Reparo_DEST_DB_PASSWORD in the environment",
            ),
            "mysql" | "tidb" | "memory" if !self.dest_path.as_os_str().is_empty() => invalid(format!(
                "-dest-path names a file, and -dest-type {} writes none: leave one of them out",
                self.dest_type
            )),
            "mysql" | "tidb" => Ok(DestType::MySql),
            "memory" => Ok(DestType::Memory),
            "sqlite" if self.dest_path.as_os_str().is_empty() => {
                invalid("-dest-type sqlite needs -dest-path=FILE")
            }
            "sqlite" => Ok(DestType::Sqlite),
            other => invalid(format!(
                "dest type {other} is not supported: use print, sql, json, csv, memory, mysql, tidb or sqlite"
            )),
        }
    }

    /// Whose DDL SQL text has.
    ///
    /// # Errors
    /// [`Error::Config`] for what is no such dialect.
    pub fn sql_dialect(&self) -> Result<binlog_sink::SqlDialect, Error> {
        self.sql_dialect.parse().map_err(|e| Error::Config(format!("-sql-dialect: {e}")))
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
        // The original prints all that is in the files.
        let all = !self.data_dir.is_empty() && self.dest_type == "print";
        let make = if all { TableFilter::new } else { TableFilter::user_tables };
        make(&do_dbs, &do_tables, &self.replicate_ignore_db, &pairs(&self.replicate_ignore_table))
            .map_err(|e| Error::Config(format!("a filter is no regular expression: {e}")))
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
