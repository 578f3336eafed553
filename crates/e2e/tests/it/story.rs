//! The whole story of the documentation: two databases, a full backup, a mistaken DELETE, two DROP DATABASEs, and everything back.

use std::fs;
use std::path::Path;
use std::process::Command;

use binlog_e2e::{System, program};
use binlog_testkit::{Comparison, Mariadb, Replayer, assert_same, fixtures};

use tempfile::TempDir;

use crate::support::{Reparo, dump, said, schemas};

/// Runs steps of `story.sh` with what it needs of a system and a server.
struct Story {
    environment: Vec<(&'static str, String)>,
    folder: TempDir,
}

impl Story {
    fn new(system: &System, server: &Mariadb) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("files");
        fs::create_dir(&files).unwrap();
        fixtures::unpack_drainer_files("seed", &files).unwrap();
        let programs = program("reparo").parent().unwrap().display().to_string();
        let environment = vec![
            ("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap_or_default())),
            ("PD", system.cluster.url()),
            ("DB_HOST", "127.0.0.1".to_owned()),
            ("DB_PORT", server.port().to_string()),
            ("FILES", files.display().to_string()),
            ("BACKUP_TSO", fixtures::marks("seed").unwrap()["full_backup"].tso.to_string()),
            ("WORK", folder.path().display().to_string()),
        ];
        Story { environment, folder }
    }

    fn play(&self, step: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("story.sh");
        let mut command = Command::new("bash");
        command.arg(script).arg(step).envs(self.environment.iter().map(|(name, value)| (*name, value)));
        let (out, err) = said(command.output().unwrap()).unwrap();
        println!("{err}{out}");
        format!("{err}{out}")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_the_documentation() {
    let system = System::start("seed", 1).unwrap();
    let replayer = Replayer::fixture("seed", &system.hosts()).unwrap();
    replayer.run_all(Some(&system.cluster)).await.unwrap();
    let server = Mariadb::start().unwrap();
    let story = Story::new(&system, &server);
    let all = schemas("seed");
    let holds = |mark: &str| {
        let mut truth = fixtures::truth("seed", mark).unwrap();
        if mark != "end" {
            // Without tables, it is in no dump.
            truth.tables.retain(|(schema, _), _| schema != "test");
        }
        assert_same(&truth, &dump(&server, &all), &Comparison::with_mariadb());
    };
    let proved = |said: &str, times: usize| {
        assert_eq!(said.matches("the destination is as it should be\n").count(), times, "{said}");
    };
    story.play("backup");
    holds("full_backup");
    let found = story.play("find");
    assert!(found.contains("largest transactions:"), "{found}");
    let changes = fs::read_to_string(story.folder.path().join("changes.csv")).unwrap();
    assert!(changes.starts_with("commit_ts,"), "{changes}");
    let said = story.play("before_drop");
    assert!(said.contains("dump by mysqldump") && said.contains("plan of (after, through]"), "{said}");
    proved(&said, 1);
    holds("before_drop");
    proved(&story.play("before_delete"), 1);
    holds("before_delete");
    proved(&story.play("from_files"), 1);
    holds("before_delete");

    // A change beside the binlogs shows, by the pumps and by the files.
    server.sql("DELETE FROM full_backup_point_recover_1.jan_test_1 WHERE id = 4").unwrap();
    let reparo = Reparo::into(&server);
    let stop = format!("-stop-tso={}", fixtures::marks("seed").unwrap()["before_delete"].tso);
    let pd = format!("-pd-urls={}", system.cluster.url());
    let files = format!("-data-dir={}", story.folder.path().join("files").display());
    for source in [vec!["-from-pump", &pd, &stop], vec![&files, "-archive-timezone=UTC", &stop]] {
        let refuted = reparo.run(Some("prove"), &source).unwrap_err();
        assert!(refuted.contains("DIFFERENT: full_backup_point_recover_1.jan_test_1"), "{refuted}");
    }

    proved(&story.play("past_the_drops"), 2);
    holds("end");
    // A table that the range dropped is there again.
    server.sql("CREATE DATABASE full_backup_point_recover_2; CREATE TABLE full_backup_point_recover_2.jan_test_2 (id INT)").unwrap();
    for source in [vec!["-from-pump", &pd], vec![&files, "-archive-timezone=UTC"]] {
        let refuted = reparo.run(Some("prove"), &source).unwrap_err();
        assert!(refuted.contains("jan_test_2 is there, but was dropped"), "{refuted}");
    }

    story.play("undo");
    holds("before_delete");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_taken_back_in_place() {
    let system = System::start("seed", 1).unwrap();
    let replayer = Replayer::fixture("seed", &system.hosts()).unwrap();
    replayer.run_all(Some(&system.cluster)).await.unwrap();
    let marks = fixtures::marks("seed").unwrap();
    let (before, after) = (marks["before_delete"].tso.raw(), marks["before_drop"].tso.raw());
    let server = Mariadb::start().unwrap();
    system.restore(&server, after).unwrap();
    let reparo = Reparo::into(&server);
    let pd = format!("-pd-urls={}", system.cluster.url());
    let range = ["-after-tso", "-stop-tso", "-seen-tso"].into_iter().zip([before, after, after]);
    let range: Vec<String> = range.map(|(flag, ts)| format!("{flag}={ts}")).collect();
    let args: Vec<&str> = ["-from-pump", &pd].into_iter().chain(range.iter().map(String::as_str)).collect();

    // Nothing is changed where the database is not what the binlogs tell of.
    let all = schemas("seed");
    let truth = fixtures::truth("seed", "before_delete").unwrap();
    let ((schema, table), rows) = truth.tables.iter().max_by_key(|(_, table)| table.rows.len()).unwrap();
    assert!(!rows.rows.is_empty());
    reparo.run(Some("undo"), &args).unwrap();
    let mut actual = dump(&server, &all);
    actual.tables.retain(|name, table| truth.tables.contains_key(name) || !table.rows.is_empty());
    assert_same(&truth, &actual, &Comparison::with_mariadb());

    let again = reparo.run(Some("undo"), &args).unwrap_err();
    assert!(again.contains("nothing was changed"), "{again}");
    let kept = server.sql(&format!("SELECT COUNT(*) FROM `{schema}`.`{table}`")).unwrap();
    assert_eq!(kept.trim(), rows.rows.len().to_string());
}
