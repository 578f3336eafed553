//! The settings, checked: units and defaults resolved, and what is not supported refused by name.

use std::path::PathBuf;
use std::time::Duration;

use binlog_catalog::{TableFilter, UnknownDdl};
use binlog_cli::tls::Security;
use binlog_cli::{HostPort, check_pd_urls, first_address};
use binlog_sink::{Marks, MySqlTarget, RecycleBin, Target};
use binlog_types::{CommitTs, NodeId, parse_retention};

use crate::downstream;
use crate::event_rules::EventRules;
use crate::ledger::Accepted;
use crate::select::Selection;
use crate::{Config, Error, Syncer, TableName};

const DEFAULT_PORT: u16 = 8249;
const DEFAULT_CHECKPOINT_SCHEMA: &str = "tidb_binlog";

/// See the fields of [`Config`].
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) node_id: Option<NodeId>,
    pub(crate) addr: HostPort,
    pub(crate) advertise: HostPort,
    pub(crate) data_dir: PathBuf,
    pub(crate) detect_interval: Duration,
    pub(crate) pd_urls: Vec<String>,
    pub(crate) cluster_dir: Option<PathBuf>,
    /// None: now.
    pub(crate) initial: Option<CommitTs>,
    pub(crate) synced_after: Duration,
    pub(crate) budget: usize,
    pub(crate) target: Target,
    pub(crate) workers: usize,
    pub(crate) batch_rows: usize,
    pub(crate) checkpoint_schema: String,
    pub(crate) checkpoint_table: String,
    /// None: where the rows are.
    pub(crate) checkpoint_target: Option<MySqlTarget>,
    pub(crate) marks: Option<Marks>,
    pub(crate) partial_columns: bool,
    pub(crate) selection: Selection,
    pub(crate) unknown_ddl: UnknownDdl,
    pub(crate) recycle_bin: RecycleBin,
    pub(crate) accepted: Accepted,
    pub(crate) security: Security,
    pub(crate) gzip: bool,
    /// Where metrics are pushed to, and how often.
    pub(crate) push: Option<(String, Duration)>,
}

pub(crate) fn refuse<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::Config(text.into()))
}

