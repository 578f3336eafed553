//! The programs as people run them. They must be built: `./dev test` builds them before the tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod binlogctl;
mod playground;
mod verify;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program under test.
fn tools() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tools"))
}

/// A program of another crate, in the same directory.
fn sibling(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_tools")).with_file_name(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --release --workspace --bins` first",
        path.display()
    );
    path
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs to the end; what it said comes with a failure.
fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}

#[test]
fn bad_command_lines_fail_with_advice() {
    let output = tools().arg("dump-range").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--store DIR"), "{}", text(&output.stderr));
    let output = tools().args(["dump-range", "--nonsense"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = tools().args(["stat", "--from", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("127.0.0.1:1"), "{}", text(&output.stderr));
}
