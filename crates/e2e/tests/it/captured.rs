//! Fed with what a real TiDB wrote, the downstream holds what that TiDB held: at the end, and at every mark.

use std::process::Command;
use std::time::Duration;

use binlog_e2e::{System, program, pull_all};
use binlog_testkit::{Comparison, Mariadb, Replayer, Truth, assert_same, fixtures};

use crate::sqlite;
use crate::support::{clear, dump, file_checkpoint, last_commit_ts, said, schemas};

const LIMIT: Duration = Duration::from_secs(120);

async fn replayed(fixture: &str, pumps: usize) -> System {
    let system = System::start(fixture, pumps).unwrap();
    let replayer = Replayer::fixture(fixture, &system.hosts()).unwrap();
    replayer.run_all(Some(&system.cluster)).await.unwrap();
    system
}

/// Each pump answers to the original's pull what the original pump answered, byte for byte.
async fn assert_pulled(fixture: &str, system: &System) {
    let until = last_commit_ts(fixture) as i64;
    for (i, port) in system.ports().into_iter().enumerate() {
        let expected = fixtures::pulled(fixture, i as u8).unwrap();
        let actual = pull_all(port, system.cluster.cluster_id().0, until, LIMIT).await.unwrap();
        assert_eq!(actual.len(), expected.len(), "{fixture}, pump {i}: transactions");
        for (n, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
            assert_eq!(actual, expected, "{fixture}, pump {i}, payload {n}");
        }
    }
}