impl Config {
    /// Checks every setting, as starting the drainer does.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn validate(&self) -> Result<(), Error> {
        let settings = self.check(|name| std::env::var(name).ok())?;
        Ok(binlog_cli::tls::check(&settings.security)?)
    }

    /// Resolves defaults and checks every setting. `env` gives the downstream's defaults.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub(crate) fn check(&self, env: impl Fn(&str) -> Option<String>) -> Result<Settings, Error> {
        self.refuse_unsupported()?;
        let addr_text = match self.addr.as_str() {
            "" => format!("{}:{DEFAULT_PORT}", first_address()),
            addr => addr.to_owned(),
        };
        let advertise_text = if self.advertise_addr.is_empty() { &addr_text } else { &self.advertise_addr };
        let parse = |name: &str, text: &str| {
            HostPort::parse(text).ok_or_else(|| {
                Error::Config(format!("bad {name} {text:?}: write host:port, without a scheme"))
            })
        };
        let (addr, advertise) = (parse("addr", &addr_text)?, parse("advertise-addr", advertise_text)?);
        if advertise.host.is_empty() || advertise.host == "0.0.0.0" {
            tracing::warn!(%advertise, "others cannot reach this address; set advertise-addr");
        }
        let node_id = match self.node_id.trim() {
            "" => None,
            text => Some(NodeId::new(text).map_err(|e| Error::Config(e.to_string()))?),
        };
        let cluster_dir = (!self.cluster_dir.is_empty()).then(|| PathBuf::from(&self.cluster_dir));
        let initial = match self.initial_commit_ts {
            -1 => None,
            ts => Some(CommitTs::new(non_negative("initial-commit-ts", ts)?)),
        };
        let syncer = &self.syncer;
        let dispatch = syncer.disable_dispatch.map(|d| !d).or(syncer.enable_dispatch).unwrap_or(true);
        let workers = positive("worker-count", syncer.worker_count)?;
        let rules =
            EventRules::new(&syncer.table_migrate_rule, &syncer.binlog_filter_rule, syncer.case_sensitive)
                .map_err(Error::Config)?;
        Ok(Settings {
            node_id,
            addr,
            advertise,
            data_dir: PathBuf::from(if self.data_dir.is_empty() { "data.drainer" } else { &self.data_dir }),
            detect_interval: Duration::from_secs(match self.detect_interval {
                0 => 5,
                seconds => non_negative("detect-interval", seconds)?,
            }),
            pd_urls: match cluster_dir {
                Some(_) => Vec::new(),
                None => check_pd_urls(&self.pd_urls, None).map_err(Error::Config)?,
            },
            cluster_dir,
            initial,
            synced_after: Duration::from_secs(
                60 * non_negative("synced-check-time", self.synced_check_time)?,
            ),
            budget: usize::try_from(self.memory_budget.0).unwrap_or(usize::MAX).max(1 << 20),
            target: downstream::target(syncer, !rules.is_empty(), &env)?,
            workers: if dispatch { workers } else { 1 },
            batch_rows: positive("txn-batch", syncer.txn_batch)?,
            checkpoint_schema: match syncer.to.checkpoint.schema.as_str() {
                "" => DEFAULT_CHECKPOINT_SCHEMA.to_owned(),
                schema => schema.to_owned(),
            },
            checkpoint_table: match syncer.to.checkpoint.table.as_str() {
                // As in the original, the table's name counts only where the server is named too.
                table if !table.is_empty() && !syncer.to.checkpoint.kind.is_empty() => table.to_owned(),
                _ => "checkpoint".to_owned(),
            },
            checkpoint_target: downstream::checkpoint(syncer, &env)?,
            marks: syncer.loopback_control.then_some(Marks { channel: syncer.channel_id }),
            // Where DDL is left out, the downstream's tables go their own way.
            partial_columns: syncer.to.sync_mode == 2 || !syncer.sync_ddl || !rules.is_empty(),
            selection: Selection {
                ignored: syncer
                    .ignore_txn_commit_ts
                    .iter()
                    .map(|ts| non_negative("ignore-txn-commit-ts", *ts).map(CommitTs::new))
                    .collect::<Result<_, _>>()?,
                own_channel: syncer.loopback_control.then_some(syncer.channel_id),
                tables: filter(syncer)?,
                rules,
                sync_ddl: syncer.sync_ddl,
            },
            unknown_ddl: syncer
                .unknown_ddl
                .parse()
                .map_err(|e| Error::Config(format!("syncer.unknown-ddl: {e}")))?,
            recycle_bin: recycle_bin(&syncer.recycle_bin)?,
            accepted: Accepted::parse(&self.accept_gap, &self.accept_store)?,
            security: self.security.clone(),
            gzip: self.compressor == "gzip",
            push: match (self.metrics_addr.as_str(), non_negative("metrics-interval", self.metrics_interval)?)
            {
                ("", _) | (_, 0) => None,
                (address, seconds) => Some((address.to_owned(), Duration::from_secs(seconds))),
            },
        })
    }

    /// What would otherwise be left out in silence.
    fn refuse_unsupported(&self) -> Result<(), Error> {
        let (syncer, to) = (&self.syncer, &self.syncer.to);
        let mysql = matches!(syncer.db_type.as_str(), "mysql" | "tidb");
        let unsupported = [
            ("syncer.relay.log-dir", !syncer.relay.log_dir.is_empty()),
            ("syncer.loopback-control with this db-type", syncer.loopback_control && !mysql),
            ("syncer.to.sync-mode = 2 with this db-type", to.sync_mode == 2 && !mysql),
            ("syncer.to.checkpoint.type with this db-type", !to.checkpoint.kind.is_empty() && !mysql),
        ];
        if !matches!(to.sync_mode, 0..=2) {
            return refuse(format!("sync-mode is {}; use 1 (all columns) or 2 (partial)", to.sync_mode));
        }
        match unsupported.iter().find(|(_, set)| *set) {
            Some((what, _)) => {
                refuse(format!("{what} is not supported yet; remove it from the configuration"))
            }
            None if !matches!(self.compressor.as_str(), "" | "gzip") => {
                refuse(format!("invalid compressor {:?}: use gzip or nothing", self.compressor))
            }
            None => Ok(()),
        }
    }
}

