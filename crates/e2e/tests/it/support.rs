//! What the tests share.

use binlog_proto::binlog::Binlog;
use binlog_testkit::{Mariadb, Truth, fixtures};
use prost::Message as _;

/// The last commit_ts of a capture.
pub(crate) fn last_commit_ts(fixture: &str) -> u64 {
    let commits =
        fixtures::writes(fixture).unwrap().into_iter().map(|frame| Binlog::decode(frame.payload).unwrap());
    commits.map(|binlog| binlog.commit_ts as u64).max().unwrap()
}

/// The schemas of a capture, at any of its marks.
pub(crate) fn schemas(fixture: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for mark in fixtures::marks(fixture).unwrap().keys() {
        all.extend(fixtures::truth(fixture, mark).unwrap().tables.into_keys().map(|(schema, _)| schema));
    }
    all.sort();
    all.dedup();
    all
}

/// All that stands in the capture's schemas of `server`.
pub(crate) fn dump(server: &Mariadb, schemas: &[String]) -> Truth {
    let schemas: Vec<&str> = schemas.iter().map(String::as_str).collect();
    server.dump(&schemas).unwrap()
}

/// Drops them.
pub(crate) fn clear(server: &Mariadb, schemas: &[String]) {
    for schema in schemas {
        server.sql(&format!("DROP DATABASE IF EXISTS `{schema}`")).unwrap();
    }
}
