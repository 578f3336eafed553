//! The table of flags: the original's, and our own.

use std::ffi::OsString;

use binlog_cli::{Flag, Kind, Program};

/// Keys of the file that are no flags.
pub(crate) const FILE_KEYS: &[&str] = &[
    "dest-db.host",
    "dest-db.port",
    "dest-db.user",
    "dest-db.password",
    "dest-db.password-file",
    "dest-db.security.ssl-ca",
    "dest-db.security.ssl-cert",
    "dest-db.security.ssl-key",
    "dest-db.security.cert-allowed-cn",
    "security.cert-allowed-cn",
    "replicate-do-db",
    "replicate-do-table.db-name",
    "replicate-do-table.tbl-name",
    "replicate-ignore-db",
    "replicate-ignore-table.db-name",
    "replicate-ignore-table.tbl-name",
];

/// `reparo`: restore.
pub const PROGRAM: Program = Program {
    name: "reparo",
    about: "Restores a range of binlogs, read from pumps or from the directories of dead ones, to a database or as text.\n\
            `reparo plan` with the same flags says what would be done, without doing it; `reparo undo` (or -rollback) takes changes back; `reparo look` shows \
            the changes of rows, `reparo activity` what changed when; `reparo prove` compares a destination with the binlogs. Each has its --help.\n\
            A restore into a database that was cut off goes on where it was when its command is given again.\n\
            Times: 2026-11-22T12:57:55Z, \"2026-11-22 12:57:55 +08:00\", \"2026-11-22 12:57:55 Europe/Berlin\", seconds or milliseconds since \
            1970, a TSO; without a zone they are local.",
    env_prefix: "Reparo_",
    flags: FLAGS,
    file_keys: FILE_KEYS,
    elsewhere: &[],
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
    about: "Takes back what a range did: as guarded SQL to stdout or -dest-path, or, with -dest-type=mysql, in the database itself, all or nothing. \
            Says on stderr what it does: rows, conflicts with later changes, DDL, and what cannot be undone (-dry-run: only that). \
            Select with -db, -table, -txn, -where. `reparo -rollback` is the same.",
    flags: &UNDO_FLAGS,
    elsewhere: &UNDO_ELSEWHERE,
    ..PROGRAM
};

/// `reparo look`.
pub(crate) const LOOK: Program = Program {
    name: "reparo look",
    about: "Shows the changes of rows, as they came: -table=DB.TABLE -key=5 is the history of a row (followed where its key changes), \
            -where=\"old.state = 'open'\" searches by old and new values, -txn shows one transaction. To stdout or -dest-path; \
            -dest-type=json, csv or sql for programs.",
    flags: &LOOK_FLAGS,
    elsewhere: &LOOK_ELSEWHERE,
    ..PROGRAM
};

/// `reparo activity`.
pub(crate) const ACTIVITY: Program = Program {
    name: "reparo activity",
    about: "Shows what changed when: rows by table and minute as a histogram, and the largest and the longest transactions, to find the bad moment. \
            -csv and -svg write all of it into files.",
    flags: &ACTIVITY_FLAGS,
    elsewhere: &ACTIVITY_ELSEWHERE,
    ..PROGRAM
};

/// `reparo prove`.
pub(crate) const PROVE: Program = Program {
    name: "reparo prove",
    about: "Counts and digests of what a range did to each table. With -dest-type=mysql or sqlite, also whether the destination holds what the range leaves: \
            each row that it touched, all rows of tables that began in it, and no table that it dropped. The exit code says so; what was not compared is said.",
    flags: &PROVE_FLAGS,
    elsewhere: &PROVE_ELSEWHERE,
    ..PROGRAM
};

const UNDO_FLAGS: [Flag; FLAGS.len() + PICK.len() + MEMORY.len() + UNDO_OWN.len()] =
    joined(&[FLAGS, PICK, MEMORY, UNDO_OWN]);
const LOOK_FLAGS: [Flag; FLAGS.len() + PICK.len() + LOOK_OWN.len()] = joined(&[FLAGS, PICK, LOOK_OWN]);
const ACTIVITY_FLAGS: [Flag; FLAGS.len() + ACTIVITY_OWN.len()] = joined(&[FLAGS, ACTIVITY_OWN]);
const PROVE_FLAGS: [Flag; FLAGS.len() + MEMORY.len()] = joined(&[FLAGS, MEMORY]);

const PICK: &[Flag] = &[
    flag(
        "where",
        Kind::Text,
        "",
        "Only changes of rows of which this holds, before or after: \"id = 5 AND old.state = 'open'\".",
    ),
    flag("txn", Kind::Integer, "0", "Only the transaction with this start_ts or commit_ts."),
];

const MEMORY: &[Flag] = &[
    flag("memory", Kind::Text, "512MiB", "For rows; beyond it they go to temporary files."),
    flag("temp-dir", Kind::Text, "", "Where temporary files go; default: the system's place."),
];

const UNDO_OWN: &[Flag] = &[
    flag("seen-tso", Kind::Integer, "0", "Changes up to here may conflict; 0: what there is now."),
    flag("overwrite", Kind::Bool, "false", "Sets rows back, too, that others changed later."),
    flag(
        "leave-conflicts",
        Kind::Bool,
        "false",
        "In a database: go on where others changed rows later, and leave those as they are. Without it, nothing is changed then.",
    ),
];

