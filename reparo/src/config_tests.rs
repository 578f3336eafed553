//! Flags, files and what contradicts itself.

use std::ffi::OsString;

use binlog_cli::Stop;

use super::*;
use crate::flags::{PROGRAM, prepare_args};

fn load(args: &[&str]) -> Config {
    let args = prepare_args(args.iter().map(OsString::from));
    PROGRAM.load(args, |_| None).unwrap()
}

#[test]
fn from_pump_stands_alone_or_with_addresses() {
    let from = |args: &[&str]| load(args).validate();
    assert_eq!(from(&["-from-pump", "-cluster-dir", "d"]).unwrap(), Origin::Registry);
    assert_eq!(from(&["--from-pump", "-pd-urls=http://a:1"]).unwrap(), Origin::Registry);
    let hosts = Origin::Addresses(vec!["a:1".into(), "b:2".into()]);
    assert_eq!(from(&["-from-pump=a:1, b:2"]).unwrap(), hosts);
    assert_eq!(from(&["-from-pump", "a:1,b:2"]).unwrap(), hosts);
    let stores = |args: &[&str]| load(args).origin().unwrap();
    let dirs = Origin::Stores(vec!["a".into(), "b".into()]);
    assert_eq!(stores(&["-from-store", "a", "-from-store=b"]), dirs);
    assert_eq!(stores(&["--from-store=a,b"]), dirs);
    let beside = load(&["-from-store=a", "-from-pump=a:1"]);
    assert_eq!(beside.validate().unwrap(), Origin::Addresses(vec!["a:1".into()]));
    assert_eq!(beside.from_store, ["a"].map(PathBuf::from));
    assert!(from(&["-from-store=a", "-data-dir=b"]).is_err());
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
    assert!(message(&[pump, "-data-dir=x"]).contains("give one of them"));
    let files = message(&["-data-dir=x", "-dest-type=sqlite", "-dest-path=y"]);
    assert!(files.contains("cannot go to SQLite"), "{files}");
    for second in ["-after-tso=5", "-full-backup=x", "-start-tso=5", "-start-datetime=x", "-restart"] {
        assert!(message(&[pump, "-continue", second]).contains("give one of them"), "{second}");
    }
    assert!(message(&[pump, "-dest-type=oracle"]).contains("dest type oracle is not supported"));
    assert!(message(&[pump, "-dest-type=mysql"]).contains("dest-db config must not be empty"));
    assert!(message(&[pump, "-dest-type=sqlite"]).contains("-dest-path"));
    assert!(message(&[pump, "-c=0"]).contains("at least 1"));
    assert!(message(&[pump, "-table=t"]).contains("DB.TABLE"));
}

#[test]
fn what_does_nothing_is_refused() {
    let refused = |command: Command, args: &[&str]| {
        let args = [args, &["-config-check", "-from-pump", "-cluster-dir", "d"]].concat();
        let args = prepare_args(args.iter().map(OsString::from));
        let check = |config: &Config| config.check(command).map_err(|e| e.to_string());
        match command.program().load_checked::<Config>(args, |_| None, check).unwrap_err() {
            Stop::Print(_) => String::new(),
            Stop::Usage(text) | Stop::Fatal { error: text, .. } => text,
            Stop::Help(text) => panic!("{text}"),
        }
    };
    for command in [Command::Undo, Command::Look, Command::Activity, Command::Prove] {
        for flag in ["-continue", "-restart", "-until-next-ddl", "-txn-batch=20", "-c=2", "-safe-mode=false"]
        {
            let name = flag.split('=').next().unwrap();
            let expected = format!("{}: {name} belongs to a restore and its plan", command.program().name);
            assert_eq!(refused(command, &[flag]), expected);
        }
        let rehearsal = refused(command, &["-dry-run"]);
        assert_eq!(rehearsal.contains("nothing is changed here"), command != Command::Undo, "{rehearsal}");
    }
    let (sqlite, path) = ("-dest-type=sqlite", "-dest-path=f");
    for command in [Command::Restore, Command::Plan] {
        for flag in ["-until-next-ddl", "-txn-batch=20", "-c=2", "-safe-mode", "-dry-run"] {
            assert_eq!(refused(command, &[flag]), "");
        }
        assert_eq!(refused(command, &["-restart", sqlite, path]), "");
        assert!(refused(command, &["-restart"]).contains("-restart needs a database"));
        assert!(refused(command, &["-dest-type=memory", path]).contains("-dest-path names a file"));
    }
    assert!(refused(Command::Activity, &[path]).contains("the activity goes to stdout"));
    assert!(refused(Command::Undo, &["-archive-timezone=UTC"]).contains("belongs to -data-dir"));
    assert!(refused(Command::Prove, &[path]).contains("prove writes to stdout"));
    assert!(refused(Command::Prove, &["-dest-type=json"]).contains("prove compares"));
    assert_eq!(refused(Command::Prove, &[sqlite, path]), "");
}