fn assert_restored_to(system: &System, server: &Mariadb, fixture: &str, mark: &str) {
    let all = schemas(fixture);
    clear(server, &all);
    system.restore(server, fixtures::marks(fixture).unwrap()[mark].tso.raw()).unwrap();
    assert_same(&fixtures::truth(fixture, mark).unwrap(), &dump(server, &all), &Comparison::with_mariadb());
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_is_replicated_and_restored_to_every_mark() {
    let mut system = replayed("seed", 1).await;
    assert_pulled("seed", &system).await;

    let server = Mariadb::start().unwrap();
    system.start_drainer(&server).unwrap();
    system.wait_for_checkpoint(&server, last_commit_ts("seed"), LIMIT).unwrap();
    let end = fixtures::truth("seed", "end").unwrap();
    assert_same(&end, &dump(&server, &schemas("seed")), &Comparison::with_mariadb());
    system.kill_drainer();

    // The rows that a DELETE and two DROP DATABASEs destroyed are back.
    for mark in fixtures::marks("seed").unwrap().keys() {
        assert_restored_to(&system, &server, "seed", mark);
    }
    assert_undone(&system, &server, "seed", "before_drop", "full_backup");
}

/// From what TiDB held at `from` back to what it held at `to`, by the SQL that `reparo undo` writes.
fn assert_undone(system: &System, server: &Mariadb, fixture: &str, from: &str, to: &str) {
    assert_restored_to(system, server, fixture, from);
    let marks = fixtures::marks(fixture).unwrap();
    let (after, through) = (marks[to].tso.raw(), marks[from].tso.raw());
    let args = ["-after-tso", "-stop-tso", "-seen-tso"].into_iter().zip([after, through, through]);
    let args: Vec<String> = args.map(|(flag, ts)| format!("{flag}={ts}")).collect();
    let output = system.reparo(Some("undo"), &args).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.sql(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let expected = fixtures::truth(fixture, to).unwrap();
    let mut actual = dump(server, &schemas(fixture));
    // Tables that came since stay, without rows: DDL is not undone.
    actual.tables.retain(|name, table| expected.tables.contains_key(name) || !table.rows.is_empty());
    assert_same(&expected, &actual, &Comparison::with_mariadb());
}

#[tokio::test(flavor = "multi_thread")]
async fn txn_of_three_pumps_is_restored_to_the_middle() {
    let system = replayed("txn", 3).await;
    assert_pulled("txn", &system).await;
    let server = Mariadb::start().unwrap();
    assert_restored_to(&system, &server, "txn", "t012");
    assert_all_stores_are_needed(system);
}

/// What a dead pump's directory holds is not the whole range, and it knows that.
fn assert_all_stores_are_needed(mut system: System) {
    (0..3).for_each(|pump| system.kill_pump(pump));
    let plan = |stores: &[usize], more: &[&str]| {
        let dirs = stores.iter().map(|pump| format!("-from-store={}", system.pump_dir(*pump).display()));
        // The stores end at different moments, as the pumps were killed one after the other.
        let stop = format!("-stop-tso={}", last_commit_ts("txn"));
        let mut command = Command::new(program("reparo"));
        said(command.arg("plan").args(dirs).arg(stop).args(more).output().unwrap())
    };
    // The last one to start has seen the others at once.
    let refused = plan(&[2], &[]).unwrap_err();
    assert!(refused.contains("whose store is not among those that are read"), "{refused}");
    let (holes, _) = plan(&[2], &["-allow-gaps"]).unwrap();
    assert!(holes.contains("HOLE"), "{holes}");
    let (whole, _) = plan(&[0, 1, 2], &[]).unwrap();
    assert!(whole.contains("no gaps"), "{whole}");
}

/// Tables of the captures that no copy can equal, and why. All others do, in MariaDB and in SQLite; [`sqlite::comparison`] names
/// the columns that a SQLite file shows otherwise.
const LEFT_OUT: [(&str, &str, &str); 1] = [(
    "types_tidb",
    "ttlt",
    "TiDB's TTL worker deletes expired rows without a binlog: the stream still has them",
)];

/// How MariaDB shows what it holds: some numbers in another form than TiDB, compared as numbers.
fn shown_by_mariadb() -> Comparison {
    Comparison::with_mariadb().numeric("types", "floats", "d").numeric("types_v1", "floats", "d")
}

fn compared(truth: Truth) -> Truth {
    LEFT_OUT.iter().fold(truth, |truth, (schema, table, _)| truth.without(schema, table))
}

/// Through all programs: what the drainer left at the end, and what reparo restored to every mark, into a server and into a file.
async fn check_everywhere(fixture: &str) {
    let mut system = replayed(fixture, 1).await;
    let server = Mariadb::start().unwrap();
    let all = schemas(fixture);
    system.syncer = "recycle-bin = \"24h\"".to_owned();
    system.start_drainer(&server).unwrap();
    system.wait_for_checkpoint(&server, last_commit_ts(fixture), LIMIT).unwrap();
    system.kill_drainer();
    let end = compared(fixtures::truth(fixture, "end").unwrap());
    assert_same(&end, &compared(dump(&server, &all)), &shown_by_mariadb());

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drained.db");
    system.start_file_drainer(&file).unwrap();
    system.wait_until(last_commit_ts(fixture), LIMIT, || file_checkpoint(&file)).unwrap();
    system.kill_drainer();
    let mut drained = sqlite::contents(&file).await;
    drained.tables.retain(|(schema, _), _| all.contains(schema));
    assert_same(&end, &compared(drained), &sqlite::comparison());

    for (mark, at) in fixtures::marks(fixture).unwrap() {
        println!("{fixture}: mark {mark}");
        let file = folder.path().join(format!("{mark}.db"));
        system.restore_file(&file, at.tso.raw()).unwrap();
        let truth = compared(fixtures::truth(fixture, &mark).unwrap());
        assert_same(&truth, &compared(sqlite::contents(&file).await), &sqlite::comparison());
        clear(&server, &all);
        system.restore(&server, at.tso.raw()).unwrap();
        assert_same(&truth, &compared(dump(&server, &all)), &shown_by_mariadb());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_replicated_and_restored_to_every_mark() {
    check_everywhere("types").await;
}

/// RECOVER and FLASHBACK included: their rows come out of the recycle bin.
#[tokio::test(flavor = "multi_thread")]
async fn every_ddl_is_replicated_and_restored_to_every_mark() {
    check_everywhere("ddl").await;
}
