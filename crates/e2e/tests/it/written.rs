//! What reparo writes: SQL that any client loads, CSV and JSON that programs count, plans, histories of rows, and SQL that takes changes back.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use binlog_e2e::{System, program};
use binlog_testkit::{Comparison, Mariadb, Replayer, assert_same, fixtures};
use serde_json::Value;

use crate::support::{clear, dump, said, schemas};

async fn replayed(fixture: &str) -> System {
    let system = System::start(fixture, 1).unwrap();
    let replayer = Replayer::fixture(fixture, &system.hosts()).unwrap();
    replayer.run_all(Some(&system.cluster)).await.unwrap();
    system
}

/// Runs `reparo`; stdout and stderr, or what it complains of.
fn reparo(args: &[&str]) -> Result<(String, String), String> {
    said(Command::new(program("reparo")).args(args).output().unwrap())
}

/// Loads a file as a person would, with a client that speaks another character set and knows nothing of the modes that it needs.
fn load(server: &Mariadb, file: &Path) {
    let output = Command::new("mariadb")
        .args(["--no-defaults", "--host=127.0.0.1", "--protocol=tcp", "--user=root"])
        .args(["--default-character-set=latin1", "--max-allowed-packet=1G"])
        .arg(format!("--port={}", server.port()))
        .stdin(Stdio::from(fs::File::open(file).unwrap()))
        .output()
        .unwrap();
    said(output).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_loads_what_a_restore_writes() {
    let server = Mariadb::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for fixture in ["seed", "types"] {
        let system = replayed(fixture).await;
        let pd = format!("-pd-urls={}", system.cluster.url());
        let only: &[&str] = if fixture == "types" { &["-db=types,types_v1"] } else { &[] };
        for (mark, at) in fixtures::marks(fixture).unwrap() {
            let all = schemas(fixture);
            clear(&server, &all);
            let file = folder.path().join(format!("{fixture}-{mark}.sql"));
            let (to, stop) = (format!("-dest-path={}", file.display()), format!("-stop-tso={}", at.tso));
            reparo(&[&["-from-pump", &pd, &stop, "-dest-type=sql", &to], only].concat()).unwrap();
            load(&server, &file);
            let mut truth = fixtures::truth(fixture, &mark).unwrap();
            if fixture == "types" {
                truth = truth.only(&["types", "types_v1"]);
            }
            let comparison =
                Comparison::with_mariadb().numeric("types", "floats", "d").numeric("types_v1", "floats", "d");
            assert_same(&truth, &dump(&server, &all), &comparison);
            let refused = reparo(&["-from-pump", &pd, "-dest-type=sql", &to]).unwrap_err();
            assert!(refused.contains("cannot write to"), "an existing file stays: {refused}");
        }
    }
}

#[test]
fn sql_of_files_loads_too() {
    let server = Mariadb::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fixtures::unpack_drainer_files("seed", folder.path()).unwrap();
    let files = format!("-data-dir={}", folder.path().display());
    let at = fixtures::marks("seed").unwrap()["before_drop"].tso;
    let sql = folder.path().join("out.sql");
    let (to, stop) = (format!("-dest-path={}", sql.display()), format!("-stop-tso={at}"));
    reparo(&[&files, "-archive-timezone=UTC", "-dest-type=sql", &to, &stop]).unwrap();
    load(&server, &sql);
    let truth = fixtures::truth("seed", "before_drop").unwrap();
    assert_same(&truth, &dump(&server, &schemas("seed")), &Comparison::with_mariadb());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_read_as_it_is_asked_for() {
    let system = replayed("seed").await;
    let pd = format!("-pd-urls={}", system.cluster.url());
    let registry = ["-from-pump", pd.as_str()];
    let host = format!("-from-pump={}", system.hosts()[0]);
    // Between the DELETE and the DROPs.
    let stop = ["-stop-datetime", "2026-11-22 13:57:52 Europe/Berlin"];

    // The plan says what the restore then does, whoever it is asked of.
    let (plan, _) = reparo(&[&["plan"][..], &registry, &stop].concat()).unwrap();
    let (rehearsal, _) = reparo(&[&registry[..], &stop, &["-dry-run"]].concat()).unwrap();
    let (of_host, _) = reparo(&[&["plan", &host][..], &stop].concat()).unwrap();
    let heart = |text: &str| {
        let lines = text.lines().filter(|line| line.contains("rows") || line.contains("DDL"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(plan.contains("no gaps") && plan.contains("jan_test_1"), "{plan}");
    assert_eq!(heart(&plan), heart(&rehearsal));
    assert_eq!(heart(&plan), heart(&of_host));

    let (memory, told) = reparo(&[&registry[..], &stop, &["-dest-type=memory"]].concat()).unwrap();
    assert!(memory.is_empty() && told.contains("restored (after, through]"), "{told}");
    let rows = told.split(" transactions with ").nth(1).and_then(|rest| rest.split(" rows").next());
    let rows: usize = rows.unwrap().parse().unwrap();

    let (json, _) = reparo(&[&registry[..], &stop, &["-dest-type=json"]].concat()).unwrap();
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let changes: Vec<&Value> = lines.iter().filter(|line| line["type"] != "ddl").collect();
    assert_eq!(changes.len(), rows);
    let deleted = changes.iter().find(|change| change["type"] == "delete").expect("the DELETE");
    assert_eq!((&deleted["table"], &deleted["old"]["id"]), (&Value::from("jan_test_1"), &Value::from(1)));

    let (csv, _) = reparo(&[&registry[..], &stop, &["-dest-type=csv"]].concat()).unwrap();
    let columns: usize = changes
        .iter()
        .map(|change| change["old"].as_object().or(change["new"].as_object()).map_or(0, |row| row.len()))
        .sum();
    // A line a column, beside those of DDLs and the header.
    assert_eq!(csv.lines().skip(1).filter(|line| !line.contains(",ddl,")).count(), columns, "{csv}");

    // Only what lies between two seconds.
    let between = ["-start-datetime", "2026-11-22T12:57:49Z", "-stop-datetime", "2026-11-22T12:57:52Z"];
    let (json, _) = reparo(&[&registry[..], &between, &["-dest-type=json"]].concat()).unwrap();
    assert_eq!((json.lines().count(), json.contains(r#""type":"delete""#)), (1, true), "{json}");

    // TiDB is given its own text, others what their servers take.
    let created = |dialect: &str| {
        let (sql, _) =
            reparo(&[&registry[..], &stop, &["-dest-type=sql", "-sql-dialect", dialect]].concat()).unwrap();
        sql
    };
    assert!(created("tidb").contains("/*T! , allow_auto_random_explicit_insert = 1 */"));
    assert_ne!(created("tidb"), created("mariadb"));
    let refused = reparo(&[&registry[..], &["-sql-dialect=oracle"]].concat()).unwrap_err();
    assert!(refused.contains("-sql-dialect"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_found_by_its_key() {
    let system = replayed("seed").await;
    let pd = format!("-pd-urls={}", system.cluster.url());
    let table = "-table=full_backup_point_recover_1.jan_test_1";
    let look = |more: &[&str]| reparo(&[&["look", "-from-pump", &pd, table], more].concat());
    let (history, told) = look(&["-key=1"]).unwrap();
    let kind = |line: &str| {
        ["INSERT", "UPDATE", "DELETE"].into_iter().find(|kind| line.contains(&format!("  {kind}  ")))
    };
    let kinds: Vec<&str> = history.lines().filter_map(kind).collect();
    assert_eq!(kinds, ["INSERT", "DELETE"], "{history}");
    assert!(history.contains("INSERT  full_backup_point_recover_1.jan_test_1 (id = 1)"), "{history}");
    assert!(told.contains("2 of "), "{told}");
    assert_eq!(look(&["-key=id=1"]).unwrap().0, history);
    let refused = look(&["-key=1,2"]).unwrap_err();
    assert!(refused.contains("without a key of 2 column(s)"), "{refused}");

    let folder = tempfile::tempdir().unwrap();
    fixtures::unpack_drainer_files("seed", folder.path()).unwrap();
    let files = format!("-data-dir={}", folder.path().display());
    let refused = reparo(&["look", &files, table, "-key=1"]).unwrap_err();
    assert!(refused.contains("do not tell which columns are a table's key"), "{refused}");
    let (of_files, _) = reparo(&["look", &files, "-archive-timezone=UTC", table, "-key=id=1"]).unwrap();
    assert_eq!(of_files.lines().filter_map(kind).collect::<Vec<_>>(), kinds, "{of_files}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_condition_finds_is_taken_back() {
    let system = replayed("seed").await;
    let server = Mariadb::start().unwrap();
    let marks = fixtures::marks("seed").unwrap();
    let at = |mark: &str| marks[mark].tso.raw();
    system.restore(&server, at("before_drop")).unwrap();
    let pd = format!("-pd-urls={}", system.cluster.url());
    let seen = format!("-seen-tso={}", at("before_drop"));
    let stop = format!("-stop-tso={}", at("before_drop"));
    let table = "-table=full_backup_point_recover_1.jan_test_1";
    let undo = |word: &str, condition: &str| {
        reparo(&[word, "-from-pump", &pd, &seen, &stop, table, &format!("-where={condition}")])
    };
    // Nobody deleted such a row.
    let (nothing, _) = undo("undo", "old.name = 'nobody'").unwrap();
    assert!(!nothing.contains("INSERT INTO"), "{nothing}");
    let (sql, told) = undo("undo", "old.name = 'jan_test_1'").unwrap();
    assert!(told.contains("1 to bring back"), "{told}");
    assert_eq!(undo("-rollback", "old.name = 'jan_test_1'").unwrap().0, sql);

    // A row that is there already: the script fails before its COMMIT, and nothing is changed.
    server.sql("INSERT INTO full_backup_point_recover_1.jan_test_1 VALUES (1, 'another')").unwrap();
    server.sql(&sql).unwrap_err();
    server.sql("DELETE FROM full_backup_point_recover_1.jan_test_1 WHERE id = 1").unwrap();
    server.sql(&sql).unwrap();
    let truth = fixtures::truth("seed", "before_delete").unwrap();
    assert_same(&truth, &dump(&server, &schemas("seed")), &Comparison::with_mariadb());

    // Taking back an INSERT of a row that is gone finds nothing: the number of rows found stops the script.
    let (sql, _) = undo("undo", "new.name = 'after_backup_1'").unwrap();
    server.sql("DELETE FROM full_backup_point_recover_1.jan_test_1 WHERE name = 'after_backup_1'").unwrap();
    let stopped = server.sql(&sql).unwrap_err().to_string();
    assert!(stopped.contains("1690"), "{stopped}");

    let config = system.pump_dir(0).with_extension("toml");
    fs::write(
        &config,
        format!("[dest-db]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"root\"\n", server.port()),
    )
    .unwrap();
    let config = format!("-config={}", config.display());
    let everything = reparo(&["undo", "-from-pump", &pd, "-dest-type=mysql", &config]).unwrap_err();
    assert!(everything.contains("needs a start"), "{everything}");
}
