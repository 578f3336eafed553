//! The fuzzers' targets of binlog files (`fuzz/`), each for a short while: on captured records, on mutations of them, and on random bytes.

use std::fs;

use binlog_testkit::fixtures;

#[path = "../../../../fuzz/src/archive_targets.rs"]
#[allow(unreachable_pub, reason = "it is a library for the fuzzers")]
mod archive_targets;
#[path = "../../../../fuzz/drive.rs"]
mod drive;

/// Records of captured files, some of their files cut short, and statements.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "ALTER TABLE `d`.`t` DROP COLUMN `a`, ADD COLUMN b INT /*T![auto_rand] AUTO_RANDOM */ DEFAULT 'x''y'",
        "RENAME TABLE a.b TO c.d, e TO f",
        "CREATE OR REPLACE VIEW v AS SELECT 1; -- x",
        "DROP DATABASE IF EXISTS `d``d`",
    ]
    .map(|statement| statement.as_bytes().to_vec())
    .into();
    for name in ["ddl", "seed"] {
        let dir = tempfile::tempdir().unwrap();
        fixtures::unpack_drainer_files(name, dir.path()).unwrap();
        for entry in fs::read_dir(dir.path()).unwrap() {
            let mut bytes = fs::read(entry.unwrap().path()).unwrap();
            bytes.truncate(20_000);
            // Payloads: behind a magic and a length each.
            for start in begins(&bytes).into_iter().step_by(5) {
                let payload = bytes.get(start + 12..).unwrap_or_default();
                seeds.push(payload[..payload.len().min(2_000)].to_vec());
            }
            seeds.push(bytes);
        }
    }
    seeds.retain(|seed| !seed.is_empty());
    seeds
}

/// Where records may begin.
fn begins(bytes: &[u8]) -> Vec<usize> {
    let magic = binlog_archive::MAGIC.to_le_bytes();
    bytes.windows(4).enumerate().filter(|(_, window)| *window == magic).map(|(at, _)| at).collect()
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    drive::drive(&archive_targets::TARGETS, &seeds());
}
