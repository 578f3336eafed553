//! The command line as the original's users know it.

use std::io::Write;

use serde::Deserialize;

use super::*;

const PROGRAM: Program = Program {
    name: "pump",
    about: "Records binlogs.",
    env_prefix: "PUMP_",
    flags: &[
        Flag {
            name: "addr",
            key: "addr",
            kind: Kind::Text,
            default: "127.0.0.1:8250",
            help: "Where to listen.",
        },
        Flag { name: "pd-urls", key: "pd-urls", kind: Kind::List, default: "", help: "PD." },
        Flag { name: "gc", key: "gc", kind: Kind::Text, default: "7", help: "Retention." },
        Flag {
            name: "initial-commit-ts",
            key: "initial-commit-ts",
            kind: Kind::Integer,
            default: "-1",
            help: "Start.",
        },
        Flag { name: "sync-ddl", key: "syncer.sync-ddl", kind: Kind::Bool, default: "true", help: "DDL." },
        Flag { name: "log-rotate", key: "", kind: Kind::IgnoredValue, default: "", help: "" },
        Flag { name: "enable-binlog-slice", key: "", kind: Kind::IgnoredBool, default: "", help: "" },
    ],
    file_keys: &["storage.sync-log", "storage.rule.db-name", "storage.to.*.Kind"],
    elsewhere: &[],
};

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
struct Config {
    addr: String,
    #[serde(default)]
    pd_urls: Vec<String>,
    gc: String,
    initial_commit_ts: i64,
    syncer: Syncer,
    #[serde(default)]
    storage: Option<Table>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
struct Syncer {
    sync_ddl: bool,
}

fn load(args: &[&str]) -> Result<Config, Stop> {
    PROGRAM.load(args.iter().map(OsString::from), |_| None)
}

/// Why it ends, where it ends as the original does.
fn fatal(stop: Stop) -> String {
    match stop {
        Stop::Fatal { message, error } => {
            assert_eq!(message, "verifying flags failed. See 'pump --help'.");
            error
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn go_style_flags_are_understood() {
    let config = load(&[
        "-addr=a:1",
        "--pd-urls",
        "http://x:1,http://y:2",
        "-initial-commit-ts",
        "-1",
        "-sync-ddl=false",
    ])
    .unwrap();
    assert_eq!(config.addr, "a:1");
    assert_eq!(config.pd_urls, ["http://x:1", "http://y:2"]);
    assert_eq!(config.initial_commit_ts, -1);
    assert!(!config.syncer.sync_ddl);
    assert_eq!(load(&["-addr", "a:1", "-addr", "b:2"]).unwrap().addr, "b:2", "the last one wins");
    assert!(load(&["-sync-ddl", "-log-rotate=day"]).unwrap().syncer.sync_ddl);
    let old = ["-log-rotate", "day", "-enable-binlog-slice", "-log-rotate", "-5", "-addr", "a:1"];
    assert_eq!(load(&old).unwrap().addr, "a:1");
    assert!(matches!(load(&["-log-rotate"]), Err(Stop::Usage(_))), "it needs its value");
    assert_eq!(fatal(load(&["-enable-binlog-slice", "stray"]).unwrap_err()), "'stray' is not a valid flag");
}

#[test]
fn command_line_beats_environment_beats_file_beats_default() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "Addr = 'file:1'\ngc = 3\n[syncer]\nsync-ddl = false\n[storage]\nsync-log = true")
        .unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let with = |args: &[&str], env: Option<&'static str>| -> Config {
        let args = args.iter().map(OsString::from).chain([OsString::from("-config"), OsString::from(&path)]);
        PROGRAM.load(args, |name| env.filter(|_| name == "PUMP_ADDR").map(str::to_owned)).unwrap()
    };
    assert_eq!(with(&[], None).addr, "file:1");
    assert_eq!(with(&[], None).gc, "3");
    assert!(!with(&[], None).syncer.sync_ddl);
    assert_eq!(with(&[], Some("env:1")).addr, "env:1");
    assert_eq!(with(&["-addr=cli:1"], Some("env:1")).addr, "cli:1");
}

#[test]
fn unknown_keys_are_named_all_at_once() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "typo = 1\n[storage]\nsink-log = true\n[other]\nx = 1").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let text = fatal(load(&["-config", &path]).unwrap_err());
    let expected = format!(
        "component pump's config file {path} contained unknown configuration options: other, storage.sink-log, typo"
    );
    assert_eq!(text, expected);
}