#[test]
fn a_file_may_hold_what_others_need_and_no_strange_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reparo.toml");
    let with = |command: Command, text: &str| {
        std::fs::write(&path, text).unwrap();
        command.program().load::<Config>(["-config".into(), path.clone().into_os_string()], |_| None)
    };
    let text = "restart = true\nWORKER-count = 3\n[Dest-DB]\nHOST = 'h'\n[dest-db.Security]\nssl-CA = 'ca'\n[[replicate-do-table]]\nDB-name = 'a'";
    let config = with(Command::Look, text).unwrap();
    let db = config.dest_db.unwrap();
    assert_eq!((db.host.as_str(), db.security.ssl_ca.as_str(), config.worker_count), ("h", "ca", 3));
    assert_eq!(config.replicate_do_table[0].db_name, "a");
    for (text, key) in [
        ("[dest-db]\nhost = 'h'\nhots = 'h'", "dest-db.hots"),
        ("[dest-db.security]\nssl-c = 'h'", "dest-db.security.ssl-c"),
        ("[[replicate-ignore-table]]\ndb = 'h'", "replicate-ignore-table.db"),
    ] {
        let Stop::Fatal { error, .. } = with(Command::Restore, text).unwrap_err() else { panic!("{text}") };
        assert!(error.ends_with(&format!("contained unknown configuration options: {key}")), "{error}");
    }
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

#[test]
fn a_password_need_not_stand_in_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, " of a file\r\n").unwrap();
    let found = |db: DestDb| {
        let mut config = Config { dest_db: Some(db), ..Config::default() };
        let env = |name: &str| (name == "Reparo_DEST_DB_PASSWORD").then(|| "of the environment".to_owned());
        config
            .find_password(env)
            .map(|()| config.dest_db.unwrap_or_default().password)
            .map_err(|e| e.to_string())
    };
    assert_eq!(found(DestDb::default()).unwrap(), "of the environment");
    let given = DestDb { password: "given".into(), ..DestDb::default() };
    assert_eq!(found(given.clone()).unwrap(), "given");
    assert_eq!(found(DestDb { password_file: path.clone(), ..DestDb::default() }).unwrap(), " of a file");
    assert!(found(DestDb { password_file: path, ..given }).unwrap_err().contains("give one of them"));
    let missing = DestDb { password_file: folder.path().join("x"), ..DestDb::default() };
    assert!(found(missing).unwrap_err().contains("password-file"));
}

#[test]
fn a_check_finds_what_a_run_would_refuse() {
    let refused = |command: Command, args: &[&str]| {
        let args = [args, &["-config-check", "-from-pump", "-cluster-dir", "d"]].concat();
        let args = prepare_args(args.iter().map(OsString::from));
        let check = |config: &Config| config.check(command).map_err(|e| e.to_string());
        match command.program().load_checked::<Config>(args, |_| None, check).unwrap_err() {
            Stop::Print(_) => None,
            Stop::Fatal { error, .. } => Some(error),
            Stop::Help(text) | Stop::Usage(text) => panic!("{text}"),
        }
    };
    for command in [Command::Restore, Command::Plan, Command::Undo] {
        assert_eq!(refused(command, &[]), None);
        for (args, word) in [
            (["-start-datetime", "yesterday"], "yesterday"),
            (["-dest-type", "oracle"], "oracle"),
            (["-table", "t"], "DB.TABLE"),
        ] {
            let error = refused(command, &args).expect("a run would refuse it");
            let undo_writes_sql = command == Command::Undo && args[0] == "-dest-type";
            assert!(error.contains(if undo_writes_sql { "undo writes SQL" } else { word }), "{error}");
        }
    }
    assert!(refused(Command::Undo, &["-where", "("]).is_some());
}
