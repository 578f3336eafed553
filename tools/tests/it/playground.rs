//! The playground proves the restore, and leaves stores that can be read without their pumps.

use std::process::Command;

use crate::{sibling, succeed, text, tools};

#[test]
fn the_accident_is_undone_and_the_stores_can_be_read() {
    for name in ["pump", "drainer", "reparo"] {
        sibling(name);
    }
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("playground");
    let told = succeed(
        tools().args(["playground", "--seconds", "3", "--sessions", "4", "--seed", "7", "--dir"]).arg(&dir),
    );
    let told = text(&told.stdout);
    assert!(told.contains("PROVEN"), "{told}");

    let dump = |args: &[&str]| {
        let mut command = tools();
        command
            .arg("dump-range")
            .arg("--store")
            .arg(dir.join("pump-1"))
            .arg("--store")
            .arg(dir.join("pump-2"));
        text(&succeed(command.args(args)).stdout)
    };
    let lines: Vec<serde_json::Value> =
        dump(&["--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let order: Vec<u64> = lines.iter().map(|line| line["commit_ts"].as_u64().unwrap()).collect();
    assert!(order.is_sorted(), "rows come in the order of commit_ts");
    let queries: Vec<&str> = lines.iter().filter_map(|line| line["query"].as_str()).collect();
    assert_eq!(queries.len(), 5, "{queries:?}");
    assert_eq!(queries.last(), Some(&"DROP DATABASE `bank`;"));
    let deleted = lines.iter().filter(|l| l["op"] == "delete" && l["table"] == "accounts").count();
    assert_eq!(deleted, 500, "the mistaken DELETE");

    assert!(dump(&["--limit", "1"]).contains("CREATE DATABASE `bank`;"));
    assert!(dump(&["--raw", "--limit", "1"]).contains("ddl_query: CREATE DATABASE `bank`;"));
    let only = dump(&["--json", "--table", "bank.accounts"]);
    assert!(
        only.lines().all(|line| !line.contains("\"table\":\"audit\"")),
        "the filter lets one table through"
    );
}

#[test]
fn reparo_refuses_what_it_cannot_do() {
    let reparo = || Command::new(sibling("reparo"));
    let output = reparo().args(["-from-pump=127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "a pump that is not there");
    assert!(text(&output.stderr).contains("127.0.0.1:1"), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty(), "stdout is for data alone");
    let output = reparo().args(["-nonsense"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = reparo().args(["-data-dir", "not/there"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot read not/there: No such file"), "{}", text(&output.stderr));
    let to_sqlite = ["-data-dir", "x", "-dest-type", "sqlite", "-dest-path", "y.db"];
    let output = reparo().args(to_sqlite).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot go to SQLite"), "{}", text(&output.stderr));
}