fn filter(syncer: &Syncer) -> Result<TableFilter, Error> {
    let pairs = |list: &[TableName]| -> Result<Vec<(String, String)>, Error> {
        list.iter()
            .map(|name| match (name.db_name.as_str(), name.tbl_name.as_str()) {
                ("", _) | (_, "") => {
                    refuse("empty db-name or tbl-name in replicate-do-table or ignore-table")
                }
                (db, table) => Ok((db.to_owned(), table.to_owned())),
            })
            .collect()
    };
    if syncer.replicate_do_db.iter().any(String::is_empty) {
        return refuse("empty schema name in replicate-do-db");
    }
    let (do_tables, ignore_tables) = (pairs(&syncer.replicate_do_table)?, pairs(&syncer.ignore_table)?);
    TableFilter::user_tables(&syncer.replicate_do_db, &do_tables, &syncer.ignore_schemas, &ignore_tables)
        .map_err(|e| Error::Config(format!("a pattern in [syncer] is no regular expression: {e}")))
}

fn non_negative(name: &str, value: i64) -> Result<u64, Error> {
    u64::try_from(value).map_err(|_| Error::Config(format!("{name} is {value}; it must not be negative")))
}

fn positive(name: &str, value: i64) -> Result<usize, Error> {
    usize::try_from(value)
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| Error::Config(format!("{name} is {value}; it must be above 0")))
}

