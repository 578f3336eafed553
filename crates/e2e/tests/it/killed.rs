//! A restore into a SQLite file that is killed goes on where it was, by the same command, and repeats nothing.

use std::process::{Command, Stdio};
use std::time::Duration;

use binlog_e2e::{System, program};
use binlog_testkit::{Replayer, assert_same, fixtures};

use crate::sqlite;
use crate::support::{last_commit_ts, said};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_restore_into_a_file_goes_on() {
    let system = System::start("txn", 3).unwrap();
    let replayer = Replayer::fixture("txn", &system.hosts()).unwrap();
    replayer.run_all(Some(&system.cluster)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("restored.db");
    let args = [
        "-from-pump".to_owned(),
        format!("-pd-urls={}", system.cluster.url()),
        format!("-stop-tso={}", last_commit_ts("txn")),
        "-dest-type=sqlite".to_owned(),
        format!("-dest-path={}", file.display()),
        "-txn-batch=5".to_owned(),
    ];
    let command = || {
        let mut command = Command::new(program("reparo"));
        command.args(&args);
        command
    };
    let (mut cut_off, mut ended) = (0, false);
    for pause in [150, 350, 700] {
        let mut child = command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        // At its end, the same command would begin anew, and rows of tables without a key would come twice.
        if child.try_wait().unwrap().is_some() {
            ended = true;
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        cut_off += 1;
    }
    println!("killed {cut_off} times");
    assert!(cut_off > 0, "it was never at work when it was to be killed");
    if !ended {
        said(command().output().unwrap()).unwrap();
    }
    let truth = fixtures::truth("txn", "end").unwrap();
    assert_same(&truth, &sqlite::contents(&file).await, &sqlite::comparison());
}
