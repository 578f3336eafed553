//! Every command of `binlogctl`, against a pump, PD and etcd that ask for a certificate. The texts are those of the original's
//! program, which scripts match on.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use binlog_testkit::{Authority, CertFiles, FakeCluster, fixtures};

use crate::{sibling, text};

const PATIENCE: Duration = Duration::from_secs(60);

struct Pump(Child);

impl Drop for Pump {
    fn drop(&mut self) {
        // It may have ended already, as it was asked to.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A cluster behind TLS, and a certificate for it.
struct Site {
    root: tempfile::TempDir,
    authority: Authority,
    own: CertFiles,
    cluster: FakeCluster,
}

impl Site {
    fn new() -> Self {
        let authority = Authority::new("ca").unwrap();
        let own = authority.issue("binlog", "binlog").unwrap();
        let cluster = FakeCluster::start_tls(&authority).unwrap();
        Site { root: tempfile::tempdir().unwrap(), authority, own, cluster }
    }

    fn path(&self, name: &str) -> String {
        shown(&self.root.path().join(name))
    }

    /// Only who has the certificate's name may connect to it.
    fn pump(&self, name: &str) -> Pump {
        let toml = format!(
            "[security]\nssl-ca = {:?}\nssl-cert = {:?}\nssl-key = {:?}\ncert-allowed-cn = [\"binlog\"]\n[storage]\nstop-write-at-available-space = \"0\"\n",
            self.authority.ca(),
            self.own.cert,
            self.own.key
        );
        std::fs::write(self.path("pump.toml"), toml).unwrap();
        let child = Command::new(sibling("pump"))
            .args(["-addr", "127.0.0.1:0", "-node-id", name, "-data-dir", &self.path(name)])
            .args(["-pd-urls", &self.cluster.url(), "-config", &self.path("pump.toml")])
            .args(["-log-file", &self.path("pump.log")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pump = Pump(child);
        self.until(|| {
            let head = format!("{{NodeID: {name}, Addr: 127.0.0.1:");
            let (_, said) = self.ctl(&["-cmd", "pumps"]);
            said.lines().any(|line| line.contains(&head) && line.contains("State: online"))
        });
        pump
    }

    /// With the address as people write it, without a scheme.
    fn ctl(&self, args: &[&str]) -> (Option<i32>, String) {
        let url = self.cluster.url().replace("https://", "");
        let (ca, cert, key) = (shown(&self.authority.ca()), shown(&self.own.cert), shown(&self.own.key));
        run(&[&["-pd-urls", &url, "-ssl-ca", &ca, "-ssl-cert", &cert, "-ssl-key", &key], args].concat())
    }

    fn until(&self, done: impl FnMut() -> bool) {
        let log = || std::fs::read_to_string(self.path("pump.log")).unwrap_or_default();
        assert!(binlog_testkit::wait_until(PATIENCE, done), "{}", log());
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Exit code and standard output: everything it says is there.
fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(sibling("binlogctl")).args(args).output().unwrap();
    (output.status.code(), text(&output.stdout))
}

/// The line without time and place in the source.
fn without_time(line: &str) -> String {
    let parts: Vec<&str> = line.splitn(4, "] ").collect();
    format!("{}] {}", parts[1], parts[3])
}

fn fails(answer: (Option<i32>, String), code: i32, line: &str) {
    assert_eq!(answer.0, Some(code), "{}", answer.1);
    let last = answer.1.lines().last().unwrap_or_default();
    assert_eq!(without_time(last), line);
}

#[test]
fn nodes_are_listed_paused_and_taken_offline() {
    let site = Site::new();
    let (mut first, mut second) = (site.pump("pump-1"), site.pump("pump-2"));
    let (code, said) = site.ctl(&[]);
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<String> = said.lines().map(without_time).collect();
    assert_eq!(lines.len(), 2, "{said}");
    for (line, name) in lines.iter().zip(["pump-1", "pump-2"]) {
        let head = format!("[INFO] [\"query node\"] [type=pump] [node=\"{{NodeID: {name}, Addr: 127.0.0.1:");
        assert!(line.starts_with(&head) && line.contains(", State: online, MaxCommitTS: "), "{line}");
        assert!(line.ends_with("}\"]"), "{line}");
    }

    let pause = ["-cmd", "pause-pump", "-node-id", "pump-1"];
    let url = site.cluster.url();
    let ca = shown(&site.authority.ca());
    // Neither etcd nor the pump takes who has no certificate.
    assert_eq!(run(&[&pause[..], &["-pd-urls", &url, "-ssl-ca", &ca]].concat()).0, Some(1));
    let (code, said) = site.ctl(&pause);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        without_time(said.trim_end()),
        "[INFO] [\"Apply action on node success\"] [action=pause] [NodeID=pump-1]"
    );
    assert_eq!(site.ctl(&["-cmd", "offline-pump", "-node-id", "pump-2"]).0, Some(0));
    for pump in [&mut first, &mut second] {
        site.until(|| pump.0.try_wait().unwrap().is_some());
        assert_eq!(pump.0.wait().unwrap().code(), Some(0));
    }
    let (_, said) = site.ctl(&["-cmd", "pumps"]);
    assert!(said.contains("State: paused") && !said.contains("pump-2"), "{said}");
    let (_, said) = site.ctl(&["-cmd", "pumps", "-show-offline-nodes"]);
    assert!(said.contains("NodeID: pump-2, ") && said.contains("State: offline"), "{said}");

    // Nobody is there to ask, but the entry can be corrected.
    let gone = Instant::now();
    assert_eq!(site.ctl(&["-cmd", "offline-pump", "-node-id", "pump-1"]).0, Some(1));
    assert!(gone.elapsed() < PATIENCE);
    let update = |state: &str| site.ctl(&["-cmd", "update-pump", "-node-id", "pump-1", "-state", state]);
    let before = site.ctl(&["-cmd", "pumps"]).1;
    let (code, said) = update("closing");
    assert_eq!((code, said.as_str()), (Some(0), ""), "silent as the original's");
    let after = site.ctl(&["-cmd", "pumps"]).1;
    let node = |said: &str| without_time(said.lines().next().unwrap());
    assert_eq!(node(&after), node(&before).replace("paused", "closing"), "nothing but the state changes");
    fails(
        update("asleep"),
        1,
        "[FATAL] [\"fail to execute command\"] [command=update-pump] [error=\"state asleep is illegal\"]",
    );
    for (command, kind) in
        [("pause-pump", "pumps"), ("update-drainer", "drainers"), ("offline-drainer", "drainers")]
    {
        // The node is looked for before the state.
        let answer = site.ctl(&["-cmd", command, "-node-id", "nosuch", "-state", "asleep"]);
        let line = format!(
            "[FATAL] [\"fail to execute command\"] [command={command}] [error=\"key /tidb-binlog/v1/{kind}/nosuch in etcd not found\"]"
        );
        fails(answer, 1, &line);
    }
    assert_eq!(site.ctl(&["-cmd", "drainers"]), (Some(0), String::new()));
}

#[test]
fn a_savepoint_is_made_of_a_timestamp() {
    let site = Site::new();
    let dir = site.path("deep/position");
    let (code, said) = site.ctl(&["-cmd", "generate_meta", "-data-dir", &dir]);
    assert_eq!(code, Some(0), "{said}");
    let file = std::fs::read_to_string(Path::new(&dir).join("savepoint")).unwrap();
    let ts = file.strip_prefix("commitTS = ").and_then(|rest| rest.strip_suffix('\n')).unwrap();
    assert!(ts.parse::<u64>().unwrap() < site.cluster.now().raw());
    let last = without_time(said.lines().last().unwrap());
    assert_eq!(last, format!("[INFO] [\"save meta\"] [meta=\"commitTS: {ts}\"]"));
    // A zone that is none is said, and the savepoint made all the same.
    let (code, said) = site.ctl(&["-cmd", "generate_meta", "-data-dir", &dir, "-time-zone", "Nowhere"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("[WARN]") && said.contains("fail to load location"), "{said}");
}

#[test]
fn a_password_is_encrypted_as_a_drainer_reads_it() {
    let key = "00112233445566778899aabbccddeeff";
    let mut command = Command::new(sibling("binlogctl"));
    let output =
        command.args(["-cmd", "encrypt", "-text", "p@ss"]).env("BINLOG_SECRET_KEY", key).output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}");
    let (_, cipher) = said.split_once("[\"encrypt text\"] [encrypted=").unwrap();
    let cipher = cipher.trim_end().trim_end_matches(']').trim_matches('"');
    let secret = binlog_cli::secret_key(|_| Some(key.to_owned())).unwrap();
    assert_eq!(secret.decrypt(cipher).unwrap(), "p@ss");
    let (code, said) = run(&["-cmd", "encrypt", "-text", "p@ss"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("use the default secret key to encrypt"), "{said}");
    fails(
        run(&["-cmd", "encrypt"]),
        1,
        "[FATAL] [\"fail to execute command\"] [command=encrypt] [error=\"need to specify the text to be encrypt\"]",
    );
}

#[test]
fn command_lines_end_with_the_originals_codes() {
    assert_eq!(run(&["-nonsense"]).0, Some(2));
    assert_eq!(run(&["-h"]).0, Some(0));
    assert!(run(&["-V"]).1.starts_with("Release Version: "));
    fails(run(&["pumps"]), 2, "[ERROR] [\"parse cmd flags\"] [error=\"'pumps' is not a valid flag\"]");
    for args in [
        ["-pd-urls", "http://127.0.0.1:2379/path"],
        ["-pd-urls", "ftp://127.0.0.1:2379"],
        ["-pd-urls", "127.0.0.1"],
        ["-ssl-ca", "/nonexistent"],
    ] {
        let (code, said) = run(&args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(said.contains("[ERROR]") && said.contains("[\"parse cmd flags\"] [error="), "{said}");
    }
    fails(
        run(&["-cmd", "resume-pump"]),
        1,
        "[FATAL] [\"fail to execute command\"] [command=resume-pump] [error=\"cmd resume-pump not supported\"]",
    );
}

/// The registry as the original's nodes had left it, shown as the original's program showed it.
#[tokio::test]
async fn lines_are_the_originals() {
    use binlog_cluster::{NodeKind, NodeStatus, Registry};

    let original =
        |name: &str| std::fs::read_to_string(fixtures::testdata_dir().join("surface").join(name)).unwrap();
    let cluster = FakeCluster::start().unwrap();
    let registry = Registry::etcd(&[cluster.url()], None).await.unwrap();
    let keys = original("etcd-keys.txt");
    let mut lines = keys.lines();
    while let (Some(key), Some(value)) = (lines.next(), lines.next()) {
        let kind = if key.contains("/pumps/") { NodeKind::Pump } else { NodeKind::Drainer };
        let status: NodeStatus = serde_json::from_str(value).unwrap();
        registry.put(kind, &status).await.unwrap();
    }
    // The original lists in no order, and a node may have given a sign of life between the look at its key and the listing.
    let sorted = |said: &str| {
        let lines = said.lines().filter(|line| line.starts_with('[')).map(without_time);
        let steady = |line: String| match line.split_once(", UpdateTime: 2026-11-22 13:3") {
            Some((before, time)) if time.ends_with(" +0000 UTC}\"]") => before.to_owned(),
            _ => line,
        };
        lines.map(steady).collect::<BTreeSet<String>>()
    };
    for (args, file) in [
        (&["-cmd", "pumps"][..], "binlogctl-pumps.txt"),
        (&["-cmd", "drainers"][..], "binlogctl-drainers.txt"),
        (&["-cmd", "pause-pump", "-node-id", "nosuch"][..], "binlogctl-pause-unknown.txt"),
    ] {
        let mut command = Command::new(sibling("binlogctl"));
        let output = command.args(["-pd-urls", &cluster.url()]).args(args).env("TZ", "UTC").output().unwrap();
        let expected = original(file);
        // Ours says more: that a node gives no sign of life, for one.
        let said = sorted(&text(&output.stdout));
        for line in sorted(&expected) {
            assert!(said.contains(&line), "{file}: {line} is not in {said:?}");
        }
        let code = if expected.contains("exit 1") { 1 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{file}");
    }
}
