//! The whole story of the documentation: two databases, a full backup, a mistaken DELETE, two DROP DATABASEs, and everything back.

use std::fs;
use std::process::Command;

use binlog_e2e::{System, program};
use binlog_testkit::{Comparison, Mariadb, Replayer, assert_same, fixtures};

use crate::support::{Reparo, clear, dump, said, schemas};

/// A dump as mysqldump writes it of TiDB with --master-data=2: it tells the TSO of its snapshot.
fn full_backup(server: &Mariadb, tso: u64, schemas: &[String]) -> String {
    let output = Command::new("mariadb-dump")
        .args(["--no-defaults", "--host=127.0.0.1", "--protocol=tcp", "--user=root", "--skip-tz-utc"])
        .arg(format!("--port={}", server.port()))
        .arg("--databases")
        .args(schemas)
        .output()
        .unwrap();
    let (dump, _) = said(output).unwrap();
    format!("-- CHANGE MASTER TO MASTER_LOG_FILE='tidb-binlog', MASTER_LOG_POS={tso};\n{dump}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_taken_back_and_proved() {
    let system = System::start("seed", 1).unwrap();
    let replayer = Replayer::fixture("seed", &system.hosts()).unwrap();
    replayer.run_all(Some(&system.cluster)).await.unwrap();
    let marks = fixtures::marks("seed").unwrap();
    let tso = |mark: &str| marks[mark].tso.raw();
    let all = schemas("seed");
    let server = Mariadb::start().unwrap();
    let pd = format!("-pd-urls={}", system.cluster.url());
    let source = ["-from-pump", &pd];

    // The backup, as it was taken then.
    system.restore(&server, tso("full_backup")).unwrap();
    let present: Vec<String> = fixtures::truth("seed", "full_backup")
        .unwrap()
        .tables
        .into_keys()
        .map(|(schema, _)| schema)
        .collect();
    let backup = full_backup(&server, tso("full_backup"), &present);
    clear(&server, &all);

    // Find the moment: who deleted what, and when?
    let folder = tempfile::tempdir().unwrap();
    let (csv, svg) = (folder.path().join("activity.csv"), folder.path().join("activity.svg"));
    let activity = Command::new(program("reparo"))
        .arg("activity")
        .args(source)
        .args(["-by=1s", &format!("-csv={}", csv.display()), &format!("-svg={}", svg.display())])
        .output()
        .unwrap();
    let (text, _) = said(activity).unwrap();
    assert!(text.contains("largest transactions:") && text.contains("jan_test_1"), "{text}");
    assert!(fs::read_to_string(&csv).unwrap().starts_with("from,table,inserted,updated,deleted\n"));
    assert!(fs::read_to_string(&svg).unwrap().contains("<svg"));
    let look = |args: &[&str]| {
        let output = Command::new(program("reparo")).arg("look").args(source).args(args).output().unwrap();
        said(output).unwrap().0
    };
    let table = "-table=full_backup_point_recover_1.jan_test_1";
    let after = format!("-after-tso={}", tso("full_backup"));
    let deleted = look(&[table, &after, "-dest-type=json"]);
    let deletes = deleted.lines().filter(|line| line.contains(r#""type":"delete""#)).count();
    assert!(deletes > 0, "{deleted}");
    let history = look(&[table]);
    assert!(history.contains("INSERT  full_backup_point_recover_1.jan_test_1 ("), "{history}");

    // The full restore, and the binlogs up to the moment before.
    server.sql(&backup).unwrap();
    let reparo = Reparo::into(&server);
    let path = reparo.folder.path().join("backup.sql");
    fs::write(&path, &backup).unwrap();
    let from = format!("-full-backup={}", path.display());
    let stop = format!("-stop-tso={}", tso("before_delete"));
    let (_, told) = reparo.run(None, &[source[0], source[1], &from, &stop]).unwrap();
    assert!(told.contains("dump by mysqldump"), "{told}");
    let truth = fixtures::truth("seed", "before_delete").unwrap();
    assert_same(&truth, &dump(&server, &all), &Comparison::with_mariadb());

    // Proved: every row that the binlogs touched is as they leave it; and a change beside them shows.
    let prove = |stop: &str| reparo.run(Some("prove"), &[source[0], source[1], stop]);
    let (proof, _) = prove(&stop).unwrap();
    assert!(proof.contains("the destination is as it should be"), "{proof}");
    assert!(proof.contains("digest"), "{proof}");
    server.sql("DELETE FROM full_backup_point_recover_1.jan_test_1 LIMIT 1").unwrap();
    let refuted = prove(&stop).unwrap_err();
    assert!(refuted.contains("DIFFERENT: full_backup_point_recover_1.jan_test_1"), "{refuted}");
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
