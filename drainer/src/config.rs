//! The settings as they are laid together from default, file, environment and command line. See [`crate::PROGRAM`] for what they mean.

use std::collections::BTreeMap;
use std::fmt;

use binlog_cli::tls::Security;
use serde::Deserialize;

/// The top level of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Config {
    /// Empty: `HOSTNAME:PORT`.
    pub node_id: String,
    /// `host:port`, no scheme.
    pub addr: String,
    /// `host:port`, no scheme.
    pub advertise_addr: String,
    /// Where drainer keeps files of its own.
    pub data_dir: String,
    /// Seconds.
    pub detect_interval: i64,
    /// URLs of PD; not used with `cluster_dir`.
    pub pd_urls: Vec<String>,
    /// The embedded cluster's directory; empty: PD.
    pub cluster_dir: String,
    /// debug, info, warn, error, fatal.
    pub log_level: String,
    /// Empty: standard error.
    pub log_file: String,
    /// A pushgateway.
    #[serde(rename = "metricsaddr")]
    pub metrics_addr: String,
    /// Seconds.
    #[serde(rename = "metricsinterval")]
    pub metrics_interval: i64,
    /// A duration; accepted for compatibility.
    #[serde(rename = "EtcdTimeout")]
    pub etcd_timeout: String,
    /// Exclusive; -1: now.
    pub initial_commit_ts: i64,
    /// Empty or `gzip`.
    pub compressor: String,
    /// Minutes.
    pub synced_check_time: i64,
    /// Without effect.
    pub cache_binlog_count: i64,
    /// A size: bytes in flight.
    pub memory_budget: binlog_types::ByteSize,
    /// Holes in pumps' streams to pass over, as `PUMP:AFTER-THROUGH`.
    pub accept_gap: Vec<String>,
    /// Stores of pumps to take in place of those that were read before, as `PUMP:UUID`.
    pub accept_store: Vec<String>,
    /// `[security]`.
    pub security: Security,
    /// `[syncer]`.
    pub syncer: Syncer,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            node_id: String::new(),
            addr: String::new(),
            advertise_addr: String::new(),
            data_dir: "data.drainer".to_owned(),
            detect_interval: 5,
            pd_urls: vec!["http://127.0.0.1:2379".to_owned()],
            cluster_dir: String::new(),
            log_level: "info".to_owned(),
            log_file: String::new(),
            metrics_addr: String::new(),
            metrics_interval: 15,
            etcd_timeout: String::new(),
            initial_commit_ts: -1,
            compressor: String::new(),
            synced_check_time: 5,
            cache_binlog_count: 8,
            memory_budget: binlog_types::ByteSize::mib(64),
            accept_gap: Vec::new(),
            accept_store: Vec::new(),
            security: Security::default(),
            syncer: Syncer::default(),
        }
    }
}

/// `[syncer]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Syncer {
    /// Modes of the downstream session beside those that drainer relies on.
    pub sql_mode: Option<String>,
    /// Transactions and DDLs with these commit_ts are left out.
    pub ignore_txn_commit_ts: Vec<i64>,
    /// Databases to leave out.
    pub ignore_schemas: Vec<String>,
    /// Rows in one downstream transaction.
    pub txn_batch: i64,
    /// Mark what is written, and leave out what carries this channel's mark.
    pub loopback_control: bool,
    /// Whether DDL is applied.
    pub sync_ddl: bool,
    /// How long dropped and truncated tables are kept aside for RECOVER and FLASHBACK, as `24h`; empty: not at all.
    pub recycle_bin: String,
    /// What becomes of DDLs of kinds that are not known: `store`, `skip` or `stop`.
    pub unknown_ddl: String,
    /// For `loopback_control`.
    pub channel_id: i64,
    /// Connections that write in parallel.
    pub worker_count: i64,
    /// Databases to replicate; empty, and `replicate_do_table` too: all.
    pub replicate_do_db: Vec<String>,
    /// Tables to replicate.
    pub replicate_do_table: Vec<TableName>,
    /// Tables to leave out.
    pub ignore_table: Vec<TableName>,
    /// mysql, tidb, sqlite.
    pub db_type: String,
    /// Negated `enable_dispatch`, which it goes before.
    pub disable_dispatch: Option<bool>,
    /// false: one connection writes everything in order.
    pub enable_dispatch: Option<bool>,
    /// Without effect.
    pub disable_detect: Option<bool>,
    /// Without effect.
    pub enable_detect: Option<bool>,
    /// Without effect.
    pub safe_mode: bool,
    /// Without effect.
    pub load_schema_snapshot: bool,
    /// Whether `table_migrate_rule`s tell upper from lower case.
    pub case_sensitive: bool,
    /// `[syncer.relay]`.
    pub relay: Relay,
    /// Which tables have which rules.
    pub table_migrate_rule: Vec<MigrateRule>,
    /// The rules, by name.
    pub binlog_filter_rule: BTreeMap<String, FilterRule>,
    /// `[syncer.to]`.
    pub to: Destination,
}

