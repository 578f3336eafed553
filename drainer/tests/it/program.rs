//! The command line of the program: what ends it at once, and with which code.

use std::process::{Command, Output};

use crate::site::Site;

fn drainer(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_drainer")).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn version_and_help_succeed() {
    let version = drainer(&["-V"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(text(&version).starts_with("Release Version: "));
    assert_eq!(drainer(&["-h"]).status.code(), Some(0));
}

#[test]
fn exit_codes_tell_syntax_from_settings_and_failures() {
    let site = Site::new();
    let (dir, data) = (site.path("cluster"), site.path("data"));
    let (dir, data) = (dir.to_str().unwrap(), data.to_str().unwrap());
    assert_eq!(drainer(&["-nonsense"]).status.code(), Some(2));
    let base = ["-addr", "127.0.0.1:0", "-cluster-dir", dir, "-data-dir", data];
    for (args, expected) in [
        (&["-dest-db-type", "kafka"][..], "kafka is not supported yet"),
        (&["-dest-db-type", "sqlite"], "-dest-path"),
        (&["-c", "0", "-dest-db-type", "sqlite", "-dest-path", "x"], "worker-count"),
        (&["-dest-db-type", "sqlite", "-dest-path", "/no/such/folder/x.db"], "open the downstream"),
    ] {
        let output = drainer(&[&base[..], args].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output));
        assert!(text(&output).contains(expected), "{args:?}: {}", text(&output));
    }
    // A check finds all that needs nobody else.
    let base = [&base[..], &["-config-check", "-dest-db-type", "sqlite", "-dest-path", "x"]].concat();
    assert_eq!(drainer(&base).status.code(), Some(0));
    for (args, expected) in [(["-c", "0"], "worker-count"), (["-addr", "nowhere"], "bad addr")] {
        let output = drainer(&[&base[..], &args].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output));
        let said = text(&output);
        assert!(
            said.contains("[FATAL]") && said.contains("verifying flags failed. See 'drainer --help'."),
            "{said}"
        );
        assert!(said.contains(expected), "{said}");
    }
}

/// Two drainers of one name would overwrite each other's position in the registry.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_marked_as_long_as_its_drainer_lives() {
    use binlog_cluster::{Error as ClusterError, Life, NodeKind};

    let site = Site::new();
    let running = site.drainer().await;
    let registry = site.cluster().registry();
    let lives = registry.lives(NodeKind::Drainer).await.unwrap();
    assert_eq!(lives.len(), 1);
    assert_eq!((lives[0].node_id.as_str(), &lives[0].host), ("drainer-1", &running.addr));
    let other = Life { owner: "other".to_owned(), ..lives[0].clone() };
    let taken = registry.claim_life(NodeKind::Drainer, other, std::time::Duration::from_secs(10)).await;
    assert!(matches!(taken, Err(ClusterError::Taken { .. })), "{taken:?}");
    // Not where the original's programs would list it.
    assert_eq!(registry.list(NodeKind::Drainer).await.unwrap().len(), 1);
    running.stop().await;
    assert_eq!(registry.lives(NodeKind::Drainer).await.unwrap(), []);
}
