//! `binlogctl` against a pump behind TLS, in a cluster without PD.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{sibling, text};

struct Pump(Child);

impl Drop for Pump {
    fn drop(&mut self) {
        // It may have ended already, as it was asked to.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/tests/it/certs").join(name)
}

#[test]
fn a_pump_behind_tls_is_listed_and_paused() {
    let root = tempfile::tempdir().unwrap();
    let file = |name: &str, file: &str| format!("{name} = \"{}\"\n", certificate(file).display());
    let toml = format!(
        "[security]\n{}{}{}cert-allowed-cn = [\"binlog\"]\n[storage]\nstop-write-at-available-space = \"0\"\n",
        file("ssl-ca", "ca.pem"),
        file("ssl-cert", "binlog.pem"),
        file("ssl-key", "binlog.key")
    );
    std::fs::write(root.path().join("pump.toml"), toml).unwrap();
    let path = |name: &str| root.path().join(name).display().to_string();
    let pump = Command::new(sibling("pump"))
        .args(["-addr", "127.0.0.1:0", "-node-id", "pump-1", "-data-dir", &path("pump")])
        .args([
            "-cluster-dir",
            &path("cluster"),
            "-config",
            &path("pump.toml"),
            "-log-file",
            &path("pump.log"),
        ])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut pump = Pump(pump);
    let ctl = |args: &[&str]| {
        let mut command = Command::new(sibling("binlogctl"));
        let output = command.args(["-cluster-dir", &path("cluster")]).args(args).output().unwrap();
        (output.status.code(), text(&output.stdout))
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ctl(&["-cmd", "pumps"]).1.contains("{NodeID: pump-1, Addr: 127.0.0.1:") {
        assert!(
            Instant::now() < deadline,
            "{}",
            std::fs::read_to_string(path("pump.log")).unwrap_or_default()
        );
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let name = |name: &str| certificate(name).display().to_string();
    let (ca, cert, key) = (name("ca.pem"), name("binlog.pem"), name("binlog.key"));
    let pause = ["-cmd", "pause-pump", "-node-id", "pump-1"];
    let with = |more: &[&str]| ctl(&[&pause, more].concat());
    for refused in [with(&[]), with(&["-ssl-ca", &ca])] {
        assert_eq!(refused.0, Some(1), "{}", refused.1);
    }
    assert_eq!(with(&["-ssl-ca", "/nonexistent"]).0, Some(2), "settings that cannot be used");
    let (code, said) = with(&["-ssl-ca", &ca, "-ssl-cert", &cert, "-ssl-key", &key]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("[\"Apply action on node success\"] [action=pause] [NodeID=pump-1]"), "{said}");
    while pump.0.try_wait().unwrap().is_none() {
        assert!(
            Instant::now() < deadline,
            "{}",
            std::fs::read_to_string(path("pump.log")).unwrap_or_default()
        );
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert!(ctl(&["-cmd", "pumps"]).1.contains("State: paused"));
}