#[test]
fn keys_are_known_at_any_depth_and_in_any_case() {
    let with = |text: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load(&["-config", file.path().to_str().unwrap()])
    };
    let text = "[STORAGE]\nSync-Log = true\n[[Storage.RULE]]\nDB-name = 'a'\n[[Storage.RULE]]\n[storage.TO.Here]\nkind = 'x'\n[syncer]\nSYNC-ddl = false";
    let loaded = with(text);
    // Two tables that differ in case only are one, as in the original.
    let storage = loaded.unwrap().storage.unwrap();
    let expected = "sync-log = true\nrule = [{db-name = 'a'}, {}]\nto.Here.Kind = 'x'";
    assert_eq!(storage, expected.parse::<Table>().unwrap());
    for (text, unknown) in [
        ("[[storage.rule]]\ndb-name = 'a'\n[[storage.rule]]\nDb-Names = 'b'", "storage.rule.Db-Names"),
        ("[storage.to.here]\nkin = 1\n[storage.to.there]\nkind.of = 1", "storage.to.here.kin"),
        ("[storage.sync]\nx = 1", "storage.sync"),
    ] {
        let found = fatal(with(text).unwrap_err());
        let end = format!("contained unknown configuration options: {unknown}");
        assert!(found.ends_with(&end), "{found}");
    }
}

#[test]
fn what_is_of_use_to_others_only_is_refused_on_the_command_line() {
    let program = Program { elsewhere: &[("gc", "belongs to others")], ..PROGRAM };
    let load = |args: &[&str], env: Option<&str>| {
        let args = args.iter().map(OsString::from);
        program.load::<Config>(args, |name| env.filter(|_| name == "PUMP_GC").map(str::to_owned))
    };
    for args in [["-gc=3"], ["--gc=7"]] {
        let refused = load(&args, None).unwrap_err();
        assert_eq!(refused, Stop::Usage("pump: -gc belongs to others".to_owned()));
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "gc = 3").unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(load(&["-config", path], None).unwrap().gc, "3");
    assert_eq!(load(&[], Some("8h")).unwrap().gc, "7");
    assert!(matches!(load(&["-h"], None), Err(Stop::Help(text)) if !text.contains("Retention")));
}

#[test]
fn each_ending_has_its_exit_code() {
    assert!(matches!(load(&["-V"]), Err(Stop::Print(_))));
    assert!(matches!(load(&["-h"]), Err(Stop::Help(text)) if text.starts_with("Usage of pump:\n")));
    assert!(matches!(load(&["-nonsense"]), Err(Stop::Usage(_))));
    assert!(matches!(load(&["-initial-commit-ts=x"]), Err(Stop::Usage(_))));
    assert!(matches!(load(&["-sync-ddl=maybe"]), Err(Stop::Usage(_))));
    assert!(matches!(load(&["-config", "/nonexistent/x.toml"]), Err(Stop::Fatal { .. })));
    // Go reads flags up to the first word that is none, and looks at that one last.
    for args in [["stray", "-nonsense"], ["-", "x"], ["--", "stray"]] {
        let found = fatal(load(&args).unwrap_err());
        let word = if args[0] == "-" { "-" } else { "stray" };
        assert_eq!(found, format!("'{word}' is not a valid flag"));
    }
    assert!(matches!(load(&["-nonsense", "stray"]), Err(Stop::Usage(_))));
    assert!(matches!(load(&["-V", "stray"]), Err(Stop::Print(_))));
}

#[test]
fn settings_are_checked_and_shown_without_running() {
    let checked = |args: &[&str], check: fn(&Config) -> Result<(), String>| {
        PROGRAM.load_checked::<Config>(args.iter().map(OsString::from), |_| None, check).unwrap_err()
    };
    assert!(matches!(checked(&["-config-check"], |_| Ok(())), Stop::Print(_)));
    let refused = checked(&["--config-check", "-gc=x"], |config| Err(format!("gc is {}", config.gc)));
    assert_eq!(fatal(refused), "gc is x");
    let refused = checked(&["-gc=x"], |config| Err(format!("gc is {}", config.gc)));
    assert_eq!(fatal(refused), "gc is x", "also where nothing but a start was asked for");
    assert!(matches!(checked(&["-config-check", "-nonsense"], |_| Ok(())), Stop::Usage(_)));

    // What is shown can be given back as a file.
    let Stop::Print(text) =
        checked(&["-dump-config", "-addr=a:1", "-pd-urls=b:2", "-sync-ddl=false"], |_| Ok(()))
    else {
        panic!("nothing was shown")
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let again = load(&["-config", file.path().to_str().unwrap()]).unwrap();
    assert_eq!(
        (again.addr.as_str(), again.pd_urls, again.syncer.sync_ddl),
        ("a:1", vec!["b:2".to_owned()], false)
    );
}

#[test]
fn what_is_shown_of_the_settings_is_json() {
    let loaded = PROGRAM.load_checked::<Config>([OsString::from("-addr=a:1")], |_| None, |_| Ok(())).unwrap();
    assert!(loaded.shown.starts_with(r#"{"addr":"a:1","gc":"7","#), "{}", loaded.shown);
}
