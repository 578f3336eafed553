//! The original drainer's binlog files, restored into a database.

use binlog_testkit::{Comparison, Mariadb, assert_same, fixtures};

use crate::support::{Reparo, clear, dump, schemas};

fn restored(server: &Mariadb, fixture: &str, args: &[&str]) {
    let reparo = Reparo::into(server);
    let files = tempfile::tempdir().unwrap();
    fixtures::unpack_drainer_files(fixture, files.path()).unwrap();
    let dir = format!("-data-dir={}", files.path().display());
    let args = [&[dir.as_str(), "-archive-timezone=UTC"], args].concat();
    reparo.run(None, &args).unwrap();
}

#[test]
fn files_restore_what_the_source_held() {
    let server = Mariadb::start().unwrap();
    // Real duplicates in a table without a key, and traffic that a crash cut off.
    restored(&server, "crash", &[]);
    let truth = fixtures::truth("crash", "end").unwrap();
    let all: Vec<String> = truth.tables.keys().map(|(schema, _)| schema.clone()).collect();
    assert!(all.contains(&"churn".to_owned()));
    assert_same(&truth, &server.dump(&["bank", "churn"]).unwrap(), &Comparison::with_mariadb());
}

#[test]
fn files_restore_to_a_moment() {
    let server = Mariadb::start().unwrap();
    for (mark, moment) in fixtures::marks("seed").unwrap() {
        let all = schemas("seed");
        clear(&server, &all);
        restored(&server, "seed", &[&format!("-stop-tso={}", moment.tso)]);
        let truth = fixtures::truth("seed", &mark).unwrap();
        assert_same(&truth, &dump(&server, &all), &Comparison::with_mariadb());
    }
}

#[test]
fn files_hold_every_type() {
    let server = Mariadb::start().unwrap();
    restored(&server, "types", &["-db=types,types_v1"]);
    let truth = fixtures::truth("types", "end").unwrap().only(&["types", "types_v1"]);
    let actual = server.dump(&["types", "types_v1"]).unwrap();
    // MariaDB shows some doubles without an exponent.
    let comparison =
        Comparison::with_mariadb().numeric("types", "floats", "d").numeric("types_v1", "floats", "d");
    assert_same(&truth, &actual, &comparison);
}
