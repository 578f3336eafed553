//! Restores that go on: killed ones into a SQLite file, and killed steps with `-continue`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use binlog_e2e::{System, program};
use binlog_testkit::{Comparison, Mariadb, Replayer, assert_same, fixtures};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::sqlite;
use crate::support::{Reparo, clear, dump, last_commit_ts, said, schemas};

fn seeded() -> SmallRng {
    let seed =
        std::env::var("BINLOG_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("to replay: BINLOG_SEED={seed}");
    SmallRng::seed_from_u64(seed)
}

/// Kills a command some time after its start; whether it came to its end before. If not, it may have had nothing left to do but to exit.
fn killed_after(mut command: Command, pause: Duration) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(pause);
    let _ = child.kill();
    child.wait().unwrap().success()
}

/// What the destination says of the restore that was begun last: "1 AFTER THROUGH" if it came to its end.
fn standing(server: &Mariadb) -> String {
    server.sql("SELECT finished, after_ts, through_ts FROM tidb_binlog_reparo.restore").unwrap_or_default()
}

/// The DDL that a step stopped before; None: it came to the end.
fn next_ddl(said: &str) -> Option<String> {
    let line = said.lines().find(|line| line.starts_with("next: the DDL at "))?;
    line.split_whitespace().nth(4).map(str::to_owned)
}

/// All steps of a restore, each killed `kills` times before it may end: what they stopped before.
fn steps(server: &Mariadb, reparo: &Reparo, source: &str, kills: usize, rng: &mut SmallRng) -> Vec<String> {
    let first = [source, "-archive-timezone=UTC", "-until-next-ddl"];
    let next = [source, "-archive-timezone=UTC", "-until-next-ddl", "-continue"];
    let mut args: &[&str] = &first;
    let mut stops = Vec::new();
    loop {
        let before = standing(server);
        for _ in 0..kills {
            killed_after(reparo.command(None, args), Duration::from_millis(rng.random_range(5..90)));
            let now = standing(server);
            if now != before && now.starts_with('1') {
                // It came to its end, and was killed too late to be another one's beginning, unheard: what it stopped before is not
                // known, nor whether it was the last one.
                stops.push(String::new());
                args = &next;
                break;
            }
        }
        let (_, said) = reparo.run(None, args).unwrap();
        match next_ddl(&said) {
            Some(stop) => stops.push(stop),
            None => return stops,
        }
        args = &next;
        assert!(stops.len() < 500, "steps have no end: {stops:?}");
    }
}

#[test]
fn killed_steps_stop_where_others_do() {
    let mut rng = seeded();
    let server = Mariadb::start().unwrap();
    let files = tempfile::tempdir().unwrap();
    fixtures::unpack_drainer_files("seed", files.path()).unwrap();
    let source = format!("-data-dir={}", files.path().display());
    let reparo = Reparo::into(&server);
    let all = schemas("seed");
    let truth = fixtures::truth("seed", "end").unwrap();

    let expected = steps(&server, &reparo, &source, 0, &mut rng);
    assert!(expected.len() > 3, "{expected:?}");
    assert_same(&truth, &dump(&server, &all), &Comparison::with_mariadb());

    clear(&server, &all);
    server.sql("DROP DATABASE tidb_binlog_reparo").unwrap();
    let stops = steps(&server, &reparo, &source, 2, &mut rng);
    println!(
        "{} steps, {} of them too fast to be killed",
        stops.len(),
        stops.iter().filter(|s| s.is_empty()).count()
    );
    assert_same(&truth, &dump(&server, &all), &Comparison::with_mariadb());
    // A step whose end nobody heard may have been the last one.
    assert!(stops.len() >= expected.len() && stops.len() <= expected.len() + 1, "{stops:?} {expected:?}");
    for (stop, expected) in stops.iter().zip(&expected) {
        assert!(stop.is_empty() || stop == expected, "{stops:?} {expected:?}");
    }
}

#[test]
fn a_killed_continuation_goes_on() {
    let mut rng = seeded();
    let server = Mariadb::start().unwrap();
    let files = tempfile::tempdir().unwrap();
    fixtures::unpack_drainer_files("txn", files.path()).unwrap();
    let source = format!("-data-dir={}", files.path().display());
    let reparo = Reparo::into(&server);
    let (all, marks) = (schemas("txn"), fixtures::marks("txn").unwrap());
    let first = marks.values().map(|mark| mark.tso.raw()).min().unwrap();
    let base = [source.as_str(), "-archive-timezone=UTC", "-c=2", "-txn-batch=5"];
    let stop = format!("-stop-tso={first}");
    reparo.run(None, &[&base[..], &[stop.as_str()]].concat()).unwrap();

    let go_on = [&base[..], &["-continue"]].concat();
    let finished = || {
        let text =
            server.sql("SELECT finished, after_ts FROM tidb_binlog_reparo.restore").unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>() == ["1".to_owned(), first.to_string()]
    };
    let mut cut = 0;
    for _ in 0..4 {
        killed_after(reparo.command(None, &go_on), Duration::from_millis(rng.random_range(100..900)));
        if finished() {
            break;
        }
        cut += 1;
        // What would be done is not refused, and nothing is done.
        let (plan, _) = reparo.run(Some("plan"), &go_on).unwrap();
        assert!(plan.starts_with("plan of (after, through] = ("), "{plan}");
    }
    println!("cut off {cut} time(s)");
    if !finished() {
        let (_, said) = reparo.run(None, &go_on).unwrap();
        assert!(said.contains("restored (after, through] = "), "{said}");
    }
    let truth = fixtures::truth("txn", "end").unwrap();
    assert_same(&truth, &dump(&server, &all), &Comparison::with_mariadb());
}

async fn sqlite_survives(system: &System, file: &Path, rng: &mut SmallRng) {
    let stop = format!("-stop-tso={}", last_commit_ts("txn"));
    let restore = || {
        let mut command = Command::new(program("reparo"));
        command
            .args(["-from-pump", &format!("-pd-urls={}", system.cluster.url()), &stop, "-txn-batch=5"])
            .args(["-dest-type=sqlite", &format!("-dest-path={}", file.display())]);
        command
    };
    let mut cut = 0;
    for _ in 0..6 {
        if killed_after(restore(), Duration::from_millis(rng.random_range(50..700))) {
            break;
        }
        cut += 1;
    }
    println!("cut off {cut} time(s)");
    let (_, told) = said(restore().output().unwrap()).unwrap();
    assert!(told.contains("no gaps"), "{told}");
    let truth = fixtures::truth("txn", "end").unwrap();
    assert_same(&truth, &sqlite::contents(file).await, &sqlite::comparison());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_restore_into_a_file_goes_on() {
    let mut rng = seeded();
    let system = System::start("txn", 2).unwrap();
    let replayer = Replayer::fixture("txn", &system.hosts()).unwrap();
    replayer.run_all(Some(&system.cluster)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    sqlite_survives(&system, &folder.path().join("restored.db"), &mut rng).await;
}
