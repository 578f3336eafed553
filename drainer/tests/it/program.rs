//! The command line of the program: what ends it at once, and with which code.

use std::process::{Command, Output};

use crate::site::Site;

fn drainer(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_drainer")).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn version_and_help_succeed() {
    let version = drainer(&["-V"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(text(&version).starts_with("Release Version: "));
    assert_eq!(drainer(&["-h"]).status.code(), Some(0));
}

#[test]
fn exit_codes_tell_syntax_from_settings_and_failures() {
    let site = Site::new();
    let (dir, data) = (site.path("cluster"), site.path("data"));
    let (dir, data) = (dir.to_str().unwrap(), data.to_str().unwrap());
    assert_eq!(drainer(&["-nonsense"]).status.code(), Some(2));
    let base = ["-addr", "127.0.0.1:0", "-cluster-dir", dir, "-data-dir", data];
    for (args, expected) in [
        (&["-dest-db-type", "kafka"][..], "kafka is not supported yet"),
        (&["-dest-db-type", "sqlite"], "-dest-path"),
        (&["-c", "0", "-dest-db-type", "sqlite", "-dest-path", "x"], "worker-count"),
        (&["-dest-db-type", "sqlite", "-dest-path", "/no/such/folder/x.db"], "open the downstream"),
    ] {
        let output = drainer(&[&base[..], args].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output));
        assert!(text(&output).contains(expected), "{args:?}: {}", text(&output));
    }
}
