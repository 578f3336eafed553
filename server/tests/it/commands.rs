//! The command line of the program: what ends it at once, and with which code.

use std::process::{Command, Output};

use binlog_proto::binlog::{Binlog, BinlogType};

use crate::harness::{Root, text};
use crate::takeover::write_value_log;

fn pump(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pump")).args(args).output().unwrap()
}

fn all_text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn version_and_help_succeed() {
    let version = pump(&["-V"]);
    assert_eq!(version.status.code(), Some(0));
    let said = String::from_utf8_lossy(&version.stdout).into_owned();
    let labels: Vec<_> =
        said.lines().filter_map(|line| line.split_once(": ")).map(|(label, _)| label).collect();
    assert_eq!(labels, ["Release Version", "Git Commit Hash", "Build TS", "Go Version", "Go OS/Arch"]);
    assert!(said.ends_with("\n\n"), "a blank line ends the block");
    let help = pump(&["-h"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(help.stdout.is_empty() && String::from_utf8_lossy(&help.stderr).starts_with("Usage of pump:\n"));
}

#[test]
fn exit_codes_tell_syntax_from_settings() {
    assert_eq!(pump(&["-nonsense"]).status.code(), Some(2));
    for (args, expected) in [
        (["-gc", "7d"], "unsupported gc time 7d, etc: use 7 for 7 day, 7h for 7 hour"),
        (["-addr", "0.0.0.0:8250"], "invalid advertiseAddr host"),
        (["-pd-urls", "http://127.0.0.1:2379/"], "URL must not contain a path"),
        (["-config", "/nonexistent"], "cannot read /nonexistent"),
        (["-enable-debug", "stray"], "'stray' is not a valid flag"),
        (["-addr=127.0.0.1:0", "-gc=0"], "GC is 0, must bigger than 0"),
    ] {
        // As a line of the log, which goes to standard output.
        for check in [&[][..], &["-config-check"]] {
            let output = pump(&[check, &args].concat());
            assert_eq!(output.status.code(), Some(1), "{args:?}");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let last = said.lines().last().unwrap_or_default();
            let fatal = last.contains("] [FATAL] [")
                && last.contains("[\"verifying flags failed. See 'pump --help'.\"] [error=");
            assert!(fatal && last.contains(expected), "{args:?}: {said}");
        }
    }
    // Another one listens there: it could be made, and cannot start.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, root) = (taken.local_addr().unwrap().to_string(), Root::new());
    let output = pump(&[
        "-addr",
        &addr,
        "-data-dir",
        &text(&root.data_dir()),
        "-cluster-dir",
        &text(&root.cluster_dir()),
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        all_text(&output).contains("[FATAL]")
            && all_text(&output).contains("[\"start pump server failed\"] [error=")
    );
    let output = pump(&["-addr", "127.0.0.1:0", "-L", "loud"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(all_text(&output).contains("[\"Failed to initialize log\"] [error="), "{}", all_text(&output));
}

#[test]
fn the_originals_directory_is_refused_with_advice() {
    let root = Root::new();
    let commit = Binlog { tp: BinlogType::Commit as i32, start_ts: 5, commit_ts: 7, ..Binlog::default() };
    write_value_log(&root.data_dir(), &[commit]);
    let output = pump(&[
        "-addr",
        "127.0.0.1:0",
        "-data-dir",
        &text(&root.data_dir()),
        "-cluster-dir",
        &text(&root.cluster_dir()),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(all_text(&output).contains("set another data-dir"), "{}", all_text(&output));
}

#[test]
fn the_originals_file_is_read_strictly() {
    let root = Root::new();
    let file = root.0.path().join("pump.toml");
    let args = ["-config", file.to_str().unwrap(), "-addr", "0.0.0.0:1"];
    let original = "gc = 7\nheartbeat-interval = 2\npd-urls = \"http://127.0.0.1:2379\"\n[security]\nssl-ca = \"\"\n\
        [storage]\nsync-log = true\nstop-write-at-available-space = \"10 gib\"\nslow_write_threshold = 2.5\nkv_chan_cap = 5\n\
        [storage.kv]\nblock-cache-capacity = 8388608\n";
    std::fs::write(&file, original).unwrap();
    // It gets as far as the address.
    let output = pump(&args);
    assert!(all_text(&output).contains("invalid advertiseAddr host"), "{}", all_text(&output));
    std::fs::write(&file, "gcc = 7\n").unwrap();
    let output = pump(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(all_text(&output).contains("gcc"), "{}", all_text(&output));
}

#[test]
fn settings_are_checked_and_shown_without_a_start() {
    let ok = pump(&["-config-check", "-addr", "127.0.0.1:8250"]);
    assert_eq!(ok.status.code(), Some(0), "{}", all_text(&ok));
    let refused = pump(&["--config-check", "-addr", "127.0.0.1:8250", "-gc", "0"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(all_text(&refused).contains("GC is 0, must bigger than 0"), "{}", all_text(&refused));

    let root = Root::new();
    let shown = pump(&["-dump-config", "-addr", "127.0.0.1:1", "-gc", "8h", "-L", "warn"]);
    let file = root.0.path().join("pump.toml");
    std::fs::write(&file, &shown.stdout).unwrap();
    let again = pump(&["-config", file.to_str().unwrap(), "-dump-config"]);
    assert_eq!(again.stdout, shown.stdout, "{}", all_text(&again));
    assert!(all_text(&shown).contains("gc = \"8h\""), "{}", all_text(&shown));
}
