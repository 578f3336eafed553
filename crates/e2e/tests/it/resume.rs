//! A restore that is killed goes on where it was, by the same command, and repeats nothing.

use std::process::{Child, Stdio};
use std::time::Duration;

use binlog_e2e::System;
use binlog_testkit::{Comparison, Mariadb, Replayer, assert_same, fixtures, wait_until};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::support::{Reparo, clear, dump, last_commit_ts, schemas};

const LIMIT: Duration = Duration::from_secs(120);

/// How far the restore says that it is; 0 while it says nothing.
fn noted(server: &Mariadb) -> u64 {
    let text = server.sql("SELECT checkPoint FROM tidb_binlog_reparo.checkpoint").unwrap_or_default();
    let digits = text.split_once("\"commitTS\":").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|d| d.parse().ok()).unwrap_or(0)
}

/// Kills a restore some time after it has noted progress, if it does not come to its end before.
fn killed(child: &mut Child, server: &Mariadb, rng: &mut SmallRng) {
    let before = noted(server);
    wait_until(LIMIT, || child.try_wait().unwrap().is_some() || noted(server) > before);
    std::thread::sleep(Duration::from_millis(rng.random_range(0..400)));
    let _ = child.kill();
    let _ = child.wait();
}

/// Whether the last restore came to its end.
fn finished(server: &Mariadb) -> bool {
    server.sql("SELECT finished FROM tidb_binlog_reparo.restore").is_ok_and(|text| text.trim() == "1")
}

/// Kills restores with `args` at several moments, refuses another in between, and lets the last one end.
fn survives(fixture: &str, server: &Mariadb, args: &[&str], kills: usize, rng: &mut SmallRng) {
    let all = schemas(fixture);
    clear(server, &all);
    let reparo = Reparo::into(server);
    for kill in 1..=kills {
        let mut command = reparo.command(None, args);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        killed(&mut child, server, rng);
        if finished(server) {
            println!("{fixture}: at its end after {kill} kill(s)");
            break;
        }
        println!("{fixture}: kill {kill} at {}", noted(server));
        let other = reparo.run(None, &[args, &["-db=other"]].concat()).unwrap_err();
        assert!(other.contains("the first part of another restore"), "{other}");
    }
    if !finished(server) {
        let (_, said) = reparo.run(None, args).unwrap();
        assert!(said.contains("going on with a restore that was cut off"), "{said}");
    }
    let truth = fixtures::truth(fixture, "end").unwrap();
    assert_same(&truth, &dump(server, &all), &Comparison::with_mariadb());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_restore_goes_on() {
    let seed =
        std::env::var("BINLOG_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("to replay: BINLOG_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let server = Mariadb::start().unwrap();

    let files = tempfile::tempdir().unwrap();
    fixtures::unpack_drainer_files("txn", files.path()).unwrap();
    let dir = format!("-data-dir={}", files.path().display());
    survives("txn", &server, &[&dir, "-archive-timezone=UTC", "-c=2", "-txn-batch=5"], 3, &mut rng);

    let system = System::start("txn", 3).unwrap();
    let replayer = Replayer::fixture("txn", &system.hosts()).unwrap();
    replayer.run_all(Some(&system.cluster)).await.unwrap();
    let pd = format!("-pd-urls={}", system.cluster.url());
    let stop = format!("-stop-tso={}", last_commit_ts("txn"));
    survives("txn", &server, &["-from-pump", &pd, &stop, "-c=2", "-txn-batch=5"], 2, &mut rng);
}

#[test]
fn a_restore_goes_step_by_step() {
    let server = Mariadb::start().unwrap();
    let files = tempfile::tempdir().unwrap();
    fixtures::unpack_drainer_files("seed", files.path()).unwrap();
    let dir = format!("-data-dir={}", files.path().display());
    let reparo = Reparo::into(&server);
    let first = reparo.run(None, &[&dir, "-continue"]).unwrap_err();
    assert!(first.contains("nothing was restored"), "{first}");
    let marks = fixtures::marks("seed").unwrap();
    let all = schemas("seed");

    let (_, said) = reparo.run(None, &[&dir, "-until-next-ddl"]).unwrap();
    assert!(said.contains("next: the DDL at"), "{said}");
    // To one moment, and on to the next.
    let mut stops: Vec<(u64, &str)> =
        marks.iter().map(|(name, mark)| (mark.tso.raw(), name.as_str())).collect();
    stops.sort_unstable();
    for (tso, name) in stops {
        reparo.run(None, &[&dir, "-archive-timezone=UTC", "-continue", &format!("-stop-tso={tso}")]).unwrap();
        let truth = fixtures::truth("seed", name).unwrap();
        assert_same(&truth, &dump(&server, &all), &Comparison::with_mariadb());
    }
}
