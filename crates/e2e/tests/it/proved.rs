//! `reparo prove` says what it compared, and what it could not.

use std::process::Command;

use binlog_e2e::{System, program};
use binlog_testkit::{Comparison, Mariadb, Replayer, assert_same, fixtures};
use sqlx::{Connection as _, SqliteConnection};

use crate::support::{Reparo, dump, said, schemas};

async fn replayed(fixture: &str) -> System {
    let system = System::start(fixture, 1).unwrap();
    let replayer = Replayer::fixture(fixture, &system.hosts()).unwrap();
    replayer.run_all(Some(&system.cluster)).await.unwrap();
    system
}

fn holds(proof: &str) -> bool {
    proof.lines().any(|line| line.starts_with("the destination is as it should be"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_server_and_a_restored_file_are_proved() {
    let folder = tempfile::tempdir().unwrap();
    for fixture in ["types", "ddl"] {
        let system = replayed(fixture).await;
        let server = Mariadb::start().unwrap();
        let reparo = Reparo::into(&server);
        let pd = format!("-pd-urls={}", system.cluster.url());
        let end = format!("-stop-tso={}", fixtures::marks(fixture).unwrap()["end"].tso);
        let source = ["-from-pump", &pd, &end];
        reparo.run(None, &source).unwrap();
        // A few rows in memory at a time.
        let (proof, _) = reparo.run(Some("prove"), &[&source[..], &["-memory=1MiB"]].concat()).unwrap();
        println!("{proof}");
        assert!(holds(&proof), "{proof}");

        let file = folder.path().join(fixture);
        let to = ["-dest-type=sqlite", &format!("-dest-path={}", file.display())];
        let run = |word: &[&str]| {
            said(Command::new(program("reparo")).args(word).args(source).args(to).output().unwrap())
        };
        let missing = run(&["prove"]).unwrap_err();
        assert!(missing.contains("there is no such file"), "{missing}");
        run(&[]).unwrap();
        let (proof, _) = run(&["prove"]).unwrap();
        println!("{proof}");
        assert!(holds(&proof), "{proof}");
        if fixture == "types" {
            let mut open = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
            sqlx::raw_sql("DELETE FROM \"types.ints\" WHERE rowid = (SELECT MAX(rowid) FROM \"types.ints\")")
                .execute(&mut open)
                .await
                .unwrap();
            open.close().await.unwrap();
            let refuted = run(&["prove"]).unwrap_err();
            assert!(refuted.contains("DIFFERENT: types.ints"), "{refuted}");
        }
    }
}

#[test]
fn files_are_proved_by_the_keys_of_the_destination() {
    let server = Mariadb::start().unwrap();
    let reparo = Reparo::into(&server);
    for (fixture, only) in [("types", "-db=types,types_v1"), ("txn", "-db=bank,churn")] {
        let files = tempfile::tempdir().unwrap();
        fixtures::unpack_drainer_files(fixture, files.path()).unwrap();
        let source = [&format!("-data-dir={}", files.path().display()), "-archive-timezone=UTC", only];
        // An empty server is not as it should be.
        let empty = reparo.run(Some("prove"), &source).unwrap_err();
        assert!(empty.contains("is not there, but should be"), "{empty}");
        reparo.run(None, &source).unwrap();
        let (proof, _) = reparo.run(Some("prove"), &source).unwrap();
        println!("{proof}");
        assert!(holds(&proof), "{proof}");
        assert!(proof.contains("digest"), "{proof}");
    }
}

/// The original writes a RENAME from another database without that database's name, and rows of swapped tables under the wrong one: its files hold
/// less than the pumps did. What they do tell is there, and where they do not the restore stops and says so.
#[test]
fn files_with_ddl_are_restored_as_far_as_they_tell() {
    let server = Mariadb::start().unwrap();
    let reparo = Reparo::into(&server);
    let files = tempfile::tempdir().unwrap();
    fixtures::unpack_drainer_files("ddl", files.path()).unwrap();
    let source = [&format!("-data-dir={}", files.path().display()), "-archive-timezone=UTC"];
    let stop = format!("-stop-tso={}", fixtures::marks("ddl").unwrap()["s040"].tso);
    let to_mark = [&source[..], &[&stop]].concat();
    reparo.run(None, &to_mark).unwrap();
    let truth = fixtures::truth("ddl", "s040").unwrap();
    assert_same(&truth, &dump(&server, &schemas("ddl")), &Comparison::with_mariadb());
    let (proof, _) = reparo.run(Some("prove"), &to_mark).unwrap();
    assert!(holds(&proof), "{proof}");
    let stopped = reparo.run(None, &[&source[..], &["-continue"]].concat()).unwrap_err();
    assert!(stopped.contains("RENAME TABLE `b2` TO `d2`.`b3`"), "{stopped}");
}

#[test]
fn nothing_compared_is_no_proof() {
    let server = Mariadb::start().unwrap();
    let reparo = Reparo::into(&server);
    let files = tempfile::tempdir().unwrap();
    fixtures::unpack_drainer_files("seed", files.path()).unwrap();
    let source = [&format!("-data-dir={}", files.path().display()), "-archive-timezone=UTC", "-db=test234"];
    let stop = format!("-stop-tso={}", fixtures::marks("seed").unwrap()["before_drop"].tso);
    reparo.run(None, &[&source[..], &[&stop]].concat()).unwrap();
    // Of a table without a key, only what began in the range is known.
    let (whole, _) = reparo.run(Some("prove"), &[&source[..], &[&stop]].concat()).unwrap();
    assert!(holds(&whole), "{whole}");
    let rows = format!("-start-tso={}", first_row(&source));
    let void = reparo.run(Some("prove"), &[&source[..], &[&stop, &rows]].concat()).unwrap_err();
    assert!(void.contains("NOTHING WAS COMPARED; 1 row(s) were NOT compared"), "{void}");
    assert!(void.contains("has no key"), "{void}");
}

/// The commit_ts of the first row.
fn first_row(source: &[&str]) -> String {
    let args = [source, &["-dest-type=csv"]].concat();
    let (csv, _) = said(Command::new(program("reparo")).args(args).output().unwrap()).unwrap();
    let row = csv.lines().find(|line| line.contains(",insert,")).expect("a row");
    row.split(',').next().unwrap().to_owned()
}