impl Default for Syncer {
    fn default() -> Self {
        Syncer {
            sql_mode: None,
            ignore_txn_commit_ts: Vec::new(),
            ignore_schemas: ["INFORMATION_SCHEMA", "PERFORMANCE_SCHEMA", "mysql"].map(str::to_owned).to_vec(),
            txn_batch: 20,
            loopback_control: false,
            sync_ddl: true,
            recycle_bin: String::new(),
            unknown_ddl: "store".to_owned(),
            channel_id: 0,
            worker_count: 16,
            replicate_do_db: Vec::new(),
            replicate_do_table: Vec::new(),
            ignore_table: Vec::new(),
            db_type: "mysql".to_owned(),
            disable_dispatch: None,
            enable_dispatch: None,
            disable_detect: None,
            enable_detect: None,
            safe_mode: false,
            load_schema_snapshot: false,
            case_sensitive: false,
            relay: Relay::default(),
            table_migrate_rule: Vec::new(),
            binlog_filter_rule: BTreeMap::new(),
            to: Destination::default(),
        }
    }
}

/// A pair of patterns: with a leading `~` regular expressions, else names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct TableName {
    /// The database.
    pub db_name: String,
    /// The table.
    pub tbl_name: String,
}

/// `[[syncer.table-migrate-rule]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct MigrateRule {
    /// Names of rules.
    pub binlog_filter_rule: Vec<String>,
    /// The tables, by wildcards.
    pub source: SourceName,
    /// For db-type oracle; without effect, as in the original.
    pub target: SourceName,
}

/// Wildcards for a database and its tables; an empty table: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct SourceName {
    /// The database.
    pub schema: String,
    /// The table.
    pub table: String,
}

/// `[syncer.binlog-filter-rule.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct FilterRule {
    /// Kinds of events that are left out.
    pub ignore_event: Vec<String>,
    /// Regular expressions; DDLs that match are left out.
    pub ignore_sql: Vec<String>,
}

/// `[syncer.relay]`, not supported yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Relay {
    /// Empty: no relay log.
    pub log_dir: String,
    /// Bytes.
    pub max_file_size: i64,
}

/// `[syncer.to]`.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Destination {
    /// Empty: MYSQL_HOST, else localhost.
    pub host: String,
    /// Empty: MYSQL_USER, else root.
    pub user: String,
    /// Empty: MYSQL_PSWD.
    pub password: String,
    /// In place of `password`.
    #[serde(rename = "encrypted_password")]
    pub encrypted_password: String,
    /// 0: MYSQL_PORT, else 3306.
    pub port: i64,
    /// A unix socket in place of host and port.
    pub socket: String,
    /// The SQLite file.
    pub path: String,
    /// 0 or 1: all columns; 2: those that the downstream has.
    pub sync_mode: i64,
    /// For db-type file.
    pub dir: String,
    /// For db-type file.
    pub retention_time: i64,
    /// A duration such as `1m`, or a number of days, as in the original. Default: 1m.
    pub read_timeout: serde_json::Value,
    /// Without effect: rows are always merged.
    pub merge: bool,
    /// For db-type kafka.
    pub zookeeper_addrs: String,
    /// For db-type kafka.
    pub kafka_addrs: String,
    /// For db-type kafka.
    pub kafka_version: String,
    /// For db-type kafka.
    pub kafka_max_messages: i64,
    /// For db-type kafka.
    pub kafka_client_id: String,
    /// For db-type kafka.
    pub kafka_max_message_size: i64,
    /// For db-type kafka.
    pub topic_name: String,
    /// For db-type oracle.
    pub oracle_service_name: String,
    /// For db-type oracle.
    pub oracle_connect_string: String,
    /// Extra session variables.
    pub params: BTreeMap<String, String>,
    /// `[syncer.to.security]`.
    pub security: Security,
    /// `[syncer.to.checkpoint]`.
    pub checkpoint: CheckpointConfig,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("socket", &self.socket)
            .field("user", &self.user)
            .field("path", &self.path)
            .field("checkpoint", &self.checkpoint)
            .finish_non_exhaustive()
    }
}

/// `[syncer.to.checkpoint]`.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// mysql or tidb: on the server that is named here; empty: in the downstream.
    #[serde(rename = "type")]
    pub kind: String,
    /// Empty: `tidb_binlog`.
    pub schema: String,
    /// For `kind`.
    pub table: String,
    /// For `kind`.
    pub host: String,
    /// For `kind`.
    pub user: String,
    /// For `kind`.
    pub password: String,
    /// For `kind`.
    #[serde(rename = "encrypted_password")]
    pub encrypted_password: String,
    /// For `kind`.
    pub port: i64,
    /// For `kind`.
    pub oracle_service_name: String,
    /// For `kind`.
    pub oracle_connect_string: String,
    /// For `kind`.
    pub security: Security,
}

impl fmt::Debug for CheckpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointConfig")
            .field("type", &self.kind)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}
