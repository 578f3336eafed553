//! Pump's options: those of the original, and ours.

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

const fn ignored(name: &'static str, kind: Kind) -> Flag {
    flag(name, "", kind, "", "Deprecated; accepted and ignored.")
}

/// The command line, environment and configuration file of `pump`.
pub const PROGRAM: Program = Program {
    name: "pump",
    about: "pump records the binlogs of a TiDB cluster and serves them, in order of commit, to drainers and restores.",
    env_prefix: "PUMP_",
    flags: &[
        flag(
            "node-id",
            "node-id",
            Kind::Text,
            "",
            "The name of this pump; kept in DATA-DIR/.node, which wins. Default: HOST:PORT.",
        ),
        flag(
            "addr",
            "addr",
            Kind::Text,
            "",
            "host:port to listen on. Default: this machine's first address, port 8250.",
        ),
        flag(
            "advertise-addr",
            "advertise-addr",
            Kind::Text,
            "",
            "host:port under which others reach this pump. Default: -addr.",
        ),
        flag(
            "socket",
            "socket",
            Kind::Text,
            "",
            "unix:///path of a unix socket to listen on besides the address, without TLS.",
        ),
        flag("pd-urls", "pd-urls", Kind::List, "http://127.0.0.1:2379", "Comma-separated URLs of PD."),
        flag(
            "cluster-dir",
            "cluster-dir",
            Kind::Text,
            "",
            "Run without PD: the directory that all nodes of this machine share.",
        ),
        flag("data-dir", "data-dir", Kind::Text, "data.pump", "Where the binlogs are kept."),
        flag(
            "heartbeat-interval",
            "heartbeat-interval",
            Kind::Integer,
            "2",
            "Seconds between updates of the registry.",
        ),
        flag(
            "gc",
            "gc",
            Kind::Text,
            "7",
            "How long binlogs are kept: days, or a duration such as 8h or 30m.",
        ),
        flag(
            "gc-hard-cap",
            "gc-hard-cap",
            Kind::Text,
            "",
            "Binlogs older than this go even if a drainer still needs them. Default: twice -gc; 0: never.",
        ),
        flag(
            "purged-pull",
            "purged-pull",
            Kind::Text,
            "error",
            "What a PullBinlogs below the safe point gets: an error, or what is left (clamp, as the original does).",
        ),
        flag(
            "drain-timeout",
            "drain-timeout",
            Kind::Text,
            "0",
            "How long an offlining pump waits for drainers to read everything, as in 30m; then it stays in the cluster as paused. 0: as long as it takes.",
        ),
        flag(
            "service-threads",
            "service-threads",
            Kind::Integer,
            "0",
            "Threads that serve connections; 0: half of the processors.",
        ),
        flag("L", "log-level", Kind::Text, "info", "Log level: debug, info, warn, error, fatal."),
        flag("log-file", "log-file", Kind::Text, "", "Log file. Default: standard output."),
        flag(
            "metrics-addr",
            "metricsaddr",
            Kind::Text,
            "",
            "Address of a Prometheus pushgateway; empty: none.",
        ),
        flag("metrics-interval", "metricsinterval", Kind::Integer, "15", "Seconds between pushes; 0: none."),
        flag(
            "fake-binlog-interval",
            "gen-binlog-interval",
            Kind::Integer,
            "3",
            "Seconds after which an idle pump tells readers how far they have come.",
        ),
        flag("max-message-size", "", Kind::Integer, "9223372036850581503", "Largest request in bytes."),
        flag("enable-debug", "", Kind::Bool, "false", "Accepted for compatibility; without effect."),
        ignored("binlog-file-size", Kind::IgnoredValue),
        ignored("enable-binlog-slice", Kind::IgnoredBool),
        ignored("binlog-slice-size", Kind::IgnoredValue),
        ignored("log-rotate", Kind::IgnoredValue),
    ],
    file_keys: &[
        "security.ssl-ca",
        "security.ssl-cert",
        "security.ssl-key",
        "security.cert-allowed-cn",
        "storage.sync-log",
        "storage.kv_chan_cap",
        "storage.slow_write_threshold",
        "storage.stop-write-at-available-space",
        "storage.kv.block-cache-capacity",
        "storage.kv.block-restart-interval",
        "storage.kv.block-size",
        "storage.kv.compaction-L0-trigger",
        "storage.kv.compaction-table-size",
        "storage.kv.compaction-total-size",
        "storage.kv.compaction-total-size-multiplier",
        "storage.kv.write-buffer",
        "storage.kv.write-L0-pause-trigger",
        "storage.kv.write-L0-slowdown-trigger",
        "etcddialtimeout",
    ],
    elsewhere: &[],
};
