//! Drainer's options: those of the original, and ours.

use binlog_cli::{Flag, Kind, Program};

const fn flag(
    name: &'static str,
    key: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, key, kind, default, help }
}

/// The command line, environment and configuration file of `drainer`.
pub const PROGRAM: Program = Program {
    name: "drainer",
    about: "drainer replicates the binlogs of a TiDB cluster, which its pumps keep, into a database.",
    env_prefix: "BINLOG_SERVER_",
    flags: &[
        flag("node-id", "node-id", Kind::Text, "", "The name of this drainer. Default: HOSTNAME:PORT."),
        flag(
            "addr",
            "addr",
            Kind::Text,
            "",
            "host:port to listen on. Default: this machine's first address, port 8249.",
        ),
        flag(
            "advertise-addr",
            "advertise-addr",
            Kind::Text,
            "",
            "host:port under which others reach this drainer. Default: -addr.",
        ),
        flag("data-dir", "data-dir", Kind::Text, "data.drainer", "Where drainer keeps files of its own."),
        flag(
            "detect-interval",
            "detect-interval",
            Kind::Integer,
            "5",
            "Seconds between looks at the registry for pumps.",
        ),
        flag("pd-urls", "pd-urls", Kind::List, "http://127.0.0.1:2379", "Comma-separated URLs of PD."),
        flag(
            "cluster-dir",
            "cluster-dir",
            Kind::Text,
            "",
            "Run without PD: the directory that all nodes of this machine share.",
        ),
        flag("L", "log-level", Kind::Text, "info", "Log level: debug, info, warn, error, fatal."),
        flag("log-file", "log-file", Kind::Text, "", "Log file. Default: standard error."),
        flag(
            "metrics-addr",
            "metricsaddr",
            Kind::Text,
            "",
            "Address of a Prometheus pushgateway. Default: none.",
        ),
        flag("metrics-interval", "metricsinterval", Kind::Integer, "15", "Seconds between pushes; 0: none."),
        flag(
            "initial-commit-ts",
            "initial-commit-ts",
            Kind::Integer,
            "-1",
            "Where to begin (exclusive) if there is no checkpoint; -1: now.",
        ),
        flag(
            "compressor",
            "compressor",
            Kind::Text,
            "",
            "Compression asked of the original's pumps: gzip or none.",
        ),
        flag("txn-batch", "syncer.txn-batch", Kind::Integer, "20", "Rows in one downstream transaction."),
        flag("c", "syncer.worker-count", Kind::Integer, "16", "Connections that write in parallel."),
        flag(
            "dest-db-type",
            "syncer.db-type",
            Kind::Text,
            "mysql",
            "Where to: mysql, tidb or sqlite (file, kafka and oracle are not supported yet).",
        ),
        flag("dest-path", "syncer.to.path", Kind::Text, "", "The SQLite file, with -dest-db-type=sqlite."),
        flag(
            "ignore-schemas",
            "syncer.ignore-schemas",
            Kind::List,
            "INFORMATION_SCHEMA,PERFORMANCE_SCHEMA,mysql",
            "Comma-separated databases to leave out.",
        ),
        flag("sync-ddl", "syncer.sync-ddl", Kind::Bool, "true", "Whether DDL is applied downstream."),
        flag(
            "memory-budget",
            "memory-budget",
            Kind::Text,
            "64MiB",
            "Bytes in flight, from the pumps to the downstream: binlogs, their rows, statements.",
        ),
        flag(
            "accept-gap",
            "accept-gap",
            Kind::List,
            "",
            "PUMP:AFTER-THROUGH, as an error named it: go on without these binlogs. Kept on record in data-dir/pumps.json.",
        ),
        flag(
            "accept-store",
            "accept-store",
            Kind::List,
            "",
            "PUMP:UUID, as an error named it: take the store that the pump has now.",
        ),
        flag(
            "loopback-control",
            "syncer.loopback-control",
            Kind::Bool,
            "false",
            "Mark what is written downstream, and leave out what carries this channel's mark.",
        ),
        flag("channel-id", "syncer.channel-id", Kind::Integer, "0", "For -loopback-control."),
        flag(
            "relay-log-dir",
            "syncer.relay.log-dir",
            Kind::Text,
            "",
            "Not supported: refused where it is set.",
        ),
        flag(
            "relay-max-file-size",
            "syncer.relay.max-file-size",
            Kind::Integer,
            "10485760",
            "For -relay-log-dir.",
        ),
        flag(
            "enable-dispatch",
            "syncer.enable-dispatch",
            Kind::Bool,
            "",
            "false: one connection writes everything in order.",
        ),
        flag(
            "disable-dispatch",
            "syncer.disable-dispatch",
            Kind::Bool,
            "",
            "Deprecated: use -enable-dispatch.",
        ),
        flag(
            "enable-detect",
            "syncer.enable-detect",
            Kind::Bool,
            "",
            "Accepted; rows that depend on one another always stay in order.",
        ),
        flag(
            "disable-detect",
            "syncer.disable-detect",
            Kind::Bool,
            "",
            "Deprecated and accepted, as -enable-detect.",
        ),
        flag(
            "safe-mode",
            "syncer.safe-mode",
            Kind::Bool,
            "false",
            "Accepted; statements are idempotent wherever a crash could repeat them.",
        ),
        flag(
            "load-schema-snapshot",
            "syncer.load-schema-snapshot",
            Kind::Bool,
            "false",
            "Accepted; the schema comes from the pumps.",
        ),
        flag("cache-binlog-count", "", Kind::Integer, "8", "Accepted; see -memory-budget."),
        flag(
            "synced-check-time",
            "synced-check-time",
            Kind::Integer,
            "5",
            "Minutes without a transaction after which /status says Synced.",
        ),
        flag("log-rotate", "", Kind::IgnoredValue, "", "Deprecated; accepted and ignored."),
    ],
    file_keys: &[
        "EtcdTimeout",
        "security.ssl-ca",
        "security.ssl-cert",
        "security.ssl-key",
        "security.cert-allowed-cn",
        "syncer.sql-mode",
        "syncer.ignore-txn-commit-ts",
        "syncer.replicate-do-db",
        "syncer.replicate-do-table.db-name",
        "syncer.replicate-do-table.tbl-name",
        "syncer.ignore-table.db-name",
        "syncer.ignore-table.tbl-name",
        "syncer.case-sensitive",
        "syncer.table-migrate-rule.binlog-filter-rule",
        "syncer.table-migrate-rule.source.schema",
        "syncer.table-migrate-rule.source.table",
        "syncer.table-migrate-rule.target.schema",
        "syncer.table-migrate-rule.target.table",
        "syncer.binlog-filter-rule.*.ignore-event",
        "syncer.binlog-filter-rule.*.ignore-sql",
        "syncer.recycle-bin",
        "syncer.unknown-ddl",
        "syncer.to.host",
        "syncer.to.user",
        "syncer.to.password",
        "syncer.to.encrypted_password",
        "syncer.to.port",
        "syncer.to.socket",
        "syncer.to.sync-mode",
        "syncer.to.dir",
        "syncer.to.retention-time",
        "syncer.to.read-timeout",
        "syncer.to.merge",
        "syncer.to.zookeeper-addrs",
        "syncer.to.kafka-addrs",
        "syncer.to.kafka-version",
        "syncer.to.kafka-max-messages",
        "syncer.to.kafka-client-id",
        "syncer.to.kafka-max-message-size",
        "syncer.to.topic-name",
        "syncer.to.oracle-service-name",
        "syncer.to.oracle-connect-string",
        "syncer.to.params.*",
        "syncer.to.security.ssl-ca",
        "syncer.to.security.ssl-cert",
        "syncer.to.security.ssl-key",
        "syncer.to.security.cert-allowed-cn",
        "syncer.to.checkpoint.type",
        "syncer.to.checkpoint.schema",
        "syncer.to.checkpoint.table",
        "syncer.to.checkpoint.host",
        "syncer.to.checkpoint.user",
        "syncer.to.checkpoint.password",
        "syncer.to.checkpoint.encrypted_password",
        "syncer.to.checkpoint.port",
        "syncer.to.checkpoint.oracle-service-name",
        "syncer.to.checkpoint.oracle-connect-string",
        "syncer.to.checkpoint.security.ssl-ca",
        "syncer.to.checkpoint.security.ssl-cert",
        "syncer.to.checkpoint.security.ssl-key",
        "syncer.to.checkpoint.security.cert-allowed-cn",
    ],
    elsewhere: &[],
};

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use binlog_cli::Stop;

    use super::*;
    use crate::{Config, config::Syncer};

    fn load(args: &[&str]) -> Result<Config, Stop> {
        PROGRAM.load(args.iter().map(OsString::from), |_| None)
    }

    #[test]
    fn the_command_line_reaches_the_settings() {
        let config = load(&["-c", "4", "-dest-db-type=sqlite", "--dest-path=/x.db", "-L", "debug"]).unwrap();
        assert_eq!((config.syncer.worker_count, config.syncer.db_type.as_str()), (4, "sqlite"));
        assert_eq!((config.syncer.to.path.as_str(), config.log_level.as_str()), ("/x.db", "debug"));
        assert_eq!(config.syncer.ignore_schemas.len(), 3);
    }

    #[test]
    fn a_file_of_the_original_is_read_and_strange_keys_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drainer.toml");
        let text = r#"
            addr = "127.0.0.1:8249"
            detect-interval = 10
            pd-urls = "http://127.0.0.1:2379"
            compressor = ""
            [syncer]
            ignore-schemas = "INFORMATION_SCHEMA,PERFORMANCE_SCHEMA,mysql"
            txn-batch = 20
            worker-count = 16
            disable-dispatch = false
            db-type = "mysql"
            replicate-do-db = ["~^b.*", "s1"]
            ignore-txn-commit-ts = [5, 6]
            [[syncer.ignore-table]]
            db-name = "test"
            tbl-name = "~^a.*"
            [syncer.to]
            host = "127.0.0.1"
            user = "root"
            password = "secret"
            port = 3306
            [syncer.to.checkpoint]
            schema = "my_binlog"
        "#;
        std::fs::write(&path, text).unwrap();
        let config = load(&["-config", path.to_str().unwrap(), "-c=3"]).unwrap();
        assert_eq!((config.syncer.worker_count, config.detect_interval), (3, 10));
        assert_eq!(config.syncer.ignore_table[0].tbl_name, "~^a.*");
        assert_eq!(config.syncer.to.checkpoint.schema, "my_binlog");
        assert!(!format!("{config:?}").contains("secret"), "passwords are not to be logged");

        for table in [
            "",
            "syncer",
            "syncer.to",
            "syncer.to.security",
            "syncer.to.checkpoint.security",
            "syncer.relay",
            "syncer.binlog-filter-rule.x",
            "security",
        ] {
            let (header, prefix) = match table {
                "" => (String::new(), String::new()),
                table => (format!("[{table}]"), format!("{table}.")),
            };
            let path = path.to_str().unwrap();
            std::fs::write(path, format!("{header}\nstrange = 1")).unwrap();
            let expected = format!(
                "component drainer's config file {path} contained unknown configuration options: {prefix}strange"
            );
            let Stop::Fatal { error, .. } = load(&["-config", path]).unwrap_err() else { panic!("{table}") };
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn every_key_of_the_original_is_known_in_any_case() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drainer.toml");
        let text = r#"
            ETCDTIMEOUT = "5s"
            [SECURITY]
            SSL-ca = ""
            CERT-allowed-CN = ["a"]
            [Syncer]
            SQL-mode = ""
            Ignore-Schemas = "a,b"
            [[Syncer.Ignore-Table]]
            DB-Name = "test"
            TBL-name = "~^a.*"
            [[Syncer.Table-Migrate-Rule]]
            Binlog-Filter-Rule = ["One"]
            Source = { Schema = "a", TABLE = "b" }
            [Syncer.Binlog-Filter-Rule.One]
            Ignore-Event = ["insert"]
            [Syncer.TO]
            Host = "127.0.0.1"
            Encrypted_Password = ""
            Read-Timeout = 5
            Kafka-Max-Message-Size = 1
            [Syncer.TO.Params]
            Time_Zone = "UTC"
            [Syncer.TO.Security]
            SSL-Cert = "c"
            [Syncer.TO.Checkpoint]
            Type = "mysql"
            [Syncer.TO.Checkpoint.Security]
            SSL-Key = "k"
        "#;
        std::fs::write(&path, text).unwrap();
        let config = load(&["-config", path.to_str().unwrap()]).unwrap();
        let Syncer { to, ignore_table, ignore_schemas, table_migrate_rule, binlog_filter_rule, .. } =
            config.syncer;
        assert_eq!((to.host.as_str(), to.security.ssl_cert.as_str()), ("127.0.0.1", "c"));
        assert_eq!((to.checkpoint.kind.as_str(), to.checkpoint.security.ssl_key.as_str()), ("mysql", "k"));
        assert_eq!(to.params.get("Time_Zone").map(String::as_str), Some("UTC"));
        assert_eq!((ignore_table[0].db_name.as_str(), ignore_schemas.len()), ("test", 2));
        assert_eq!(table_migrate_rule[0].source.table, "b");
        assert_eq!(binlog_filter_rule["One"].ignore_event, ["insert"]);
        assert_eq!(config.security.cert_allowed_cn, ["a"]);
    }
}