const LOOK_OWN: &[Flag] = &[
    flag(
        "key",
        Kind::Text,
        "",
        "Only the row with this key, values separated by commas, or columns by name, id=5,…; needs -table.",
    ),
    flag("limit", Kind::Integer, "0", "Stop after so many changes; 0: show all."),
];

const ACTIVITY_OWN: &[Flag] = &[
    flag("by", Kind::Text, "1m", "How long a stretch is: 10s, 1m, 2h, 1d."),
    flag("top", Kind::Integer, "10", "Tables and transactions that are shown."),
    flag("csv", Kind::Text, "", "A file for the histogram of all tables; it must not exist yet."),
    flag("svg", Kind::Text, "", "A file for a picture of the busiest tables; it must not exist yet."),
];

type Elsewhere = (&'static str, &'static str);

const A_RESTORES: &str = "belongs to a restore and its plan";

/// Of no use to what does not restore.
const RESTORE: &[Elsewhere] = &[
    ("continue", A_RESTORES),
    ("restart", A_RESTORES),
    ("until-next-ddl", A_RESTORES),
    ("txn-batch", A_RESTORES),
    ("c", A_RESTORES),
    ("safe-mode", A_RESTORES),
];

const REHEARSED: &[Elsewhere] =
    &[("dry-run", "belongs to a restore and to undo: nothing is changed here anyway")];

const UNDO_LACKS: &[Elsewhere] = &[
    ("sql-dialect", "says how DDL is written, and undo writes none"),
    ("archive-timezone", "belongs to -data-dir, which undo does not read"),
];

const ACTIVITY_LACKS: &[Elsewhere] = &[
    ("dest-type", "has no use here: the activity goes to stdout, and into -csv and -svg"),
    ("dest-path", "has no use here: the activity goes to stdout, and into -csv and -svg"),
    ("sql-dialect", "says how DDL is written, and activity writes none"),
    ("archive-timezone", "says in which zone values are, and activity shows none"),
];

const PROVE_LACKS: &[Elsewhere] = &[("sql-dialect", "says how DDL is written, and prove writes none")];

const UNDO_ELSEWHERE: [Elsewhere; RESTORE.len() + UNDO_LACKS.len()] = joined(&[RESTORE, UNDO_LACKS]);
const LOOK_ELSEWHERE: [Elsewhere; RESTORE.len() + REHEARSED.len()] = joined(&[RESTORE, REHEARSED]);
const ACTIVITY_ELSEWHERE: [Elsewhere; RESTORE.len() + REHEARSED.len() + ACTIVITY_LACKS.len()] =
    joined(&[RESTORE, REHEARSED, ACTIVITY_LACKS]);
const PROVE_ELSEWHERE: [Elsewhere; RESTORE.len() + REHEARSED.len() + PROVE_LACKS.len()] =
    joined(&[RESTORE, REHEARSED, PROVE_LACKS]);

const fn joined<T: Copy, const N: usize>(parts: &[&[T]]) -> [T; N] {
    let mut out = [parts[0][0]; N];
    let (mut at, mut part, mut inside) = (0, 0, 0);
    while at < N {
        if inside == parts[part].len() {
            part += 1;
            inside = 0;
        } else {
            out[at] = parts[part][inside];
            at += 1;
            inside += 1;
        }
    }
    out
}

const fn flag(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag { name, key: name, kind, default, help }
}

const fn dotted(name: &'static str, key: &'static str, help: &'static str) -> Flag {
    Flag { name, key, kind: Kind::Text, default: "", help }
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
        "Read from the data directories of pumps that do not run any more; may be repeated; beside -from-pump, for those of its pumps that are \
         dead. Nothing is written there.",
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
    flag(
        "full-backup",
        Kind::Text,
        "",
        "Start where this full backup stands: the directory or `metadata` of Dumpling or mydumper, BR's `backupmeta`, or a dump by mysqldump --master-data.",
    ),
    flag(
        "archive-timezone",
        Kind::Text,
        "",
        "Zone of the host whose drainer wrote -data-dir: its files hold TIMESTAMPs in it. Default: the zone here.",
    ),
    flag("db", Kind::List, "", "Only these databases; adds to replicate-do-db."),
    flag("table", Kind::List, "", "Only these tables, as DB.TABLE; adds to replicate-do-table."),
    flag(
        "dest-type",
        Kind::Text,
        "print",
        "print, sql, json, csv, mysql, tidb or sqlite; memory reads and checks everything, and keeps nothing.",
    ),
    flag("sql-dialect", Kind::Text, "mariadb", "Whose DDL -dest-type=sql writes: mariadb, mysql or tidb."),
    flag(
        "dest-path",
        Kind::Text,
        "",
        "The file: of sqlite (needed), of text (default: stdout; it must not exist yet).",
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
    flag(
        "until-next-ddl",
        Kind::Bool,
        "false",
        "Stop before the next DDL; again with -continue goes on with it, up to the one after.",
    ),
    flag(
        "continue",
        Kind::Bool,
        "false",
        "Start where the last restore into this destination ended. (One that was cut off goes on with its own command.)",
    ),
    flag("restart", Kind::Bool, "false", "Begin anew in a destination where another restore was cut off."),
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
    dotted(
        "ssl-ca",
        "security.ssl-ca",
        "The authority of the pumps' and PD's certificates: speak TLS with them.",
    ),
    dotted("ssl-cert", "security.ssl-cert", "Our certificate."),
    dotted("ssl-key", "security.ssl-key", "Its key."),
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
