//! The fuzzers' targets (`fuzz/`), each for a short while: on what a real TiDB wrote, on mutations of that, and on random bytes.

use std::fs;
use std::path::Path;

use binlog_testkit::fixtures;

use crate::replay::records;

#[path = "../../../../fuzz/drive.rs"]
mod drive;
#[path = "../../../../fuzz/src/targets.rs"]
#[allow(unreachable_pub, reason = "it is a library for the fuzzers")]
mod targets;

/// Real bytes for every target: rows and transactions, jobs, statements.
fn seeds() -> Vec<Vec<u8>> {
    let records = records("ddl");
    let bodies = records.iter().flat_map(|r| [r.body.prewrite_value.clone(), r.body.ddl_query.clone()]);
    let mut seeds: Vec<Vec<u8>> = bodies.flatten().map(|b| b.to_vec()).collect();
    seeds.extend(fixtures::meta("ddl").unwrap().into_iter().map(|(_, value)| value.to_vec()));
    seeds
        .extend(fixtures::writes("ddl").unwrap().into_iter().step_by(40).map(|frame| frame.payload.to_vec()));
    seeds.sort_by_key(Vec::len);
    seeds.into_iter().step_by(7).filter(|seed| !seed.is_empty()).collect()
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    drive::drive(&targets::TARGETS, &seeds());
}

/// The fuzzers are a workspace of their own, which no test builds: each target has its program, and each program its target.
#[test]
fn every_target_is_a_fuzzer() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let read = |path: &str| fs::read_to_string(fuzz.join(path)).unwrap();
    let manifest = read("Cargo.toml");
    let mut programs = Vec::new();
    for module in ["targets", "archive_targets", "sink_targets"] {
        assert!(read("src/lib.rs").contains(&format!("pub mod {module};")));
        let source = read(&format!("src/{module}.rs"));
        let (_, table) = source.split_once("TARGETS: ").unwrap();
        let (_, table) = table.split_once('=').unwrap();
        let (table, _) = table.split_once("];").unwrap();
        for entry in table.split('(').skip(1) {
            let (name, function) = entry.split_once(", ").unwrap();
            let (name, function) = (name.trim_matches('"'), function.split(')').next().unwrap());
            let program = read(&format!("fuzz_targets/{name}.rs"));
            assert!(program.contains(&format!("binlog_fuzz::{module}::{function}(data)")), "{name}");
            assert!(source.contains(&format!("pub fn {function}(data: &[u8])")), "{function}");
            assert!(
                manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
                "{name}"
            );
            programs.push(format!("{name}.rs"));
        }
    }
    let mut there: Vec<String> = fs::read_dir(fuzz.join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    programs.sort();
    assert_eq!(there, programs);
    assert_eq!(manifest.matches("[[bin]]").count(), programs.len());
}
