//! How the test command runs the fuzzers' targets: on seeds, on mutations of them, and on random bytes.
//!
//! `BINLOG_FUZZ_CASES` makes it longer, `BINLOG_SEED` repeats a run.

#![allow(clippy::print_stdout, reason = "a run can be repeated by what it says")]

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

type Target = fn(&[u8]);

/// Runs each target for a short while; what panics fails the test.
pub(crate) fn drive(targets: &[(&str, Target)], seeds: &[Vec<u8>]) {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let cases = number("BINLOG_FUZZ_CASES").map_or(2000, |cases| cases as u32);
    let seed = number("BINLOG_SEED")
        .unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into());
    println!("BINLOG_SEED={seed} repeats this run");
    for (name, target) in targets {
        println!("{name}");
        let mut rng = [0; 32];
        rng[..8].copy_from_slice(&seed.to_le_bytes());
        seeds.iter().for_each(|seed| target(seed));
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &rng));
        let random = prop::collection::vec(any::<u8>(), 0..200);
        let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
        let strategy = (random, prop::sample::select(seeds.to_vec()), edits, any::<prop::sample::Index>());
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
