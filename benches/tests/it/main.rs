//! Runs the program as a person does, with little work.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_binlog-bench"))
}

/// A program of the same build.
fn sibling(name: &str) -> PathBuf {
    program().with_file_name(name)
}

/// What it prints, one object a benchmark.
fn run(dir: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(program())
        .args(["--json", "--num=3000", "--threads=8", "--value-size=512", "--db"])
        .arg(dir)
        .args(arguments)
        .output()
        .expect("binlog-bench starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

fn figure(report: &Value, name: &str) -> f64 {
    let value = if report[name].is_null() { &report["figures"][name] } else { &report[name] };
    value.as_f64().unwrap_or_else(|| panic!("{report} has no {name}"))
}

#[test]
fn benchmarks_of_the_engine_report_what_they_did() {
    let dir = tempfile::tempdir().unwrap();
    let plots = dir.path().join("plots");
    let names = "fillsync,fillbatch,fillrandomcommit,rawappend,readseq,rawiterate,readrange,readwhilewriting,tail,gc,reopen";
    let plot = format!("--plot={}", plots.display());
    let reports = run(dir.path(), &[&format!("--benchmarks={names}"), &plot]);
    let said: Vec<_> = reports.iter().map(|report| report["name"].as_str().unwrap()).collect();
    assert_eq!(said.join(","), names);
    for report in &reports {
        assert!(figure(report, "operations") > 0.0, "{report}");
        assert!(figure(report, "seconds") > 0.0, "{report}");
    }
    // Three fills of as many transactions lie in the store that readers scan.
    assert!(figure(&reports[4], "operations") >= 9000.0, "{}", reports[4]);
    assert!(figure(&reports[0], "written_per_payload_byte") > 0.0, "{}", reports[0]);
    assert!(std::fs::read_dir(plots).unwrap().count() > 0);
}

#[test]
fn a_pump_is_measured_beside_a_bare_server() {
    let dir = tempfile::tempdir().unwrap();
    let pump = format!("--pump={}", sibling("pump").display());
    let names = "--benchmarks=grpcbare,grpcwrite,grpcpull,grpcscan";
    let reports = run(dir.path(), &[names, &pump, "--connections=2"]);
    assert_eq!(reports.len(), 4);
    let [bare, write, pull, scan] = reports.as_slice() else { panic!("{reports:?}") };
    assert_eq!(figure(bare, "operations"), 3000.0);
    // All of it was written: the pump was stopped before its bytes were counted.
    assert!(figure(write, "written_per_payload_byte") > 0.5, "{write}");
    for read in [pull, scan] {
        assert_eq!(figure(read, "operations"), 3000.0, "{read}");
    }
}
