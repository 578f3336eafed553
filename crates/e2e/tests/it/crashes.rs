//! Programs that are killed on the way lose nothing and repeat nothing.

use std::time::Duration;

use binlog_e2e::System;
use binlog_testkit::{Comparison, Mariadb, Replayer, assert_same, fixtures};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::support::{dump, last_commit_ts, schemas};

/// `churn.hist` has no key and real duplicates: a row applied twice, or once too few, shows.
#[tokio::test(flavor = "multi_thread")]
async fn txn_survives_killed_pumps_and_drainers() {
    let seed =
        std::env::var("BINLOG_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("to replay: BINLOG_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);

    let mut system = System::start("txn", 3).unwrap();
    let server = Mariadb::start().unwrap();
    system.start_drainer(&server).unwrap();
    let replayer = Replayer::fixture("txn", &system.hosts()).unwrap();
    let mut sent = 0;
    while sent < replayer.len() {
        let next = (sent + rng.random_range(1..=replayer.len() / 4)).min(replayer.len());
        replayer.run(sent..next, Some(&system.cluster)).await.unwrap();
        sent = next;
        if rng.random_bool(0.7) {
            let pump = rng.random_range(0..3);
            system.kill_pump(pump);
            system.start_pump(pump).unwrap();
        }
        if rng.random_bool(0.7) {
            // Anywhere: while it connects, decodes, applies or saves.
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..500))).await;
            system.kill_drainer();
            system.start_drainer(&server).unwrap();
        }
    }
    system.wait_for_checkpoint(&server, last_commit_ts("txn"), Duration::from_secs(180)).unwrap();
    let end = fixtures::truth("txn", "end").unwrap();
    assert_same(&end, &dump(&server, &schemas("txn")), &Comparison::with_mariadb());
}
