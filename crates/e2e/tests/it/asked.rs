//! What is asked for in another way is the same: addresses for the registry, datetimes for TSOs, a plan for a rehearsal.

use std::process::Command;
use std::time::Duration;

use binlog_e2e::{System, program};
use binlog_testkit::{Mariadb, Process, Replayer, fixtures, free_port, wait_until};
use binlog_types::Ts;

use crate::support::{Reparo, said, schemas};

fn reparo(word: Option<&str>, args: &[&str]) -> Result<(String, String), String> {
    said(Command::new(program("reparo")).args(word).args(args).output().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_datetimes_give_the_same_range() {
    let system = System::start("seed", 2).unwrap();
    let replayer = Replayer::fixture("seed", &system.hosts()).unwrap();
    replayer.run_all(Some(&system.cluster)).await.unwrap();
    let marks = fixtures::marks("seed").unwrap();
    let whole = |mark: &str| Ts::compose(marks[mark].tso.physical(), 0);
    let (start, stop) = (whole("full_backup"), whole("before_drop"));
    let pd = format!("-pd-urls={}", system.cluster.url());
    let registry = ["-from-pump", &pd, "-dest-type=json"];
    let tsos = [format!("-start-tso={start}"), format!("-stop-tso={stop}")];
    let (expected, _) =
        reparo(None, &[&registry[..], &tsos.each_ref().map(String::as_str)].concat()).unwrap();
    assert!(expected.lines().count() > 3, "{expected}");

    let shown = |ts: Ts, zone: &str, form: &str| {
        let seconds = format!("@{}.{:03}", ts.physical() / 1000, ts.physical() % 1000);
        let output = Command::new("date").env("TZ", zone).args(["-d", &seconds, form]).output().unwrap();
        said(output).unwrap().0.trim().to_owned()
    };
    let tokyo = |ts: Ts| shown(ts, "JST-9", "+%F %T.%3N +09:00");
    let utc = |ts: Ts| shown(ts, "UTC0", "+%FT%T.%3NZ");
    let addresses = format!("-from-pump={}", system.hosts().join(","));
    for (from, to) in [
        (utc(start), utc(stop)),
        (tokyo(start), tokyo(stop)),
        (start.physical().to_string(), stop.physical().to_string()),
    ] {
        let times = [format!("-start-datetime={from}"), format!("-stop-datetime={to}")];
        let args =
            [&[addresses.as_str(), "-dest-type=json"], &times.each_ref().map(String::as_str)[..]].concat();
        let (found, told) = reparo(None, &args).unwrap();
        assert!(found == expected, "{from} to {to}: {told}");
        assert!(told.contains(&format!("TSO {stop}")), "the range is echoed: {told}");
        assert!(told.contains("these pumps were named"), "{told}");
    }
    // Seconds since 1970 are no TSO of that year: the range would end before all binlogs.
    let seconds = format!("-stop-tso={}", stop.physical() / 1000);
    let refused = reparo(None, &[&addresses, &seconds]).unwrap_err();
    assert!(refused.contains("is no TSO"), "{refused}");
    // One pump of two is not the range.
    let refused = reparo(None, &[&format!("-from-pump={}", system.hosts()[0]), &pd]).unwrap_err();
    assert!(refused.contains("which was not named"), "{refused}");
}

#[test]
fn a_range_from_before_the_pumps_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let start = |name: &str| {
        let port = free_port();
        let args = [
            format!("-addr=127.0.0.1:{port}"),
            format!("-cluster-dir={}", path("cluster")),
            format!("-data-dir={}", path(name)),
            format!("-node-id={name}"),
            "-fake-binlog-interval=1".to_owned(),
        ];
        let mut pump = Process::start(program("pump"), args).unwrap();
        pump.wait_for_port(port, Duration::from_secs(30)).unwrap();
        pump
    };
    let (_first, mut second) = (start("pump1"), start("pump2"));
    let cluster = format!("-cluster-dir={}", path("cluster"));
    let plan = |more: &[&str]| {
        let source = ["-from-pump", &cluster];
        reparo(Some("plan"), &[&source[..], more].concat())
    };
    // Until both are complete through a moment.
    assert!(wait_until(Duration::from_secs(30), || plan(&[]).is_ok()));
    let (told, _) = plan(&[]).unwrap();
    assert!(told.contains("no gaps") && !told.contains("REFUSED"), "{told}");
    let long_ago = "-start-datetime=2015-01-01T00:00:00Z";
    let refused = plan(&[long_ago]).unwrap_err();
    assert!(refused.contains("A RESTORE WOULD BE REFUSED: the range begins after"), "{refused}");
    assert!(refused.contains("HOLE: ") && refused.contains("1 hole(s)"), "{refused}");
    let error = reparo(None, &["-from-pump", &cluster, long_ago]).unwrap_err();
    assert!(error.contains("what others held before is not known"), "{error}");
    let (told, _) = plan(&[long_ago, "-allow-gaps"]).unwrap();
    assert!(told.contains("1 hole(s)") && !told.contains("REFUSED"), "{told}");
    assert!(told.contains("pump pump2 began at"), "{told}");

    // A pump that is down is named, by a plan with all else.
    second.kill9();
    let down = reparo(None, &["-from-pump", &cluster]).unwrap_err();
    assert!(down.contains("cannot be asked"), "{down}");
    let refused = plan(&[long_ago]).unwrap_err();
    assert!(refused.matches("A RESTORE WOULD BE REFUSED").count() >= 2, "{refused}");
    let (told, _) = plan(&["-allow-gaps"]).unwrap();
    assert!(told.contains("HOLE: ") && told.contains("cannot be asked"), "{told}");
    // A store is not read under the feet of a pump that runs on it.
    let running = format!("-from-store={}", path("pump1"));
    let refused = reparo(Some("plan"), &[&running]).unwrap_err();
    assert!(refused.contains("a pump is running on it"), "{refused}");
    reparo(Some("plan"), &[&format!("-from-store={}", path("pump2")), "-allow-gaps"]).unwrap();
}

#[test]
fn a_rehearsal_says_what_a_plan_says() {
    let server = Mariadb::start().unwrap();
    let files = tempfile::tempdir().unwrap();
    fixtures::unpack_drainer_files("seed", files.path()).unwrap();
    let dir = format!("-data-dir={}", files.path().display());
    let into = Reparo::into(&server);
    // Without the lines that tell how long it took.
    let lasting = |text: &str| {
        text.lines().filter(|line| !line.starts_with("reading took")).collect::<Vec<_>>().join("\n")
    };
    let (plan, _) = into.run(Some("plan"), &[&dir]).unwrap();
    let (rehearsal, _) = into.run(None, &[&dir, "-dry-run"]).unwrap();
    assert_eq!(lasting(&plan), lasting(&rehearsal));
    for part in [
        "plan of (after, through] = (0, ",
        "tables, hottest first:",
        "DDL statements:",
        "no gaps",
        "restoring takes about",
    ] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    let shown = server.sql("SHOW DATABASES").unwrap();
    for schema in schemas("seed").iter().map(String::as_str).chain(["tidb_binlog_reparo"]) {
        assert!(!shown.lines().any(|line| line == schema), "a plan has made {schema}");
    }

    // Step by step, too: what the next one would do.
    let error = into.run(Some("plan"), &[&dir, "-continue"]).unwrap_err();
    assert!(error.contains("nothing was restored"), "{error}");
    let (_, told) = into.run(None, &[&dir, "-until-next-ddl"]).unwrap();
    let next = told.lines().find(|line| line.starts_with("next: the DDL at")).unwrap();
    let (plan, _) = into.run(Some("plan"), &[&dir, "-continue", "-until-next-ddl"]).unwrap();
    let statement = next.split_once("): ").unwrap().1.split_once("; -continue").unwrap().0;
    let listed = plan.split_once("DDL statements:").unwrap().1.lines().nth(1).unwrap();
    assert!(listed.contains(statement.split_whitespace().next().unwrap()), "{statement}: {plan}");
    let (_, told) = into.run(None, &[&dir, "-continue", "-until-next-ddl"]).unwrap();
    let next = |text: &str| text.lines().find(|line| line.starts_with("next: ")).map(str::to_owned);
    assert_eq!(next(&plan), next(&told));

    // What belongs to a restore is no part of the others.
    for word in ["look", "activity", "prove"] {
        let error = reparo(Some(word), &[&dir, "-continue"]).unwrap_err();
        assert!(error.contains("-continue belongs to a restore and its plan"), "{word}: {error}");
    }
}
