//! The fuzzers' targets (`fuzz/`), each for a short while: on what a real TiDB wrote, on mutations of that, and on random bytes.
//!
//! `BINLOG_FUZZ_CASES` makes it longer, `BINLOG_SEED` repeats a run.

use binlog_testkit::fixtures;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::replay::records;

#[path = "../../../../fuzz/src/targets.rs"]
#[allow(unreachable_pub, reason = "it is a library for the fuzzers")]
mod targets;

/// Real bytes for every target: rows and transactions, jobs, statements.
fn seeds() -> Vec<Vec<u8>> {
    let records = records("ddl");
    let bodies = records.iter().flat_map(|r| [r.body.prewrite_value.clone(), r.body.ddl_query.clone()]);
    let mut seeds: Vec<Vec<u8>> = bodies.flatten().map(|b| b.to_vec()).collect();
    seeds.extend(fixtures::meta("ddl").unwrap().into_iter().map(|(_, value)| value.to_vec()));
    seeds.sort_by_key(Vec::len);
    seeds.into_iter().step_by(7).filter(|seed| !seed.is_empty()).collect()
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    let cases = std::env::var("BINLOG_FUZZ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let seed: u64 =
        std::env::var("BINLOG_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or_else(|| now().into());
    println!("BINLOG_SEED={seed} repeats this run");
    let seeds = seeds();
    for (name, target) in targets::TARGETS {
        println!("{name}");
        let mut rng = [0; 32];
        rng[..8].copy_from_slice(&seed.to_le_bytes());
        seeds.iter().for_each(|seed| target(seed));
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &rng));
        let random = prop::collection::vec(any::<u8>(), 0..200);
        let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
        let strategy = (random, prop::sample::select(seeds.clone()), edits, any::<prop::sample::Index>());
        runner
            .run(&strategy, |(random, mut seed, edits, cut)| {
                target(&random);
                for (at, byte) in edits {
                    let at = at.index(seed.len());
                    seed[at] = byte;
                }
                target(&seed);
                target(&seed[..cut.index(seed.len())]);
                Ok(())
            })
            .unwrap();
    }
}
