//! Every `sh` block of README.md runs as it stands, in an empty directory.

use std::fs;
use std::path::Path;
use std::process::Command;

use binlog_e2e::program;

#[test]
fn the_commands_of_the_readme_work() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = fs::read_to_string(&readme).unwrap();
    let blocks: Vec<&str> =
        text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(!blocks.is_empty(), "README.md has no sh block");
    let folder = tempfile::tempdir().unwrap();
    let programs = program("tools").parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    for block in blocks {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", block])
            .current_dir(folder.path())
            .env("PATH", &path)
            .output()
            .unwrap();
        let said =
            [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).join("\n");
        assert!(output.status.success(), "{}:\n{block}\nsaid:\n{said}", output.status);
    }
    let history = fs::read_to_string(folder.path().join("play/history.sql")).unwrap();
    assert!(history.contains("DROP DATABASE"), "the accident is part of history");
    let accounts = fs::read_to_string(folder.path().join("play/accounts.txt")).unwrap();
    assert!(accounts.contains("schema: bank; table: accounts; type: Insert"), "{accounts:.200}");
}
