//! The table of flags: the original's, and our own.

use std::ffi::OsString;

use binlog_cli::{Flag, Kind, Program};

/// Keys of the file that are no flags.
pub(crate) const FILE_KEYS: &[&str] =
    &["dest-db", "replicate-do-db", "replicate-do-table", "replicate-ignore-db", "replicate-ignore-table"];

/// `reparo`: restore.
pub const PROGRAM: Program = Program {
    name: "reparo",
    about: "Restores a range of binlogs, read from pumps or from the directories of dead ones, to a database or as text.\n\
            `reparo plan` with the same flags says what would be done, without doing it.\n\
            Times: a TSO, 2026-11-22T12:57:55Z, \"2026-11-22 12:57:55 +08:00\", \"2026-11-22 12:57:55 Europe/Berlin\", @SECONDS; \
            without a zone they are local.",
    env_prefix: "Reparo_",
    flags: FLAGS,
    file_keys: FILE_KEYS,
};

/// `reparo plan`.
pub(crate) const PLAN: Program = Program {
    name: "reparo plan",
    about: "Says what a restore with the same flags would do, and does nothing: the range and its holes, rows, bytes, tables, DDL, \
            and how long it may take.",
    ..PROGRAM
};

/// `reparo undo`.
pub(crate) const UNDO: Program = Program {
    name: "reparo undo",
    about: "Writes the reverse of what a range did, as guarded SQL to stdout or -dest-path, and says on stderr what it would do: rows, \
            conflicts with later changes, DDL, and what cannot be undone. Changes nothing itself. Select with -db, -table, -txn, -where.",
    flags: &UNDO_FLAGS,
    ..PROGRAM
};

const UNDO_FLAGS: [Flag; FLAGS.len() + UNDO_OWN.len()] = joined(FLAGS, UNDO_OWN);

const UNDO_OWN: &[Flag] = &[
    flag(
        "where",
        Kind::Text,
        "",
        "Only changes of rows of which this holds, before or after: \"id = 5 AND old.state = 'open'\".",
    ),
    flag("txn", Kind::Integer, "0", "Only the transaction with this start_ts or commit_ts."),
    flag("seen-tso", Kind::Integer, "0", "Changes up to here may conflict; 0: what there is now."),
    flag("overwrite", Kind::Bool, "false", "Sets rows back, too, that others changed later."),
    flag("memory", Kind::Text, "512MiB", "For rows; beyond it they go to temporary files."),
    flag("temp-dir", Kind::Text, "", "Where temporary files go; default: the system's place."),
];

const fn joined<const N: usize>(a: &[Flag], b: &[Flag]) -> [Flag; N] {
    let mut out = [a[0]; N];
    let mut at = 0;
    while at < N {
        out[at] = if at < a.len() { a[at] } else { b[at - a.len()] };
        at += 1;
    }
    out
}

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
    flag(
        "from-store",
        Kind::List,
        "",
        "Read from the data directories of pumps that do not run any more; may be repeated. Nothing is written there.",
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
    flag(
        "unknown-ddl",
        Kind::Text,
        "store",
        "DDL of kinds that a newer TiDB has: store what the job carries, skip it, or stop with an error.",
    ),
    flag("dry-run", Kind::Bool, "false", "Only say what would be done, as `reparo plan` does."),
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
pub(crate) const REGISTRY: &str = "registry";

/// Lets `-from-pump` stand without a value, and with one after a blank, beside `-from-pump=HOST:PORT,…`, and `-from-store` be repeated.
pub fn prepare_args(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut out: Vec<OsString> = Vec::new();
    let mut stores = OsString::new();
    let mut args = args.into_iter().peekable();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        let name = text.trim_start_matches('-');
        if name == "from-pump" && text != name {
            let value = args.next_if(|next| !next.to_string_lossy().starts_with('-'));
            let mut joined = OsString::from("-from-pump=");
            joined.push(value.unwrap_or_else(|| REGISTRY.into()));
            out.push(joined);
        } else if let Some(rest) = name.strip_prefix("from-store").filter(|_| text != name) {
            let value = match rest.strip_prefix('=') {
                Some(value) => Some(OsString::from(value)),
                None if rest.is_empty() => args.next(),
                None => None,
            };
            let Some(value) = value else {
                out.push(arg);
                continue;
            };
            if !stores.is_empty() {
                stores.push(",");
            }
            stores.push(value);
        } else {
            out.push(arg);
        }
    }
    if !stores.is_empty() {
        let mut joined = OsString::from("-from-store=");
        joined.push(stores);
        out.push(joined);
    }
    out
}
