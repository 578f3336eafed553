//! The fuzzers' target of DDL (`fuzz/`) for a short while: on jobs of a real TiDB, on mutations of them, and on random bytes.

use binlog_catalog::meta::job_of_key;
use binlog_testkit::fixtures;

#[path = "../../../../fuzz/drive.rs"]
mod drive;
#[path = "../../../../fuzz/src/sink_targets.rs"]
#[allow(unreachable_pub, reason = "it is a library for the fuzzers")]
mod sink_targets;
#[path = "../../../../fuzz/src/targets.rs"]
#[allow(unreachable_pub, dead_code, reason = "it is a library for the fuzzers")]
mod targets;

#[test]
fn no_job_makes_the_planner_panic() {
    let jobs = fixtures::meta("ddl").unwrap().into_iter().filter(|(key, _)| job_of_key(key).is_some());
    let seeds: Vec<Vec<u8>> = jobs.map(|(_, job)| job.to_vec()).collect();
    drive::drive(&sink_targets::TARGETS, &seeds);
}