fn recycle_bin(text: &str) -> Result<RecycleBin, Error> {
    if text.is_empty() {
        return Ok(RecycleBin::Off);
    }
    let time = parse_retention(text).map_err(|e| Error::Config(format!("syncer.recycle-bin: {e}")))?;
    Ok(RecycleBin::For(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Result<Settings, Error> {
        let mut config = Config { addr: "127.0.0.1:8249".to_owned(), ..Config::default() };
        change(&mut config);
        config.check(|name| (name == "MYSQL_PORT").then(|| "4000".to_owned()))
    }

    #[test]
    fn the_downstream_comes_from_the_environment_where_the_file_is_silent() {
        let Target::MySql(mysql) = config(|c| c.syncer.to.user = "me".to_owned()).unwrap().target else {
            panic!("mysql is the default");
        };
        assert_eq!((mysql.host.as_str(), mysql.port, mysql.user.as_str()), ("localhost", 4000, "me"));
    }

    #[test]
    fn system_schemas_take_part_only_by_name() {
        let default = config(|_| {}).unwrap().selection.tables;
        for schema in ["sys", "mysql", "METRICS_SCHEMA", "tidb_binlog"] {
            assert!(!default.allows(schema, "t"), "{schema}");
        }
        assert!(default.allows("shop", "t"));
        let asked = config(|c| c.syncer.replicate_do_db = vec!["sys".to_owned()]).unwrap().selection.tables;
        assert!(asked.allows("sys", "t") && !asked.allows("shop", "t"));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let text = |result: Result<Settings, Error>| {
            let error = result.unwrap_err();
            assert_eq!(error.exit_code(), 1);
            error.to_string()
        };
        assert!(
            text(config(|c| c.syncer.db_type = "kafka".to_owned())).contains("kafka is not supported yet")
        );
        assert!(text(config(|c| c.syncer.db_type = "sqlite".to_owned())).contains("-dest-path"));
        assert!(text(config(|c| c.syncer.relay.log_dir = "r".to_owned())).contains("relay.log-dir"));
        assert!(text(config(|c| c.syncer.to.sync_mode = 3)).contains("sync-mode"));
        assert!(text(config(|c| c.syncer.sql_mode = Some("NONSENSE".to_owned()))).contains("NONSENSE"));
        assert!(text(config(|c| c.syncer.worker_count = 0)).contains("worker-count"));
        assert!(
            text(config(|c| c.pd_urls = vec!["a:1".to_owned()]))
                .contains("URL scheme must be http or https: a:1")
        );
        assert!(text(config(|c| c.addr = "http://a:1".to_owned())).contains("addr"));
    }

    #[test]
    fn the_downstreams_session_is_configured() {
        let key = binlog_cli::secret_key(|_| None).unwrap();
        let settings = config(|c| {
            let to = &mut c.syncer.to;
            to.encrypted_password = key.encrypt("s3cret");
            to.params.insert("tidb_enable_1pc".to_owned(), "1".to_owned());
            to.params.insert("time_zone".to_owned(), "+08:00".to_owned());
            to.security.ssl_ca = "/ca.pem".to_owned();
            to.checkpoint.kind = "mysql".to_owned();
            to.checkpoint.table = "cp".to_owned();
            to.checkpoint.encrypted_password = key.encrypt("other");
            c.syncer.sql_mode = Some("ansi_quotes,STRICT_TRANS_TABLES".to_owned());
        })
        .unwrap();
        let Target::MySql(mysql) = &settings.target else { panic!("mysql is the default") };
        assert_eq!(mysql.password, "s3cret");
        assert_eq!(mysql.session, [("tidb_enable_1pc".to_owned(), "1".to_owned())]);
        assert_eq!(mysql.sql_mode, ["ANSI_QUOTES", "STRICT_TRANS_TABLES"]);
        assert_eq!(mysql.tls.as_ref().map(|t| t.ca.as_str()), Some("/ca.pem"));
        assert_eq!(mysql.read_timeout, Some(Duration::from_secs(60)));
        let elsewhere = settings.checkpoint_target.as_ref().unwrap();
        assert_eq!((elsewhere.host.as_str(), elsewhere.port), ("127.0.0.1", 3306));
        assert_eq!((elsewhere.password.as_str(), settings.checkpoint_table.as_str()), ("other", "cp"));
        let shown = format!("{settings:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("other"), "{shown}");
        let bad = config(|c| {
            c.syncer.to.params.insert("a = 1; drop".to_owned(), String::new());
        });
        assert!(bad.is_err());
    }

    #[test]
    fn what_does_not_fit_into_the_tables_of_others_is_refused() {
        let modes = |change: fn(&mut Config)| match config(change).unwrap().target {
            Target::MySql(mysql) => mysql.sql_mode,
            Target::Sqlite(_) => panic!("mysql is the default"),
        };
        assert!(modes(|_| {}).is_empty());
        assert_eq!(modes(|c| c.syncer.sync_ddl = false), ["STRICT_TRANS_TABLES"]);
        assert!(modes(|c| (c.syncer.sync_ddl, c.syncer.to.sync_mode) = (false, 2)).is_empty());
        assert!(modes(|c| (c.syncer.sync_ddl, c.syncer.sql_mode) = (false, Some(String::new()))).is_empty());
    }

    #[test]
    fn dispatch_follows_the_originals_order() {
        let workers = |disable, enable| {
            config(|c| (c.syncer.disable_dispatch, c.syncer.enable_dispatch) = (disable, enable))
                .unwrap()
                .workers
        };
        assert_eq!(workers(None, None), 16);
        assert_eq!(workers(None, Some(false)), 1);
        assert_eq!(workers(Some(false), Some(false)), 16);
    }
}
